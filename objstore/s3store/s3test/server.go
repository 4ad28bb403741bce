// Package s3test is an S3 server in memory, for tests. It honours every condition, which the servers at
// hand do not, and fails as it is told: before or after it did what it was asked for, or instead. It has
// queues of SQS too, to which it sends the events of its buckets.
package s3test

import (
	"crypto/md5" //nolint:gosec // the ETag of S3
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is an S3 server on 127.0.0.1 with buckets in the path. It takes any credentials.
type Server struct {
	URL string

	http *httptest.Server

	mu      sync.Mutex
	buckets map[string]map[string]*object
	sorted  map[string][]string // the keys of a bucket, until one comes or goes
	uploads map[string]*multipart
	calls   int
	counts  map[string]int
	inject  func(Call) Fault
	queues  map[string]*Queue
	made    int // queues, ever
	notify  []notification
	late    []func() // requests whose effect is still to come
	lax     Lax
	page    int // keys in a page of a listing
	now     func() time.Time
}

// Lax are the ways in which a store may be unfit.
type Lax struct {
	PutConditions, CopyConditions, DeleteConditions, ReadConditions, Ranges bool // ignored
	Unordered                                                               bool // listings are
}

type object struct {
	content []byte
	etag    string
	at      time.Time
	tags    []byte
}

type multipart struct {
	bucket, key string
	parts       map[int][]byte
}

// Call is one request, numbered from 0.
type Call struct {
	N               int
	Op, Bucket, Key string // Op is that of the API: PutObject, GetObject, ...
	// Conditional says that the request has a condition.
	Conditional bool
	// Folders says that a listing asks for folders.
	Folders bool
}

// Fault is what goes wrong with a request. The zero Fault is nothing.
type Fault int

// The faults. Those that say After come once the request had its effect, the others instead of it.
const (
	None          Fault = iota
	InternalError       // 500
	SlowDown            // 503 SlowDown
	TooMany             // 429
	Reset               // the connection is closed without an answer
	Conflict            // 409 ConditionalRequestConflict, which only a conditional write gets
	Denied              // 403 AccessDenied
	Expired             // 400 ExpiredToken
	InternalAfter       // done, and answered with 500
	SlowDownAfter       // done, and answered with 503
	ResetAfter          // done, and the connection closed without an answer
	Late                // the connection is closed, and the request has its effect at Settle
	Cut                 // the body of the answer ends in its middle; of answers without one: Reset
	ErrorIn200          // status 200 and an error in the body, as copies and completions can have; of others: 500
	HangFor100ms        // answered a little later
	faults              // their number
)

var faultNames = [...]string{"None", "InternalError", "SlowDown", "TooMany", "Reset", "Conflict", "Denied", "Expired",
	"InternalAfter", "SlowDownAfter", "ResetAfter", "Late", "Cut", "ErrorIn200", "HangFor100ms"}

func (f Fault) String() string { return faultNames[f] }

// Faults are all faults but None.
func Faults() (all []Fault) {
	for f := None + 1; f < faults; f++ {
		all = append(all, f)
	}
	return all
}

// New starts a Server with the named buckets. The caller closes it.
func New(buckets ...string) *Server {
	s := &Server{buckets: map[string]map[string]*object{}, sorted: map[string][]string{}, uploads: map[string]*multipart{}, counts: map[string]int{}, queues: map[string]*Queue{}, page: 1000, now: time.Now}
	for _, b := range buckets {
		s.buckets[b] = map[string]*object{}
	}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// Close ends the Server.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// Inject makes f choose the fault of each request from now on; nil is no faults.
func (s *Server) Inject(f func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inject = f
}

// Relax makes the Server ignore what l says.
func (s *Server) Relax(l Lax) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lax = l
}

// Pages makes a listing have at most n keys a page; it is 1,000 else.
func (s *Server) Pages(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = n
}

// Settle lets the late requests have their effect, in the order in which they came.
func (s *Server) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, do := range s.late {
		do()
	}
	s.late = nil
}

// Calls is the number of requests so far, and that of each operation.
func (s *Server) Calls() (int, map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, maps.Clone(s.counts)
}

