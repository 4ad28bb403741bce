package s3test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Queue is a queue of SQS in memory, at the Server's address. It speaks the protocol of JSON, and has the
// faults of the Server.
type Queue struct {
	server *Server
	name   string
	made   string // which of the queues of the name it is; receipts begin with that

	// The Server's lock holds these.
	messages []*queued // the oldest first
	letters  bool
	sent     int
	waiting  int           // requests that wait for a message
	changed  chan struct{} // closed when there may be something to receive
}

// queued is a message that nobody has deleted.
type queued struct {
	id, body string
	receipt  string // of the last delivery
	visible  time.Time
	received int
}

// defaultHide is how long a message is hidden unless its receiver says otherwise. Source: SQS, "Amazon SQS
// visibility timeout".
const defaultHide = 30 * time.Second

// NewQueue makes a queue, empty, whatever was there under the name.
func (s *Server) NewQueue(name string) *Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	q := &Queue{server: s, name: name, made: fmt.Sprintf("q%d", s.made), changed: make(chan struct{})}
	s.queues[name] = q
	return q
}

// notification sends the events of a bucket to a queue.
type notification struct {
	bucket, prefix string
	to             *Queue
}

// Notify sends the events of objects below a prefix of a bucket to a queue from now on, after the message
// by which S3 tries it out.
func (s *Server) Notify(bucket, prefix string, to *Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = append(s.notify, notification{bucket, prefix, to})
	to.send(fmt.Sprintf(`{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2024-01-01T00:00:00.000Z","Bucket":%q,"RequestId":"1","HostId":"1"}`, bucket))
}

// Mute ends all notifications: events from now on are lost.
func (s *Server) Mute() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = nil
}

// URL is the queue's name, as a client gives it.
func (q *Queue) URL() string { return q.server.URL + "/000000000000/" + q.name }

// Send puts a message into the queue.
func (q *Queue) Send(body string) {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	q.send(body)
}

// Return makes all messages visible that are in flight, as when their time has passed.
func (q *Queue) Return() {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	for _, m := range q.messages {
		m.visible = time.Time{}
	}
	q.wake()
}

// Len counts the messages that nobody has deleted, and those of them that are in flight.
func (q *Queue) Len() (all, inFlight int) {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	for _, m := range q.messages {
		if m.visible.After(q.server.now()) {
			inFlight++
		}
	}
	return len(q.messages), inFlight
}

// Bodies are the messages that nobody has deleted, the oldest first.
func (q *Queue) Bodies() (all []string) {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	for _, m := range q.messages {
		all = append(all, m.body)
	}
	return all
}

// Waiting is how many requests wait for a message.
func (q *Queue) Waiting() int {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	return q.waiting
}

// Sent is how many messages were ever put into the queue.
func (q *Queue) Sent() int {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	return q.sent
}

// Redrive gives the queue another for messages that are received too often, as far as it tells of itself.
func (q *Queue) Redrive() {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	q.letters = true
}

// Remove deletes the queue.
func (q *Queue) Remove() {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	delete(q.server.queues, q.name)
	q.wake()
}

// EventOf is the message that S3 sends of an object. What is "ObjectCreated:Put", say.
func EventOf(what, bucket, key string, size int, etag string) string {
	record := map[string]any{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": "2024-01-01T00:00:00.000Z", "eventName": what,
		"s3": map[string]any{
			"s3SchemaVersion": "1.0", "configurationId": "silt", "bucket": map[string]any{"name": bucket, "arn": "arn:aws:s3:::" + bucket},
			"object": map[string]any{"key": strings.ReplaceAll(url.QueryEscape(key), "%2F", "/"), "size": size, "eTag": strings.Trim(etag, `"`), "sequencer": "0055AED6DCD90281E5"},
		},
	}
	text, err := json.Marshal(map[string]any{"Records": []any{record}})
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	return string(text)
}

// announce sends an event of an object where it is wanted. The caller holds the lock.
func (s *Server) announce(what, bucket, key string, o *object) {
	for _, n := range s.notify {
		if n.bucket != bucket || !strings.HasPrefix(key, n.prefix) {
			continue
		}
		size, etag := 0, ""
		if o != nil {
			size, etag = len(o.content), o.etag
		}
		n.to.send(EventOf(what, bucket, key, size, etag))
	}
}

func (q *Queue) send(body string) {
	q.sent++
	q.messages = append(q.messages, &queued{id: fmt.Sprintf("m%d", q.sent), body: body})
	q.wake()
}

