package s3store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/siltlake/silt/objstore"
)

// Queue is a queue of SQS. Its methods may be called from any number of goroutines.
type Queue struct {
	client *Client // for its pace and its tries; it has no API
	api    *sqs.Client
	url    string
}

// ErrNoQueue means that there is no queue of the URL.
var ErrNoQueue = errors.New("the queue does not exist")

// OpenQueue returns the queue at a URL. Requests go to the URL's host, in the region that its name says,
// else in that of the Options; credentials are those of the Options. It makes no request.
func OpenQueue(ctx context.Context, o Options, queue string) (*Queue, error) {
	at, err := url.Parse(queue)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || strings.Trim(at.Path, "/") == "" {
		return nil, fmt.Errorf("%q is no URL of a queue", queue)
	}
	o.Region = cmp.Or(queueRegion(at.Hostname()), o.Region)
	o.Tries = cmp.Or(o.Tries, 5)
	o = o.withDefaults()
	c, err := o.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("configuration of SQS: %w", err)
	}
	q := &Queue{client: &Client{o: o, pace: newPace()}, url: queue}
	q.client.cache, _ = c.Credentials.(*aws.CredentialsCache)
	endpoint := at.Scheme + "://" + at.Host
	q.api = sqs.NewFromConfig(c, func(s *sqs.Options) { s.Retryer, s.BaseEndpoint = aws.NopRetryer{}, &endpoint })
	return q, nil
}

// queueRegion is the region that the host of a queue's URL names: sqs.REGION.amazonaws.com, the older
// REGION.queue.amazonaws.com, that of a VPC's endpoint, or of one that keeps to FIPS 140.
func queueRegion(host string) string {
	if !strings.Contains(host, ".amazonaws.com") {
		return ""
	}
	parts := strings.Split(host, ".")
	i := slices.IndexFunc(parts, func(p string) bool { return p == "sqs" || p == "sqs-fips" })
	switch {
	case i >= 0 && parts[i+1] != "amazonaws":
		return parts[i+1]
	case parts[1] == "queue":
		return parts[0]
	}
	return ""
}

// URL is the queue's name.
func (q *Queue) URL() string { return q.url }

// Message is one delivery of a message.
type Message struct {
	ID   string
	Body string
	// Receipt names this delivery.
	Receipt string
	// Received counts the deliveries so far, this one among them; 0 is not known.
	Received int
}

// maxMessages is how many messages SQS takes in one request, and gives in one answer.
const maxMessages = 10

// Receive returns messages, at most ten, and waits up to wait, at most 20 seconds, for the first. Others
// do not see them for as long as hide says, or as the queue says when that is less than a second; then
// they come again, unless they were deleted.
func (q *Queue) Receive(ctx context.Context, wait, hide time.Duration) ([]Message, error) {
	in := &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: maxMessages,
		WaitTimeSeconds: int32(min(wait, 20*time.Second) / time.Second), VisibilityTimeout: int32(hide / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	}
	var out *sqs.ReceiveMessageOutput
	err := q.request(ctx, "ReceiveMessage", time.Duration(in.WaitTimeSeconds)*time.Second, func(ctx context.Context) (err error) {
		out, err = q.api.ReceiveMessage(ctx, in)
		return err
	})
	if err != nil {
		return nil, err
	}
	messages := make([]Message, len(out.Messages))
	for i, m := range out.Messages {
		n, _ := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
		messages[i] = Message{aws.ToString(m.MessageId), aws.ToString(m.Body), aws.ToString(m.ReceiptHandle), n}
	}
	return messages, nil
}