// Put stores an object, as if a client had.
func (s *Server) Put(bucket, key, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announce("ObjectCreated:Put", bucket, key, s.store(bucket, key, []byte(content)))
}

// Age sets the time of an object.
func (s *Server) Age(bucket, key string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[bucket][key].at = at
}

// Get returns the content of an object.
func (s *Server) Get(bucket, key string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.buckets[bucket][key]
	if !ok {
		return "", false
	}
	return string(o.content), true
}

// Tags returns the marks of an object, as XML; empty when it has none.
func (s *Server) Tags(bucket, key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.buckets[bucket][key]; ok {
		return string(o.tags)
	}
	return ""
}

// Keys lists a bucket.
func (s *Server) Keys(bucket, prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for k := range s.buckets[bucket] {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// Uploads is the number of multipart uploads that were begun and not ended.
func (s *Server) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// store keeps a new version. The caller holds the lock.
func (s *Server) store(bucket, key string, content []byte) *object {
	sum := md5.Sum(content) //nolint:gosec // the ETag of S3
	o := &object{content: content, etag: `"` + hex.EncodeToString(sum[:]) + `"`, at: s.now()}
	if s.buckets[bucket] == nil {
		s.buckets[bucket] = map[string]*object{}
	}
	if s.buckets[bucket][key] == nil {
		delete(s.sorted, bucket)
	}
	s.buckets[bucket][key] = o
	return o
}

// request is a request that is read to its end.
type request struct {
	*http.Request
	op, bucket, key string
	query           url.Values
	body            []byte
	queue           *queueCall // nil: a request of S3
}

// answer is what a request is answered with.
type answer struct {
	status int
	header map[string]string
	body   []byte
}

func fail(status int, code, text string) answer {
	var b strings.Builder
	b.WriteString(xml.Header + "<Error><Code>" + code + "</Code><Message>")
	_ = xml.EscapeText(&b, []byte(text))
	b.WriteString("</Message></Error>")
	return answer{status: status, body: []byte(b.String())}
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	q := request{Request: r, query: r.URL.Query(), body: body}
	q.bucket, q.key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if isQueue(&q) {
		s.await(&q)
	} else {
		q.op = operation(&q)
	}

	s.mu.Lock()
	call := Call{N: s.calls, Op: q.op, Bucket: q.bucket, Key: q.key,
		Conditional: r.Header.Get("If-Match") != "" || r.Header.Get("If-None-Match") != "", Folders: q.query.Has("delimiter")}
	s.calls++
	s.counts[q.op]++
	f := None
	if s.inject != nil {
		f = s.inject(call)
	}
	var a answer
	switch f {
	case InternalError:
		a = q.fail(500, "InternalError", "We encountered an internal error. Please try again.")
	case SlowDown:
		a = q.fail(503, "SlowDown", "Please reduce your request rate.")
	case TooMany:
		a = q.fail(429, "TooManyRequests", "")
	case Denied:
		a = q.fail(403, "AccessDenied", "Access Denied")
	case Expired:
		a = q.fail(400, "ExpiredToken", "The provided token has expired.")
	case Late:
		s.late = append(s.late, func() { s.do(&q) })
	case Conflict:
		if call.Conditional && r.Method != http.MethodGet && r.Method != http.MethodHead {
			a = q.fail(409, "ConditionalRequestConflict", "A conflicting conditional operation is currently in progress against this resource.")
		} else {
			a = s.do(&q)
		}
	case ErrorIn200:
		if a = q.fail(500, "InternalError", ""); q.op == "CopyObject" || q.op == "CompleteMultipartUpload" || q.op == "UploadPartCopy" {
			a.status = 200
		}
	case Reset:
	default:
		a = s.do(&q)
	}
	s.mu.Unlock()

	switch f {
	case HangFor100ms:
		select {
		case <-time.After(100 * time.Millisecond):
		case <-r.Context().Done():
		}
	case InternalAfter:
		a = q.fail(500, "InternalError", "We encountered an internal error. Please try again.")
	case SlowDownAfter:
		a = q.fail(503, "SlowDown", "Please reduce your request rate.")
	}
	cut := f == Cut && len(a.body) > 0 && r.Method != http.MethodHead
	if f == Reset || f == ResetAfter || f == Late || f == Cut && !cut {
		hangUp(w)
		return
	}
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if a.header["Content-Length"] == "" && a.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if cut {
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		hangUp(w)
		return
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body)
	}
}

// hangUp closes the connection under an answer.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func operation(q *request) string {
	has := q.query.Has
	switch q.Method {
	case http.MethodGet:
		switch {
		case q.key == "" && has("uploads"):
			return "ListMultipartUploads"
		case q.key == "":
			return "ListObjectsV2"
		case has("tagging"):
			return "GetObjectTagging"
		}
		return "GetObject"
	case http.MethodHead:
		if q.key == "" {
			return "HeadBucket"
		}
		return "HeadObject"
	case http.MethodPut:
		copies := q.Header.Get("x-amz-copy-source") != ""
		switch {
		case q.key == "":
			return "CreateBucket"
		case has("tagging"):
			return "PutObjectTagging"
		case has("partNumber") && copies:
			return "UploadPartCopy"
		case has("partNumber"):
			return "UploadPart"
		case copies:
			return "CopyObject"
		}
		return "PutObject"
	case http.MethodPost:
		switch {
		case has("uploads"):
			return "CreateMultipartUpload"
		case has("uploadId"):
			return "CompleteMultipartUpload"
		}
	case http.MethodDelete:
		if has("uploadId") {
			return "AbortMultipartUpload"
		}
		return "DeleteObject"
	}
	return q.Method
}

