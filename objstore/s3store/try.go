package s3store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/siltlake/silt/objstore"
)

// again says which answers allow a request to be made again.
type again int

const (
	nothingLanded again = iota // only those that say that it had no effect
	harmless                   // all that may go away
)

// request makes a request, again as far as it may be, and names its error. Bytes are those of its body.
func (s *Store) request(ctx context.Context, what, key string, bytes int64, a again, do func(context.Context) error) error {
	timeout := s.client.o.Timeout + time.Duration(bytes>>18)*time.Second
	err := s.client.repeat(ctx, a, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return do(ctx)
	})
	return s.named(ctx, what, key, err)
}

// repeat calls do until it succeeds, may not be repeated, or was tried often enough.
func (c *Client) repeat(ctx context.Context, a again, do func(context.Context) error) error {
	refreshed := false
	for try := 1; ; try++ {
		release, err := c.pace.acquire(ctx)
		if err != nil {
			return err
		}
		err = do(ctx)
		k := kindOf(err)
		release(k)
		switch {
		case err == nil || ctx.Err() != nil || try >= c.o.Tries:
			return err
		case k == expired && !refreshed && c.cache != nil: // it was refused, so nothing landed
			c.cache.Invalidate()
			refreshed = true
			continue
		case k == conflict || k == unsent:
		case a == harmless && (k == slowDown || k == passing):
		default:
			return err
		}
		if err := pause(ctx, c.o.Backoff, try); err != nil {
			return err
		}
	}
}

// pause waits longer with each try, at random, at most five seconds.
func pause(ctx context.Context, first time.Duration, try int) error {
	most := min(first<<(try-1), 5*time.Second)
	t := time.NewTimer(rand.N(most) + 1)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// kind says what an error means for the request.
type kind int

const (
	passing  kind = iota // unknown what happened; another time it may work
	fine                 // no error
	final                // the answer of the store, which stays the same
	slowDown             // too many requests; unknown what happened to this one
	conflict             // 409 of a conditional write: nothing landed, and no one has it
	unsent               // there was no connection
	expired              // the credentials ran out
)

// kindOf reads an error of the SDK. What it does not know is passing: that is the cautious reading, of
// a condition too.
func kindOf(err error) kind {
	if err == nil {
		return fine
	}
	code, status := codeOf(err)
	switch code {
	case "SlowDown", "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests", "RequestLimitExceeded", "ServiceUnavailable":
		return slowDown
	case "ConditionalRequestConflict":
		return conflict
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return expired
	case "RequestTimeout", "InternalError", "BadDigest", "IncompleteBody":
		return passing
	}
	switch {
	case status == 429 || status == 503:
		return slowDown
	case status >= 500 || status == 408:
		return passing
	case status >= 300:
		return final
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return unsent
	}
	if noCredentials(err) {
		return final
	}
	return passing
}

// codeOf is the error code and the HTTP status of an answer; empty and 0 when there was none.
func codeOf(err error) (code string, status int) {
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) {
		status = answer.HTTPStatusCode()
	}
	return code, status
}

// noCredentials tells that the SDK found none: it says so only in words.
func noCredentials(err error) bool {
	return strings.Contains(err.Error(), "get credentials:") || strings.Contains(err.Error(), "failed to retrieve credentials")
}

// An Error is what a request to S3 or to SQS ended in.
type Error struct {
	Op   string // GetObject, PutObject, ReceiveMessage, ...
	URI  string
	Code string // of the service; empty when there was no answer
	Err  error
	// Hint is what to do; it may be empty.
	Hint string
	is   error // of package objstore; nil: none of them
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %v", e.Op, e.URI, e.Err)
}

func (e *Error) Unwrap() []error {
	if e.is == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.is}
}

// ErrNoBucket means that there is no bucket of the name. It is not objstore.ErrNotExist: a bucket does
// not come and go like an object.
var ErrNoBucket = errors.New("the bucket does not exist")

// ErrUnreachable means that there was no connection to the store, however often it was tried.
var ErrUnreachable = errors.New("the store cannot be reached")

// named turns an error of the SDK into one of package objstore.
func (s *Store) named(ctx context.Context, op, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", op, s.URI(key), context.Cause(ctx))
	}
	code, status := codeOf(err)
	e := &Error{Op: op, URI: s.URI(key), Code: code, Err: short(err, code, status)}
	switch {
	case code == "NoSuchBucket":
		e.URI, e.is = "s3://"+s.bucket, ErrNoBucket
	case code == "InvalidObjectState":
		e.Hint = "restore the object from its archive storage class first"
	case status == 404 && code != "NoSuchUpload":
		e.is = objstore.ErrNotExist
	case status == 412:
		e.is = objstore.ErrPrecondition
	case status == 401 || status == 403 || code == "ExpiredToken":
		e.is = objstore.ErrPermission
	case status == 301 || code == "PermanentRedirect" || code == "AuthorizationHeaderMalformed" || code == "IllegalLocationConstraintException":
		e.Hint = "the bucket is in another region: set AWS_REGION or the option cloudFiles.region"
	case noCredentials(err):
		e.noCredentials()
	case kindOf(err) == unsent:
		e.is = ErrUnreachable
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			e.Err = op
		}
	}
	return e
}

func (e *Error) noCredentials() {
	e.Err, e.is = errors.New("no credentials were found"), objstore.ErrPermission
	e.Hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"
}

// short is an error in words without request ids and the SDK's own path to it.
func short(err error, code string, status int) error {
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && status != 0 && api.ErrorMessage() != "" && api.ErrorMessage() != code:
		return fmt.Errorf("%d %s: %s", status, code, api.ErrorMessage())
	case status != 0 && code != "":
		return fmt.Errorf("%d %s", status, code)
	case status != 0:
		return fmt.Errorf("status %d", status)
	}
	if op := (*smithy.OperationError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}
