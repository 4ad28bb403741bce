package silt_test

import "testing"

func TestEnvelopes(t *testing.T) {
	t.Run("records_inside_an_event_keep_what_is_asked_for", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"recordPath": "$.Records[*]", "recordKeep": "account, detail.region"}
		l.file("1.json", `{"account":"a1","Records":[{"id":1},{"id":2}],"detail":{"region":"eu"}}`)
		l.file("2.json", "{\n  \"Records\": [\n    {\"id\": 3}\n  ]\n}\n")
		s := l.run()
		l.want(`{"_envelope":{"account":"a1","detail":{"region":"eu"}},"id":1}`, `{"_envelope":{"account":"a1","detail":{"region":"eu"}},"id":2}`, `{"id":3}`)
		if s.Records.Read != 3 || s.Rescued.Rows != 0 {
			t.Errorf("summary %+v %+v", s.Records, s.Rescued)
		}
	})
	t.Run("what_is_kept_may_be_written_as_a_path", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"recordPath": "$.Records[*]", "recordKeep": "$.account"}
		l.file("1.json", `{"account":"a1","Records":[{"id":1}]}`)
		l.run()
		l.want(`{"_envelope":{"account":"a1"},"id":1}`)
	})
	t.Run("a_DynamoDB_export_is_read_as_plain_items", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"unwrap": "dynamodb"}
		l.file("AWSDynamoDB/01/data/x.json.gz", zipped(`{"Item":{"event_id":{"S":"e1"},"vehicle":{"M":{"soc":{"N":"80.5"}}},"signals":{"L":[{"M":{"name":{"S":"v"}}}]}}}`+"\n"+
			`{"Item":{"event_id":{"S":"e2"},"big":{"N":"12345678901234567890123456789012345678"}}}`+"\n"))
		l.file("AWSDynamoDB/01/manifest-summary.json", `{"version":"2020-06-30","itemCount":2}`)
		l.file("AWSDynamoDB/01/manifest-files.json", `{"itemCount":2,"md5Checksum":"x","dataFileS3Key":"k"}`)
		l.file("AWSDynamoDB/01/manifest-files.md5", `abc`)
		s := l.run()
		l.want(`{"big":"12345678901234567890123456789012345678","event_id":"e2"}`, `{"event_id":"e1","signals":[{"name":"v"}],"vehicle":{"soc":80.5}}`)
		if s.Files.Found != 1 || s.Records.Quarantined != 0 {
			t.Errorf("files %+v, records %+v", s.Files, s.Records)
		}
	})
	t.Run("changes_of_an_incremental_export_tell_what_they_are", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"unwrap": "dynamodb"}
		l.file("1.json", `{"Metadata":{"WriteTimestampMicros":{"N":"7"}},"Keys":{"id":{"N":"1"}},"NewImage":{"id":{"N":"1"},"a":{"S":"x"}}}`+"\n"+
			`{"Metadata":{"WriteTimestampMicros":{"N":"8"}},"Keys":{"id":{"N":"1"}}}`+"\n")
		l.run()
		l.want(`{"_op":"delete","_sequence":8,"id":1}`, `{"_op":"insert","_sequence":7,"a":"x","id":1}`)
	})
}
