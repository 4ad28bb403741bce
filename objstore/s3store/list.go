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
//
// It asks for one page after the other, until a page shows that folders are large; then it asks for
// the pages of several of them at once, as [listing] says. An error of any page ends it.
func (s *Store) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		l := newListing(s, prefix)
		rest := &span{at: place{after: startAfter}}
		for {
			p, err := l.page(ctx, rest.at)
			if err != nil {
				yield(objstore.Object{}, err)
				return
			}
			for _, o := range p.objects {
				if !yield(o, nil) {
					return
				}
			}
			if !p.more {
				return
			}
			rest.at = p.next
			if ends, level := l.cuts(ctx, rest, p); len(ends) > 0 {
				l.cut(rest, ends, level)
				l.ahead(ctx, yield)
				return
			}
		}
	}
}

// place is where a page begins: after a key, by the token of the page before it where there is one.
type place struct {
	after string
	token *string
}

// page is what one request lists.
type page struct {
	objects []objstore.Object
	more    bool
	next    place
}

// first and last are keys of a page that has some.
func (p *page) first() string { return p.objects[0].Key }
func (p *page) last() string  { return p.next.after }

// page asks for the page at a place.
func (l *listing) page(ctx context.Context, at place) (page, error) {
	s := l.store
	in := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.key(l.prefix), EncodingType: types.EncodingTypeUrl, ContinuationToken: at.token}
	if at.token == nil && at.after != "" {
		in.StartAfter = s.key(at.after)
	}
	l.mu.Lock()
	l.pages++
	l.mu.Unlock()
	out, err := s.list(ctx, l.prefix, in)
	if err != nil {
		return page{}, err
	}
	p := page{objects: make([]objstore.Object, 0, len(out.Contents)), more: aws.ToBool(out.IsTruncated), next: place{at.after, out.NextContinuationToken}}
	for _, c := range out.Contents {
		key, err := s.relative(out, c.Key)
		if err != nil {
			return page{}, err
		}
		if last := p.next.after; key <= last && last != "" {
			return page{}, fmt.Errorf("ListObjectsV2 %s: the store lists %q after %q, which is not the order of keys", s.URI(l.prefix), key, last)
		}
		p.objects = append(p.objects, objstore.Object{Key: key, Size: aws.ToInt64(c.Size), ModTime: aws.ToTime(c.LastModified), ETag: unquoted(c.ETag)})
		p.next.after = key
	}
	if p.more && p.next.token == nil && len(p.objects) == 0 {
		return page{}, fmt.Errorf("ListObjectsV2 %s: the store says that there is more, and not where", s.URI(l.prefix))
	}
	return p, nil
}

// folders asks which folders are directly below level after a key: up to 1,000, and whether these are all.
func (l *listing) folders(ctx context.Context, level, after string) (folders []string, all bool, err error) {
	s := l.store
	out, err := s.list(ctx, level, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.key(level), EncodingType: types.EncodingTypeUrl,
		StartAfter: s.key(after), Delimiter: aws.String("/")})
	if err != nil {
		return nil, false, err
	}
	for _, c := range out.CommonPrefixes {
		folder, err := s.relative(out, c.Prefix)
		if err != nil {
			return nil, false, err
		}
		folders = append(folders, folder)
	}
	return folders, !aws.ToBool(out.IsTruncated), nil
}

func (s *Store) list(ctx context.Context, prefix string, in *s3.ListObjectsV2Input) (out *s3.ListObjectsV2Output, err error) {
	err = s.request(ctx, "ListObjectsV2", prefix, 0, harmless, func(ctx context.Context) (err error) {
		out, err = s.client.api.ListObjectsV2(ctx, in, readPages)
		return err
	})
	return out, err
}

// relative is a key or a folder of a page, as a Store names it.
func (s *Store) relative(page *s3.ListObjectsV2Output, name *string) (string, error) {
	key := aws.ToString(name)
	if page.EncodingType == types.EncodingTypeUrl {
		plain, err := url.QueryUnescape(key)
		if err != nil {
			return "", fmt.Errorf("ListObjectsV2 s3://%s: key %q: %w", s.bucket, key, err)
		}
		key = plain
	}
	rel, ok := strings.CutPrefix(key, s.prefix)
	if !ok {
		return "", fmt.Errorf("ListObjectsV2 s3://%s/%s: the store lists %q, which is not below it", s.bucket, s.prefix, key)
	}
	return rel, nil
}
