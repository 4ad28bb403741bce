package s3store_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/siltlake/silt/objstore/s3store"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// wrapped puts a message into the envelope of SNS.
func wrapped(t *testing.T, message string) string {
	t.Helper()
	text, err := json.Marshal(map[string]string{"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:us-east-1:000000000000:t",
		"Subject": "Amazon S3 Notification", "Message": message, "Signature": "x"})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParseEvents(t *testing.T) {
	put := s3test.EventOf("ObjectCreated:Put", "landing", "in/a.json", 7, `"abc"`)
	bridge := `{"version":"0","id":"1","detail-type":"Object Created","source":"aws.s3","account":"1","resources":["arn:aws:s3:::landing"],
		"detail":{"version":"0","bucket":{"name":"landing"},"object":{"key":"in/a b+%2B.json","size":7,"etag":"abc","sequencer":"1"},"reason":"PutObject"}}`
	created := func(keys ...string) []s3store.Event {
		return []s3store.Event{{Bucket: "landing", Keys: keys, Created: true}}
	}
	for name, c := range map[string]struct {
		body string
		want []s3store.Event
		err  error
	}{
		"an object is put":                     {put, created("in/a.json"), nil},
		"the name may start with s3:":          {s3test.EventOf("s3:ObjectCreated:Copy", "landing", "in/a.json", 7, ""), created("in/a.json"), nil},
		"an upload is completed":               {s3test.EventOf("ObjectCreated:CompleteMultipartUpload", "landing", "in/a.json", 7, ""), created("in/a.json"), nil},
		"an archived object can be read again": {s3test.EventOf("ObjectRestore:Completed", "landing", "in/a.json", 7, ""), created("in/a.json"), nil},
		"a key is encoded as in a URL":         {s3test.EventOf("ObjectCreated:Put", "landing", "in/a b+c é=1.json", 7, ""), created("in/a b+c é=1.json", "in/a+b%2Bc+%C3%A9%3D1.json"), nil},
		"a key that cannot be decoded is taken as it is": {`{"Records":[{"eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"landing"},"object":{"key":"in/100%.json"}}}]}`,
			created("in/100%.json"), nil},
		"several records": {`{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"landing"},"object":{"key":"a","eTag":"\"q\""}}},
			{"eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"other"},"object":{"key":"b"}}}]}`,
			[]s3store.Event{{Bucket: "landing", Keys: []string{"a"}, Created: true}, {Bucket: "other", Keys: []string{"b"}}}, nil},
		"S3 tries the queue out":           {`{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2024-01-01T00:00:00.000Z","Bucket":"landing","RequestId":"1","HostId":"1"}`, nil, nil},
		"in the envelope of SNS":           {wrapped(t, put), created("in/a.json"), nil},
		"EventBridge does not encode keys": {bridge, created("in/a b+%2B.json"), nil},
		"EventBridge by SNS":               {wrapped(t, bridge), created("in/a b+%2B.json"), nil},
		"EventBridge of a deleted object": {`{"detail-type":"Object Deleted","source":"aws.s3","detail":{"bucket":{"name":"landing"},"object":{"key":"a"}}}`,
			[]s3store.Event{{Bucket: "landing", Keys: []string{"a"}}}, nil},
		"EventBridge of another service": {`{"detail-type":"EC2 Instance State-change Notification","source":"aws.ec2","detail":{}}`, nil, s3store.ErrNoEvent},
		"another message":                {`{"order":7}`, nil, s3store.ErrNoEvent},
		"a record of another service":    {`{"Records":[{"eventName":"INSERT","dynamodb":{}}]}`, nil, s3store.ErrNoEvent},
		"no JSON":                        {`hello`, nil, s3store.ErrNoEvent},
		"SNS with another message":       {wrapped(t, "hello"), nil, s3store.ErrNoEvent},
		"envelopes without an end":       {wrapped(t, wrapped(t, wrapped(t, wrapped(t, put)))), nil, s3store.ErrNoEvent},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s3store.ParseEvents(c.body)
			if !reflect.DeepEqual(got, c.want) || !errors.Is(err, c.err) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