// wake lets those look again who wait for a message.
func (q *Queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// queueCall is the body of a request to SQS, of any operation.
type queueCall struct {
	QueueUrl            string //nolint:revive // as SQS names it
	MaxNumberOfMessages int
	WaitTimeSeconds     int
	VisibilityTimeout   *int
	Entries             []struct {
		Id                string //nolint:revive // as SQS names it
		ReceiptHandle     string
		VisibilityTimeout int
	}
}

// isQueue reports whether a request is one of SQS, and sets its operation.
func isQueue(q *request) bool {
	op, ok := strings.CutPrefix(q.Header.Get("X-Amz-Target"), "AmazonSQS.")
	if !ok {
		return false
	}
	q.op, q.queue = op, &queueCall{MaxNumberOfMessages: 1}
	_ = json.Unmarshal(q.body, q.queue) // what it lacks is told with the operation
	q.bucket, q.key = "", q.queue.QueueUrl[strings.LastIndexByte(q.queue.QueueUrl, '/')+1:]
	return true
}

// await returns when there is a message to receive, or when the request's time is up.
func (s *Server) await(q *request) {
	if q.op != "ReceiveMessage" || q.queue.WaitTimeSeconds == 0 {
		return
	}
	end := time.NewTimer(time.Duration(q.queue.WaitTimeSeconds) * time.Second)
	defer end.Stop()
	for {
		s.mu.Lock()
		at := s.queues[q.key]
		if at == nil {
			s.mu.Unlock()
			return
		}
		next, changed := time.Hour, at.changed
		for _, m := range at.messages {
			next = min(next, m.visible.Sub(s.now()))
		}
		if next <= 0 {
			s.mu.Unlock()
			return
		}
		at.waiting++
		s.mu.Unlock()
		over := wait(q, changed, next, end.C)
		s.mu.Lock()
		at.waiting--
		s.mu.Unlock()
		if over {
			return
		}
	}
}

// wait returns when there may be a message, or, and then it reports it, when nobody waits for it any more.
func wait(q *request, changed <-chan struct{}, next time.Duration, end <-chan time.Time) (over bool) {
	visible := time.NewTimer(next)
	defer visible.Stop()
	select {
	case <-changed:
	case <-visible.C:
	case <-end:
		return true
	case <-q.Context().Done():
		return true
	}
	return false
}

// doQueue has the effect of a request to SQS. The caller holds the lock.
func (s *Server) doQueue(q *request) answer {
	at := s.queues[q.key]
	if at == nil {
		return q.fail(400, "QueueDoesNotExist", "The specified queue does not exist.")
	}
	switch q.op {
	case "ReceiveMessage":
		return at.receive(q.queue)
	case "DeleteMessageBatch":
		at.each(q.queue, func(m *queued, _ int) {
			at.messages = slices.DeleteFunc(at.messages, func(o *queued) bool { return o == m })
		})
		return at.successful(q.queue)
	case "ChangeMessageVisibilityBatch":
		at.each(q.queue, func(m *queued, seconds int) { m.visible = s.now().Add(time.Duration(seconds) * time.Second) })
		at.wake()
		return at.successful(q.queue)
	case "GetQueueAttributes":
		hidden := 0
		for _, m := range at.messages {
			if m.visible.After(s.now()) {
				hidden++
			}
		}
		attributes := map[string]string{
			"QueueArn": "arn:aws:sqs:us-east-1:000000000000:" + at.name, "ApproximateNumberOfMessages": strconv.Itoa(len(at.messages) - hidden),
			"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(hidden), "MessageRetentionPeriod": "345600", "VisibilityTimeout": "30",
		}
		if at.letters {
			attributes["RedrivePolicy"] = `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:letters","maxReceiveCount":5}`
		}
		return plain(map[string]any{"Attributes": attributes})
	}
	return q.fail(400, "InvalidAction", q.op)
}

func (q *Queue) receive(c *queueCall) answer {
	hide := defaultHide
	if c.VisibilityTimeout != nil {
		hide = time.Duration(*c.VisibilityTimeout) * time.Second
	}
	now := q.server.now()
	var out []any
	for _, m := range q.messages {
		if len(out) == cmp.Or(c.MaxNumberOfMessages, 1) {
			break
		}
		if m.visible.After(now) {
			continue
		}
		m.received++
		m.visible, m.receipt = now.Add(hide), fmt.Sprintf("%s/%s/%d", q.made, m.id, m.received)
		out = append(out, map[string]any{"MessageId": m.id, "ReceiptHandle": m.receipt, "Body": m.body,
			"Attributes": map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.received)}})
	}
	return plain(map[string]any{"Messages": out})
}

// each calls f with the messages that the entries name by their last delivery.
func (q *Queue) each(c *queueCall, f func(m *queued, seconds int)) {
	for _, e := range c.Entries {
		if i := slices.IndexFunc(q.messages, func(m *queued) bool { return m.receipt == e.ReceiptHandle }); i >= 0 {
			f(q.messages[i], e.VisibilityTimeout)
		}
	}
}

// successful is the answer to a batch: only deliveries of another queue are refused.
func (q *Queue) successful(c *queueCall) answer {
	done, failed := []any{}, []any{}
	for _, e := range c.Entries {
		if strings.HasPrefix(e.ReceiptHandle, q.made+"/") {
			done = append(done, map[string]string{"Id": e.Id})
		} else {
			failed = append(failed, map[string]any{"Id": e.Id, "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "The input receipt handle is invalid."})
		}
	}
	return plain(map[string]any{"Successful": done, "Failed": failed})
}

// plain is an answer of SQS.
func plain(v any) answer {
	text, err := json.Marshal(v)
	if err != nil {
		return fail(http.StatusInternalServerError, "InternalError", err.Error())
	}
	return answer{status: 200, header: map[string]string{"Content-Type": "application/x-amz-json-1.0"}, body: text}
}

// fail is an answer in the words of the service that was asked.
func (q *request) fail(status int, code, text string) answer {
	if q.queue == nil {
		return fail(status, code, text)
	}
	a := plain(map[string]string{"__type": "com.amazonaws.sqs#" + code, "message": text})
	a.status = status
	return a
}