// do has the effect of a request. The caller holds the lock.
func (s *Server) do(q *request) answer {
	if q.queue != nil {
		return s.doQueue(q)
	}
	if q.op == "CreateBucket" {
		if s.buckets[q.bucket] == nil {
			s.buckets[q.bucket] = map[string]*object{}
		}
		return answer{status: 200}
	}
	objects, ok := s.buckets[q.bucket]
	if !ok {
		return fail(404, "NoSuchBucket", "The specified bucket does not exist")
	}
	if sum := q.Header.Get("x-amz-content-sha256"); len(sum) == 64 {
		if got := sha256.Sum256(q.body); hex.EncodeToString(got[:]) != sum {
			return fail(400, "XAmzContentSHA256Mismatch", "")
		}
	}
	switch q.op {
	case "HeadBucket":
		return answer{status: 200}
	case "ListObjectsV2":
		return s.list(q, objects)
	case "GetObject", "HeadObject":
		return s.get(q, objects[q.key])
	case "PutObject":
		if a, ok := s.holds(q, objects[q.key], s.lax.PutConditions); !ok {
			return a
		}
		o := s.store(q.bucket, q.key, q.body)
		s.announce("ObjectCreated:Put", q.bucket, q.key, o)
		return answer{status: 200, header: map[string]string{"ETag": o.etag}}
	case "DeleteObject":
		o := objects[q.key]
		if m := q.Header.Get("If-Match"); m != "" && o != nil && m != o.etag && !s.lax.DeleteConditions {
			return fail(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
		}
		if delete(objects, q.key); o != nil {
			delete(s.sorted, q.bucket)
			s.announce("ObjectRemoved:Delete", q.bucket, q.key, nil)
		}
		return answer{status: 204}
	case "CopyObject":
		return s.copyObject(q)
	case "PutObjectTagging", "GetObjectTagging":
		return tagging(q, objects[q.key])
	}
	return s.multipart(q, objects)
}

// holds checks the conditions of a write.
func (s *Server) holds(q *request, there *object, lax bool) (answer, bool) {
	match, none := q.Header.Get("If-Match"), q.Header.Get("If-None-Match")
	switch {
	case lax:
	case match != "" && there == nil:
		return fail(404, "NoSuchKey", "The specified key does not exist."), false
	case match != "" && match != there.etag, none == "*" && there != nil:
		return fail(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"), false
	}
	return answer{}, true
}

func (s *Server) get(q *request, o *object) answer {
	if o == nil {
		return fail(404, "NoSuchKey", "The specified key does not exist.")
	}
	if m := q.Header.Get("If-Match"); m != "" && m != o.etag && !s.lax.ReadConditions {
		return fail(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	a := answer{status: 200, body: o.content, header: map[string]string{
		"ETag": o.etag, "Last-Modified": o.at.UTC().Format(http.TimeFormat), "Accept-Ranges": "bytes"}}
	if span, ok := strings.CutPrefix(q.Header.Get("Range"), "bytes="); ok && !s.lax.Ranges {
		from, to, _ := strings.Cut(span, "-")
		first, _ := strconv.Atoi(from)
		last := len(o.content) - 1
		if n, err := strconv.Atoi(to); err == nil {
			last = min(n, last)
		}
		if first > last {
			return fail(416, "InvalidRange", "The requested range is not satisfiable")
		}
		a.status, a.body = 206, o.content[first:last+1]
		a.header["Content-Range"] = fmt.Sprintf("bytes %d-%d/%d", first, last, len(o.content))
	}
	a.header["Content-Length"] = strconv.Itoa(len(a.body))
	return a
}

type listResult struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name                  string
	Prefix                string
	KeyCount, MaxKeys     int
	IsTruncated           bool
	EncodingType          string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listEntry
	CommonPrefixes        []commonPrefix
}

type listEntry struct {
	Key, LastModified, ETag string
	Size                    int
	StorageClass            string
}

type commonPrefix struct{ Prefix string }

func (s *Server) list(q *request, objects map[string]*object) answer {
	prefix, delimiter := q.query.Get("prefix"), q.query.Get("delimiter")
	after := q.query.Get("start-after")
	if token := q.query.Get("continuation-token"); token != "" {
		b, err := hex.DecodeString(token)
		if err != nil {
			return fail(400, "InvalidArgument", "The continuation token provided is incorrect")
		}
		after = string(b)
	}
	out := listResult{Name: q.bucket, Prefix: prefix, MaxKeys: s.page, EncodingType: q.query.Get("encoding-type")}
	if n, err := strconv.Atoi(q.query.Get("max-keys")); err == nil && n < s.page {
		out.MaxKeys = n
	}
	encode := func(key string) string {
		if out.EncodingType == "url" {
			return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
		}
		return key
	}
	if s.sorted[q.bucket] == nil {
		s.sorted[q.bucket] = slices.Sorted(maps.Keys(objects))
	}
	keys := s.sorted[q.bucket]
	first, _ := slices.BinarySearch(keys, max(prefix, after))
	last, folder := "", ""
	for _, key := range keys[first:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		if key <= after || folder != "" && strings.HasPrefix(key, folder) {
			continue
		}
		if len(out.Contents)+len(out.CommonPrefixes) == out.MaxKeys {
			out.IsTruncated, out.NextContinuationToken = true, hex.EncodeToString([]byte(last))
			break
		}
		if i := strings.Index(key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			folder = key[:len(prefix)+i+len(delimiter)]
			out.CommonPrefixes = append(out.CommonPrefixes, commonPrefix{encode(folder)})
			last = folder + "\xff"
			continue
		}
		o := objects[key]
		last = key
		out.Contents = append(out.Contents, listEntry{encode(key), o.at.UTC().Format("2006-01-02T15:04:05.000Z"), o.etag, len(o.content), "STANDARD"})
	}
	out.KeyCount = len(out.Contents) + len(out.CommonPrefixes)
	if s.lax.Unordered {
		slices.Reverse(out.Contents)
	}
	return markup(out)
}

func markup(v any) answer {
	text, err := xml.Marshal(v)
	if err != nil {
		return fail(500, "InternalError", err.Error())
	}
	return answer{status: 200, header: map[string]string{"Content-Type": "application/xml"}, body: append([]byte(xml.Header), text...)}
}

// source finds the object that a copy names.
func (s *Server) source(q *request) (*object, answer) {
	name, _, _ := strings.Cut(q.Header.Get("x-amz-copy-source"), "?")
	name, err := url.PathUnescape(name)
	if err != nil {
		return nil, fail(400, "InvalidArgument", err.Error())
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	o := s.buckets[bucket][key]
	if o == nil {
		return nil, fail(404, "NoSuchKey", "The specified key does not exist.")
	}
	if m := q.Header.Get("x-amz-copy-source-if-match"); m != "" && m != o.etag {
		return nil, fail(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	return o, answer{}
}

type copyResult struct {
	XMLName            xml.Name
	ETag, LastModified string
}

func (s *Server) copyObject(q *request) answer {
	o, bad := s.source(q)
	if o == nil {
		return bad
	}
	if a, ok := s.holds(q, s.buckets[q.bucket][q.key], s.lax.CopyConditions); !ok {
		return a
	}
	n := s.store(q.bucket, q.key, o.content)
	n.tags = o.tags
	s.announce("ObjectCreated:Copy", q.bucket, q.key, n)
	return markup(copyResult{xml.Name{Local: "CopyObjectResult"}, n.etag, n.at.UTC().Format("2006-01-02T15:04:05.000Z")})
}

func tagging(q *request, o *object) answer {
	switch {
	case o == nil:
		return fail(404, "NoSuchKey", "The specified key does not exist.")
	case q.Method == http.MethodPut:
		o.tags = q.body
		return answer{status: 200}
	case o.tags == nil:
		return answer{status: 200, body: []byte(xml.Header + "<Tagging><TagSet></TagSet></Tagging>")}
	}
	return answer{status: 200, body: o.tags}
}

type initiated struct {
	XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
	Bucket, Key, UploadId string
}

type completed struct {
	XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
	Bucket, Key, ETag string
}

func (s *Server) multipart(q *request, objects map[string]*object) answer {
	if q.op == "CreateMultipartUpload" {
		id := fmt.Sprintf("upload-%d", s.calls)
		s.uploads[id] = &multipart{q.bucket, q.key, map[int][]byte{}}
		return markup(initiated{Bucket: q.bucket, Key: q.key, UploadId: id})
	}
	id := q.query.Get("uploadId")
	u := s.uploads[id]
	if u == nil || u.bucket != q.bucket || u.key != q.key {
		return fail(404, "NoSuchUpload", "The specified upload does not exist.")
	}
	n, _ := strconv.Atoi(q.query.Get("partNumber"))
	switch q.op {
	case "UploadPart":
		u.parts[n] = q.body
		return answer{status: 200, header: map[string]string{"ETag": partTag(q.body)}}
	case "UploadPartCopy":
		o, bad := s.source(q)
		if o == nil {
			return bad
		}
		from, to := 0, len(o.content)-1
		if span := q.Header.Get("x-amz-copy-source-range"); span != "" {
			if _, err := fmt.Sscanf(span, "bytes=%d-%d", &from, &to); err != nil {
				return fail(400, "InvalidArgument", err.Error())
			}
		}
		u.parts[n] = o.content[from : to+1]
		return markup(copyResult{xml.Name{Local: "CopyPartResult"}, partTag(u.parts[n]), ""})
	case "AbortMultipartUpload":
		delete(s.uploads, id)
		return answer{status: 204}
	case "CompleteMultipartUpload":
		return s.complete(q, id, u, objects[q.key])
	}
	return fail(501, "NotImplemented", q.op)
}

func partTag(content []byte) string {
	sum := md5.Sum(content) //nolint:gosec // the ETag of S3
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (s *Server) complete(q *request, id string, u *multipart, there *object) answer {
	if a, ok := s.holds(q, there, s.lax.PutConditions); !ok {
		return a
	}
	var list struct {
		Part []struct {
			ETag       string
			PartNumber int
		}
	}
	if err := xml.Unmarshal(q.body, &list); err != nil || len(list.Part) == 0 {
		return fail(400, "MalformedXML", "")
	}
	var content []byte
	for _, p := range list.Part {
		part, ok := u.parts[p.PartNumber]
		if !ok || strings.Trim(p.ETag, `"`) != strings.Trim(partTag(part), `"`) {
			return fail(400, "InvalidPart", "One or more of the specified parts could not be found.")
		}
		content = append(content, part...)
	}
	o := s.store(q.bucket, q.key, content)
	o.etag = fmt.Sprintf(`%s-%d"`, strings.TrimSuffix(o.etag, `"`), len(list.Part))
	delete(s.uploads, id)
	s.announce("ObjectCreated:CompleteMultipartUpload", q.bucket, q.key, o)
	return markup(completed{Bucket: q.bucket, Key: q.key, ETag: o.etag})
}
