package s3store

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Pace is how many requests are under way, and how many may be.
func (s *Store) Pace() (now int, limit float64) {
	p := &s.client.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.limit
}

// QueueRegion is for tests.
var QueueRegion = queueRegion

type roundTrip func(*http.Request) *http.Response

func (f roundTrip) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody // as a server has it
	}
	return f(r), nil
}

// Over makes the requests of a Client be answered by a function.
func (c *Client) Over(answer func(*http.Request) *http.Response) {
	c.api = s3.New(c.api.Options(), func(o *s3.Options) { o.HTTPClient = roundTrip(answer) })
}
