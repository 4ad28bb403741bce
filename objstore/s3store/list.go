package s3store

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/siltlake/silt/objstore"
)

// List implements [objstore.Store]. A store that does not list in the order of bytes is an error: a
// listing out of order would pass over keys in every comparison with another.
func (s *Store) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.key(prefix), EncodingType: types.EncodingTypeUrl}
		last := ""
		if startAfter != "" {
			in.StartAfter = s.key(startAfter)
			last = startAfter
		}
		for {
			var out *s3.ListObjectsV2Output
			err := s.request(ctx, "ListObjectsV2", prefix, 0, harmless, func(ctx context.Context) (err error) {
				out, err = s.client.api.ListObjectsV2(ctx, in)
				return err
			})
			if err != nil {
				yield(objstore.Object{}, err)
				return
			}
			before := last
			for _, c := range out.Contents {
				o, err := s.listed(out, c)
				if err == nil && o.Key <= last && last != "" {
					err = fmt.Errorf("ListObjectsV2 %s: the store lists %q after %q, which is not the order of keys", s.URI(prefix), o.Key, last)
				}
				if last = o.Key; !yield(o, err) || err != nil {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			in.ContinuationToken = out.NextContinuationToken
			if in.ContinuationToken == nil {
				if last == before {
					yield(objstore.Object{}, fmt.Errorf("ListObjectsV2 %s: the store says that there is more, and not where", s.URI(prefix)))
					return
				}
				in.StartAfter = s.key(last)
			}
		}
	}
}

// listed is one object of a page.
func (s *Store) listed(page *s3.ListObjectsV2Output, c types.Object) (objstore.Object, error) {
	key := aws.ToString(c.Key)
	if page.EncodingType == types.EncodingTypeUrl {
		plain, err := url.QueryUnescape(key)
		if err != nil {
			return objstore.Object{}, fmt.Errorf("ListObjectsV2 s3://%s: key %q: %w", s.bucket, key, err)
		}
		key = plain
	}
	rel, ok := strings.CutPrefix(key, s.prefix)
	if !ok {
		return objstore.Object{}, fmt.Errorf("ListObjectsV2 s3://%s/%s: the store lists %q, which is not below it", s.bucket, s.prefix, key)
	}
	return objstore.Object{Key: rel, Size: aws.ToInt64(c.Size), ModTime: aws.ToTime(c.LastModified), ETag: unquoted(c.ETag)}, nil
}
