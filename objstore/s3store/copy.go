package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/siltlake/silt/objstore"
)

const (
	// copyMost is the largest object that one request copies. Source: S3, CopyObject.
	copyMost = 5 << 30
	copyPart = 1 << 30
)

// CopyFrom implements [objstore.Copier]: the bytes stay in S3. The source must be at the same endpoint.
//
// Stores that honour conditions of a put need not honour that of a copy, and say nothing. So the first copy of
// a client is put under its key, which takes the key, and copied over that under the condition. When the store
// refuses that, later copies rest on the condition; else all are made so. Those go one after the other: their
// bytes pass through memory.
func (s *Store) CopyFrom(ctx context.Context, key string, from objstore.Store, o objstore.Object) (objstore.Object, error) {
	src, ok := from.(*Store)
	if !ok || src.client.endpoint != s.client.endpoint {
		return objstore.Object{}, errors.ErrUnsupported
	}
	if o.Size > copyMost {
		return s.copyParts(ctx, key, src, o)
	}
	ifAbsent := objstore.Cond{IfAbsent: true}
	if !s.client.copiesIfAbsent.Load() {
		s.client.carrying.Lock()
		defer s.client.carrying.Unlock()
	}
	if s.client.copiesIfAbsent.Load() { // as another has seen since
		return s.copyWhole(ctx, key, src, o, ifAbsent)
	}
	if err := s.carry(ctx, key, src, o); err != nil {
		return objstore.Object{}, err
	}
	c, err := s.copyWhole(ctx, key, src, o, ifAbsent)
	if !errors.Is(err, objstore.ErrPrecondition) {
		return c, err
	}
	// For what an object has beside its bytes. It also tells that the condition on the source was not the one that failed.
	if c, err = s.copyWhole(ctx, key, src, o, objstore.Cond{}); err == nil {
		s.client.copiesIfAbsent.Store(true)
	}
	return c, err
}

// carry puts the bytes of an object under a key that is absent. A lost answer is no reason to stop: whose the
// key is by then, the caller has to see anyway.
func (s *Store) carry(ctx context.Context, key string, src *Store, o objstore.Object) error {
	body, _, err := src.Open(ctx, o.Key, objstore.Range{IfMatch: o.ETag})
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = s.put(ctx, key, body, objstore.Cond{IfAbsent: true}, harmless)
	return err
}

// copyWhole copies by one request.
func (s *Store) copyWhole(ctx context.Context, key string, src *Store, o objstore.Object, cond objstore.Cond) (objstore.Object, error) {
	var out *s3.CopyObjectOutput
	err := s.request(ctx, "CopyObject", key, o.Size>>4, harmless, func(ctx context.Context) (err error) {
		out, err = s.client.api.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &s.bucket, Key: s.key(key),
			CopySource: src.copySource(o), CopySourceIfMatch: quoted(o.ETag), IfNoneMatch: ifNoneMatch(cond)})
		return err
	})
	if err != nil {
		return objstore.Object{}, err
	}
	c := objstore.Object{Key: key, Size: o.Size, VersionID: version(out.VersionId)}
	if r := out.CopyObjectResult; r != nil {
		c.ModTime, c.ETag = aws.ToTime(r.LastModified), unquoted(r.ETag)
	}
	return c, nil
}

// copySource names a version of an object in the header of a copy.
func (s *Store) copySource(o objstore.Object) *string {
	name := s.bucket + "/" + strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(s.prefix+o.Key))
	if o.VersionID != "" {
		name += "?versionId=" + url.QueryEscape(o.VersionID)
	}
	return &name
}

func (s *Store) copyParts(ctx context.Context, key string, src *Store, o objstore.Object) (objstore.Object, error) {
	u, err := s.startUpload(ctx, key, objstore.Cond{IfAbsent: true})
	if err != nil {
		return objstore.Object{}, err
	}
	for off := int64(0); off < o.Size; off += copyPart {
		n := int32(len(u.parts) + 1)
		end := min(off+copyPart, o.Size) - 1
		err := s.request(ctx, "UploadPartCopy", key, copyPart>>4, harmless, func(ctx context.Context) error {
			out, err := s.client.api.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: &s.bucket, Key: s.key(key), UploadId: u.id,
				PartNumber: &n, CopySource: src.copySource(o), CopySourceIfMatch: quoted(o.ETag),
				CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", off, end))})
			if err == nil {
				u.parts = append(u.parts, types.CompletedPart{PartNumber: &n, ETag: out.CopyPartResult.ETag})
			}
			return err
		})
		if err != nil {
			u.abort()
			return objstore.Object{}, err
		}
	}
	u.size = o.Size
	return u.complete()
}

// Tag implements [objstore.Tagger].
func (s *Store) Tag(ctx context.Context, key string, tags map[string]string) error {
	return s.request(ctx, "PutObjectTagging", key, 0, harmless, func(ctx context.Context) error {
		got, err := s.client.api.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &s.bucket, Key: s.key(key)})
		if err != nil {
			return err
		}
		var set []types.Tag
		for _, t := range got.TagSet { // a put replaces them all
			if _, ours := tags[aws.ToString(t.Key)]; !ours {
				set = append(set, t)
			}
		}
		for name, value := range tags {
			set = append(set, types.Tag{Key: &name, Value: &value})
		}
		_, err = s.client.api.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: &s.bucket, Key: s.key(key), Tagging: &types.Tagging{TagSet: set}})
		return err
	})
}
