package s3store

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
)

// Event says that something happened to an object of a bucket. It is a hint: events come twice, late, out
// of order, or not at all.
type Event struct {
	Bucket string
	// Keys are the object's key; two where the event may or may not have it encoded as in a URL.
	Keys []string
	// Created says that the object was put, copied, completed or restored; else it was deleted, tagged,
	// or moved to another storage class.
	Created bool
}

// ErrNoEvent means that a message is none of those that S3, SNS or EventBridge make of an event.
var ErrNoEvent = errors.New("it is no event of S3")

// message is what an event looks like on its way: as S3 sends it, as EventBridge does, or in the
// envelope of SNS. Source: S3, "Event message structure" and "EventBridge event message structure"; SNS,
// "Amazon SNS message and JSON formats".
type message struct {
	Records []struct {
		EventName string `json:"eventName"`
		S3        *struct {
			Bucket struct{ Name string } `json:"bucket"`
			Object struct{ Key string }  `json:"object"`
		} `json:"s3"`
	}

	Service, Event string // of the first message of a configuration, which has no Records

	DetailType string `json:"detail-type"`
	Source     string `json:"source"`
	Detail     *struct {
		Bucket struct{ Name string } `json:"bucket"`
		Object struct{ Key string }  `json:"object"`
	} `json:"detail"`

	Type    string // Notification
	Message string
}

// envelopes bounds how often a message is looked for inside another.
const envelopes = 3

// ParseEvents reads the events of a message. It has none when S3 sent it to try the queue out, and is
// ErrNoEvent when it comes from elsewhere.
func ParseEvents(body string) ([]Event, error) {
	for range envelopes {
		var m message
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			return nil, ErrNoEvent
		}
		switch {
		case m.Records != nil:
			return m.records()
		case m.Event == "s3:TestEvent":
			return nil, nil
		case m.Source == "aws.s3" && m.DetailType != "":
			if m.Detail == nil || m.Detail.Bucket.Name == "" || m.Detail.Object.Key == "" {
				return nil, nil // of the bucket, and not of an object
			}
			created := m.DetailType == "Object Created" || m.DetailType == "Object Restore Completed"
			return []Event{{m.Detail.Bucket.Name, []string{m.Detail.Object.Key}, created}}, nil
		case m.Message != "":
			body = m.Message
		default:
			return nil, ErrNoEvent
		}
	}
	return nil, ErrNoEvent
}

func (m *message) records() (events []Event, err error) {
	for _, r := range m.Records {
		if r.S3 == nil || r.S3.Bucket.Name == "" || r.S3.Object.Key == "" {
			return nil, ErrNoEvent
		}
		name := strings.TrimPrefix(r.EventName, "s3:")
		e := Event{r.S3.Bucket.Name, []string{r.S3.Object.Key}, strings.HasPrefix(name, "ObjectCreated:") || name == "ObjectRestore:Completed"}
		// S3 encodes keys, with + for a space; not every store that sends such events does.
		if plain, err := url.QueryUnescape(e.Keys[0]); err == nil && plain != e.Keys[0] {
			e.Keys = []string{plain, e.Keys[0]}
		}
		events = append(events, e)
	}
	return events, nil
}
