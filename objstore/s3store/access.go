package s3store

import (
	"cmp"
	"context"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

// load finds region, credentials and endpoint as the tools of AWS do, with what Options say before it. It
// makes no request.
func (o Options) load(ctx context.Context) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{
		config.WithDefaultRegion("us-east-1"),
		config.WithLogger(logging.Nop{}),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = 64, 0 // Timeout bounds it
		})),
		// Stores that are not AWS refuse what the SDK adds unasked.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	c, err := config.LoadDefaultConfig(ctx, load...)
	if o.Transport != nil {
		c.HTTPClient = &http.Client{Transport: o.Transport}
	}
	if err == nil && o.RoleARN != "" {
		c.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(
			sts.NewFromConfig(c, func(s *sts.Options) {
				if o.STSEndpoint != "" {
					s.BaseEndpoint = &o.STSEndpoint
				}
			}), o.RoleARN, func(r *stscreds.AssumeRoleOptions) {
				r.RoleSessionName = cmp.Or(o.RoleSessionName, "silt")
				if o.RoleExternalID != "" {
					r.ExternalID = &o.RoleExternalID
				}
			}))
	}
	return c, err
}
