package s3store

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

const aPage = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix/><KeyCount>3</KeyCount><EncodingType>url</EncodingType>
<IsTruncated>true</IsTruncated><NextContinuationToken>1&amp;2</NextContinuationToken>
<Contents><Key>a+b/%C3%A9</Key><LastModified>2026-11-25T01:02:03.004Z</LastModified><ETag>&quot;12-3&#34;</ETag><Size>5</Size>
 <Owner><ID>x</ID><DisplayName/></Owner><StorageClass>STANDARD</StorageClass></Contents>
<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes></ListBucketResult>
`

func TestAPageIsReadAsItStands(t *testing.T) {
	out, ok := scanPage([]byte(aPage))
	if !ok || len(out.Contents) != 1 || len(out.CommonPrefixes) != 1 {
		t.Fatalf("got %+v, %v", out, ok)
	}
	o := out.Contents[0]
	if aws.ToString(o.Key) != "a+b/%C3%A9" || aws.ToString(o.ETag) != `"12-3"` || aws.ToInt64(o.Size) != 5 ||
		!aws.ToTime(o.LastModified).Equal(time.Date(2026, 11, 25, 1, 2, 3, 4e6, time.UTC)) {
		t.Errorf("got %s %s %d %v", aws.ToString(o.Key), aws.ToString(o.ETag), aws.ToInt64(o.Size), o.LastModified)
	}
	if aws.ToString(out.CommonPrefixes[0].Prefix) != "c/" || !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextContinuationToken) != "1&2" || out.EncodingType != "url" {
		t.Errorf("got %+v", out)
	}
}

// TestWhatIsNoPlainPageIsLeftToTheSDK cuts a page off at each byte, and has XML that may mean anything.
func TestWhatIsNoPlainPageIsLeftToTheSDK(t *testing.T) {
	for n := range len(aPage) - 1 {
		if _, ok := scanPage([]byte(aPage[:n])); ok {
			t.Fatalf("%q is taken for a whole page", aPage[:n])
		}
	}
	for _, text := range []string{
		`<Error><Code>InternalError</Code></Error>`,
		`<ListBucketResult><Contents><Key><![CDATA[a]]></Key></Contents></ListBucketResult>`,
		`<ListBucketResult><!-- <Contents> --></ListBucketResult>`,
		`<ListBucketResult><Contents><Key>&#x61;</Key></Contents></ListBucketResult>`,
		`<ListBucketResult><Contents><Key>a</Contents></Key></ListBucketResult>`,
		`<ListBucketResult><Contents><Size>many</Size></Contents></ListBucketResult>`,
		`<ListBucketResult><IsTruncated>yes</IsTruncated></ListBucketResult>`,
		`<ListBucketResult></ListBucketResult><ListBucketResult>`,
		"<ListBucketResult><Contents><Key>a\rb</Key></Contents></ListBucketResult>",
	} {
		if out, ok := scanPage([]byte(text)); ok {
			t.Errorf("%s is read as %+v", text, out)
		}
	}
}