// Delete removes messages for good. A delivery that the queue does not know is passed over. After an error some
// are removed, and the others come again.
func (q *Queue) Delete(ctx context.Context, receipts []string) error {
	for chunk := range slices.Chunk(receipts, maxMessages) {
		in := &sqs.DeleteMessageBatchInput{QueueUrl: &q.url}
		for i, r := range chunk {
			in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(r)})
		}
		err := q.request(ctx, "DeleteMessageBatch", 0, func(ctx context.Context) error {
			out, err := q.api.DeleteMessageBatch(ctx, in)
			return cmp.Or(err, refused(out))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// refused is the first error of the entries of a batch that another try may do without. A delivery that the
// queue does not know, such as one of a queue that was removed and made again, will never be known.
func refused(out *sqs.DeleteMessageBatchOutput) error {
	if out == nil {
		return nil
	}
	for _, f := range out.Failed {
		if code := aws.ToString(f.Code); code != "ReceiptHandleIsInvalid" && code != "InvalidParameterValue" {
			return fmt.Errorf("%s %s", code, aws.ToString(f.Message))
		}
	}
	return nil
}

// Hide lets messages come again no sooner than after hide, counted from now; 0 is at once. One that is
// not in flight any more is passed over.
func (q *Queue) Hide(ctx context.Context, receipts []string, hide time.Duration) error {
	for chunk := range slices.Chunk(receipts, maxMessages) {
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url}
		for i, r := range chunk {
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(r), VisibilityTimeout: int32(hide / time.Second)})
		}
		err := q.request(ctx, "ChangeMessageVisibilityBatch", 0, func(ctx context.Context) error {
			_, err := q.api.ChangeMessageVisibilityBatch(ctx, in)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// QueueInfo is what a queue says of itself.
type QueueInfo struct {
	ARN string
	// Waiting and InFlight count messages, about.
	Waiting, InFlight int
	// Retention is how long a message is kept that nobody deletes.
	Retention time.Duration
	// DeadLetters says that messages which are received too often go to another queue.
	DeadLetters bool
}

// Info asks the queue for what it says of itself.
func (q *Queue) Info(ctx context.Context) (QueueInfo, error) {
	in := &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}}
	var out *sqs.GetQueueAttributesOutput
	err := q.request(ctx, "GetQueueAttributes", 0, func(ctx context.Context) (err error) {
		out, err = q.api.GetQueueAttributes(ctx, in)
		return err
	})
	if err != nil {
		return QueueInfo{}, err
	}
	number := func(name types.QueueAttributeName) int {
		n, _ := strconv.Atoi(out.Attributes[string(name)])
		return n
	}
	return QueueInfo{
		ARN: out.Attributes[string(types.QueueAttributeNameQueueArn)], Waiting: number(types.QueueAttributeNameApproximateNumberOfMessages),
		InFlight:    number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
		Retention:   time.Duration(number(types.QueueAttributeNameMessageRetentionPeriod)) * time.Second,
		DeadLetters: out.Attributes[string(types.QueueAttributeNameRedrivePolicy)] != "",
	}, nil
}

// request makes a request, which may always be repeated: messages are hints. Wait is how long the queue
// may take on purpose.
func (q *Queue) request(ctx context.Context, op string, wait time.Duration, do func(context.Context) error) error {
	err := q.client.repeat(ctx, harmless, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, q.client.o.Timeout+wait)
		defer cancel()
		return do(ctx)
	})
	return q.named(ctx, op, err)
}

func (q *Queue) named(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", op, q.url, context.Cause(ctx))
	}
	code, status := codeOf(err)
	e := &Error{Op: op, URI: q.url, Code: code, Err: short(err, code, status)}
	switch {
	case code == "QueueDoesNotExist" || strings.HasSuffix(code, "NonExistentQueue"):
		e.is = ErrNoQueue
		e.Hint = "check cloudFiles.queueUrl and its region"
	case status == 401 || status == 403 || strings.HasPrefix(code, "AccessDenied") || code == "ExpiredToken":
		e.is = objstore.ErrPermission
		e.Hint = "the queue needs sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes"
	case noCredentials(err):
		e.noCredentials()
	}
	return e
}
