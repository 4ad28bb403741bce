package s3store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// readPages makes a request for a page be read by [scanPage] and not by the SDK, whose reading of XML
// takes most of the time of a listing. What it does not understand, errors among it, the SDK reads.
func readPages(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		reader := &pageReader{}
		sdk, err := stack.Deserialize.Swap("OperationDeserializer", reader)
		reader.sdk = sdk
		return err
	})
}

type pageReader struct {
	sdk middleware.DeserializeMiddleware
}

// ID implements [middleware.DeserializeMiddleware].
func (*pageReader) ID() string { return "OperationDeserializer" }

// HandleDeserialize implements [middleware.DeserializeMiddleware].
func (r *pageReader) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (out middleware.DeserializeOutput, md middleware.Metadata, err error) {
	out, md, err = next.HandleDeserialize(ctx, in)
	answer, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok {
		return out, md, err
	}
	if answer.StatusCode == http.StatusOK {
		body := bytes.NewBuffer(make([]byte, 0, max(answer.ContentLength, 0)+bytes.MinRead))
		if _, err := body.ReadFrom(answer.Body); err != nil {
			return out, md, &smithy.DeserializationError{Err: fmt.Errorf("read the page: %w", err)}
		}
		if out.Result, ok = scanPage(body.Bytes()); ok {
			return out, md, nil
		}
		answer.Body = io.NopCloser(body)
	}
	return r.sdk.HandleDeserialize(ctx, in, answered{out, md})
}

// answered is what is below a middleware once there is an answer.
type answered struct {
	out middleware.DeserializeOutput
	md  middleware.Metadata
}

func (a answered) HandleDeserialize(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
	return a.out, a.md, nil
}

// scanPage reads a page of a listing, less what no one asks for. It is not ok for any text that is not
// plainly a page; that may still be one.
func scanPage(text []byte) (out *s3.ListObjectsV2Output, ok bool) {
	out = &s3.ListObjectsV2Output{Contents: make([]types.Object, 0, bytes.Count(text, []byte("<Contents>")))}
	var path [4][]byte // the elements that are open
	depth := 0
	for {
		at := bytes.IndexByte(text, '<')
		end := bytes.IndexByte(text, '>')
		if at < 0 || end < at+2 {
			return nil, false
		}
		content, tag := text[:at], text[at+1:end]
		text = text[end+1:]
		switch {
		case tag[0] == '?' && depth == 0:
		case tag[0] == '/':
			if depth == 0 || !bytes.Equal(tag[1:], path[depth-1]) {
				return nil, false
			}
			if !scanned(out, path[:depth], content) {
				return nil, false
			}
			if depth--; depth == 0 {
				return out, len(bytes.TrimSpace(text)) == 0
			}
		case tag[0] == '!' || depth == len(path):
			return nil, false
		case tag[len(tag)-1] == '/': // an element without content
		default:
			name, _, _ := bytes.Cut(tag, []byte(" "))
			if depth == 0 && string(name) != "ListBucketResult" {
				return nil, false
			}
			path[depth] = name
			if depth++; depth == 2 {
				switch string(name) {
				case "Contents":
					out.Contents = append(out.Contents, types.Object{})
				case "CommonPrefixes":
					out.CommonPrefixes = append(out.CommonPrefixes, types.CommonPrefix{})
				}
			}
		}
	}
}

// scanned takes the content of an element in that ends.
func scanned(out *s3.ListObjectsV2Output, path [][]byte, content []byte) (ok bool) {
	if len(path) < 2 {
		return true
	}
	if len(path) == 2 {
		switch string(path[1]) {
		case "IsTruncated":
			more := string(content) == "true"
			out.IsTruncated = &more
			return more || string(content) == "false"
		case "NextContinuationToken":
			out.NextContinuationToken, ok = plain(content)
			return ok
		case "EncodingType":
			out.EncodingType = types.EncodingType(content)
		}
		return true
	}
	name := string(path[2])
	switch within := string(path[1]); {
	case len(path) > 3:
	case within == "CommonPrefixes" && name == "Prefix":
		out.CommonPrefixes[len(out.CommonPrefixes)-1].Prefix, ok = plain(content)
		return ok
	case within == "Contents":
		o := &out.Contents[len(out.Contents)-1]
		switch name {
		case "Key":
			o.Key, ok = plain(content)
			return ok
		case "ETag":
			o.ETag, ok = plain(content)
			return ok
		case "Size":
			n, err := strconv.ParseInt(string(content), 10, 64)
			o.Size = &n
			return err == nil
		case "LastModified":
			at, err := time.Parse(time.RFC3339, string(content))
			o.LastModified = &at
			return err == nil
		}
	}
	return true
}

var entities = map[string]string{"quot": `"`, "amp": "&", "lt": "<", "gt": ">", "apos": "'", "#34": `"`, "#39": "'"}

// plain is text without its entities.
func plain(content []byte) (*string, bool) {
	if bytes.IndexByte(content, '&') < 0 {
		text := string(content)
		return &text, bytes.IndexByte(content, '\r') < 0
	}
	text := make([]byte, 0, len(content))
	for {
		before, rest, more := bytes.Cut(content, []byte("&"))
		text = append(text, before...)
		if !more {
			all := string(text)
			return &all, bytes.IndexByte(text, '\r') < 0
		}
		name, after, ok := bytes.Cut(rest, []byte(";"))
		entity := entities[string(name)]
		if !ok || entity == "" {
			return nil, false
		}
		text, content = append(text, entity...), after
	}
}
