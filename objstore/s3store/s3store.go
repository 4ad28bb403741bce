// Package s3store keeps objects in S3, and in any store that speaks its API and honours conditions.
//
// A [Client] is one way to an endpoint: credentials, connections, and the pace at which it may be asked.
// A [Store] is one prefix of one bucket, and an [objstore.Store]. A [Queue] is one of SQS in which the
// events of buckets arrive.
//
// The SDK repeats nothing: all repeating is done here, because only here it is known what may be
// repeated. Reads, listings, whole puts and deletes may. A conditional put may not, but after the two
// answers that say that nothing landed: a connection that was never made, and 409. Any other answer to
// it than stored and refused is handed on as unknown. A store that asks to slow down gets fewer requests
// at a time, by half, and more again slowly.
//
// An ETag is that of S3 without its quotes. Two versions of the same bytes may share one, which S3
// allows.
package s3store

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/siltlake/silt/objstore"
)

// Options of a Client. The zero Options are AWS, with what the SDK finds in environment, profile, web
// identity, container and machine.
type Options struct {
	// Region of the buckets. Empty: what the SDK finds, else us-east-1.
	Region string
	// Endpoint is the URL of another store than AWS. Empty: what the SDK finds.
	Endpoint string
	// PathStyle puts the bucket into the path and not into the name of the host. Nil: where there is an
	// Endpoint.
	PathStyle *bool
	// Profile is one of the shared configuration files.
	Profile string
	// RoleARN is a role to assume with the credentials that are found.
	RoleARN, RoleExternalID, RoleSessionName, STSEndpoint string
	// Credentials are used as they are instead of what the SDK finds.
	Credentials aws.CredentialsProvider
	// Transport makes the requests; nil is connections of the Client's own.
	Transport http.RoundTripper

	// Timeout bounds one request, and the wait for the next bytes of a body; 0 is 30 seconds. A request
	// with a body has a second more for each 256 KiB of it.
	Timeout time.Duration
	// Tries is how often a request is made that may be repeated; 0 is 10.
	Tries int
	// Backoff is the longest wait before the second try; it doubles with each. 0 is 50 ms.
	Backoff time.Duration
	// Part is the size of the parts of a large object; 0 is 8 MiB, less is for tests.
	Part int
}

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Tries = cmp.Or(o.Tries, 10)
	o.Backoff = cmp.Or(o.Backoff, 50*time.Millisecond)
	o.Part = cmp.Or(o.Part, 8<<20)
	return o
}

// Client makes requests to one endpoint. Its methods may be called from any number of goroutines.
type Client struct {
	api      *s3.Client
	cache    *aws.CredentialsCache // nil: credentials are as given
	endpoint string                // empty: AWS
	o        Options
	pace     pace
	// copiesIfAbsent says that the store was seen to honour a condition on the key of a copy.
	copiesIfAbsent atomic.Bool
	// carrying is held while that is not known, by who copies.
	carrying sync.Mutex
}

// New returns a Client. It reads the SDK's configuration files and makes no request.
func New(ctx context.Context, o Options) (*Client, error) {
	o = o.withDefaults()
	c, err := o.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("configuration of S3: %w", err)
	}
	cl := &Client{o: o, pace: newPace()}
	cl.cache, _ = c.Credentials.(*aws.CredentialsCache)
	cl.api = s3.NewFromConfig(c, func(s *s3.Options) {
		s.Retryer = aws.NopRetryer{}
		if o.Endpoint != "" {
			s.BaseEndpoint = &o.Endpoint
		}
		if s.BaseEndpoint != nil {
			cl.endpoint = *s.BaseEndpoint
		}
		s.UsePathStyle = cl.endpoint != ""
		if o.PathStyle != nil {
			s.UsePathStyle = *o.PathStyle
		}
	})
	return cl, nil
}

// Store is the part of a bucket whose keys start with a prefix.
type Store struct {
	client *Client
	bucket string
	prefix string // empty, or ends in a slash
}

var (
	_ objstore.Store   = (*Store)(nil)
	_ objstore.Creator = (*Store)(nil)
	_ objstore.Copier  = (*Store)(nil)
	_ objstore.Tagger  = (*Store)(nil)
)

// Store returns the Store below a prefix of a bucket. An empty prefix is the whole bucket.
func (c *Client) Store(bucket, prefix string) *Store {
	if prefix = strings.TrimPrefix(prefix, "/"); prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return &Store{client: c, bucket: bucket, prefix: prefix}
}

// ParseURI splits s3://bucket/key. The schemes s3a and s3n of Hadoop mean the same.
func ParseURI(uri string) (bucket, key string, ok bool) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if scheme = strings.ToLower(scheme); !ok || scheme != "s3" && scheme != "s3a" && scheme != "s3n" {
		return "", "", false
	}
	bucket, key, _ = strings.Cut(rest, "/")
	return bucket, key, bucket != ""
}

// URI is the full name of a key.
func (s *Store) URI(key string) string { return "s3://" + s.bucket + "/" + s.prefix + key }

func (s *Store) key(key string) *string { return aws.String(s.prefix + key) }

// quoted is an ETag as S3 wants it.
func quoted(etag string) *string {
	if etag == "" {
		return nil
	}
	return aws.String(`"` + etag + `"`)
}

// unquoted is an ETag as an Object has it.
func unquoted(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }
