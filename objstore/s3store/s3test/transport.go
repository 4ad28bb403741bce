package s3test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
)

// Transport makes requests without a network, so that nothing but the code under test waits: a test may
// have a clock of its own.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ server *Server }

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody // as a server has it
	}
	defer r.Body.Close()
	defer func() {
		if broken := recover(); broken == http.ErrAbortHandler {
			answer, err = nil, fmt.Errorf("%s %s: the connection was closed", r.Method, r.URL)
		} else if broken != nil {
			panic(broken)
		}
	}()
	w := httptest.NewRecorder()
	t.server.ServeHTTP(w, r)
	return w.Result(), nil
}
