package s3store_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/objstore/objstoretest"
	"github.com/siltlake/silt/objstore/s3store"
)

// TestServer holds the contract against the S3 server that SILT_S3 names; "make s3" starts one.
func TestServer(t *testing.T) {
	url := os.Getenv("SILT_S3")
	if url == "" {
		t.Skip("left out: SILT_S3 is not set; make s3 sets it")
	}
	o := s3store.Options{Endpoint: url, Region: "us-east-1", Backoff: time.Millisecond, Part: 5 << 20,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
	client := s3.New(s3.Options{BaseEndpoint: &url, UsePathStyle: true, Region: "us-east-1", Credentials: o.Credentials})
	bucket := "silt-" + strings.ToLower(rand.Text())
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteBucket(context.Background(), &s3.DeleteBucketInput{Bucket: aws.String(bucket)})
	})
	c, err := s3store.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("keeps the contract", func(t *testing.T) {
		objstoretest.Run(t, func(t *testing.T) objstore.Store {
			prefix := rand.Text()
			t.Cleanup(func() {
				s := c.Store(bucket, prefix)
				for o := range s.List(context.Background(), "", "") {
					_ = s.Delete(context.Background(), o.Key, objstore.Cond{})
				}
			})
			return c.Store(bucket, prefix)
		})
	})
	t.Run("lists folders ahead, in the order of keys", func(t *testing.T) {
		var asked atomic.Int64
		o := o
		o.Transport = transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Has("delimiter") {
				asked.Add(1)
			}
			return http.DefaultTransport.RoundTrip(r)
		})
		c, err := s3store.New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Store(bucket, "folders")
		var want []string
		g, ctx := errgroup.WithContext(t.Context())
		g.SetLimit(16)
		for folder, n := range map[string]int{"a b": 1010, "a": 3, "a+b": 3, "a-b": 3, "a0": 3} { // a page of the first
			for i := range n {
				key := fmt.Sprintf("%s/é%04d", folder, i)
				want = append(want, key)
				g.Go(func() error {
					_, err := objstore.PutBytes(ctx, s, key, []byte("x"), objstore.Cond{})
					return err
				})
			}
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		got, err := keysOf(t.Context(), s, "", "")
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %d keys, want %d: %v", len(got), len(want), err)
		}
		if asked.Load() == 0 {
			t.Error("it did not ask for folders")
		}
		for _, key := range want {
			g.Go(func() error { return s.Delete(t.Context(), key, objstore.Cond{}) })
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("is safe to write to", func(t *testing.T) {
		for _, check := range objstore.Probe(t.Context(), c.Store(bucket, "probe"), "") {
			if check.Err != nil {
				t.Errorf("%s: %v", check.Name, check.Err)
			}
		}
	})
	t.Run("takes objects in parts", func(t *testing.T) {
		s := c.Store(bucket, "parts")
		content := strings.Repeat("0123456789abcdef", 1<<20)
		cond := objstore.Cond{IfAbsent: true}
		if _, err := objstore.PutBytes(t.Context(), s, "large", []byte(content), cond); err != nil {
			t.Fatal(err)
		}
		b, o, err := objstore.ReadAll(t.Context(), s, "large")
		if err != nil || string(b) != content {
			t.Errorf("got %d bytes, %v", len(b), err)
		}
		if copied, err := s.CopyFrom(t.Context(), "copy", s, o); err != nil || copied.Size != o.Size {
			t.Errorf("copy: %+v, %v", copied, err)
		}
		if err := s.Tag(t.Context(), "copy", map[string]string{"silt.loaded": "2026-01-31"}); err != nil {
			t.Error(err)
		}
		for _, key := range []string{"large", "copy"} {
			if err := s.Delete(t.Context(), key, objstore.Cond{}); err != nil {
				t.Error(err)
			}
		}
	})
}
