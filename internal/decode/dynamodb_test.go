package decode

import (
	"strings"
	"testing"
)

func TestUnwrapDynamoDB(t *testing.T) {
	tests := []struct{ name, record, want string }{
		{"an_item", `{"id":{"S":"a\"b"},"n":{"N":"1.50"},"t":{"BOOL":true},"z":{"NULL":true},"b":{"B":"aGk="}}`,
			`{"id":"a\"b","n":1.50,"t":true,"z":null,"b":"aGk="}`},
		{"maps_and_lists", `{"m":{"M":{"x":{"N":"1"},"y":{"M":{}}}},"l":{"L":[{"S":"a"},{"N":"2"},{"L":[{"NULL":true}]}]}}`,
			`{"m":{"x":1,"y":{}},"l":["a",2,[null]]}`},
		{"sets", `{"s":{"SS":["a","b"]},"n":{"NS":["1","2.5"]},"b":{"BS":["aGk="]}}`, `{"s":["a","b"],"n":[1,2.5],"b":["aGk="]}`},
		{"a_full_export", `{"Item":{"id":{"S":"x"}}}`, `{"id":"x"}`},
		{"an_insert_in_an_incremental_export", `{"Metadata":{"WriteTimestampMicros":{"N":"1700000000000001"}},"Keys":{"id":{"S":"x"}},"NewImage":{"id":{"S":"x"},"a":{"N":"1"}}}`,
			`{"id":"x","a":1,"_op":"insert","_sequence":1700000000000001}`},
		{"an_update_in_an_incremental_export", `{"Metadata":{"WriteTimestampMicros":{"N":"2"}},"Keys":{"id":{"S":"x"}},"NewImage":{"id":{"S":"x"}},"OldImage":{"id":{"S":"x"},"a":{"N":"1"}}}`,
			`{"id":"x","_op":"update","_sequence":2}`},
		{"a_delete_in_an_incremental_export", `{"Metadata":{"WriteTimestampMicros":{"N":"3"}},"Keys":{"id":{"S":"x"}}}`, `{"id":"x","_op":"delete","_sequence":3}`},
		{"a_stream_record", `{"eventID":"1","eventName":"REMOVE","dynamodb":{"Keys":{"id":{"S":"x"}},"OldImage":{"id":{"S":"x"},"a":{"N":"1"}},"SequenceNumber":"111100000000000000000001","SizeBytes":3},"awsRegion":"eu"}`,
			`{"id":"x","a":1,"_op":"delete","_sequence":111100000000000000000001}`},
		{"a_number_of_38_digits", `{"n":{"N":"12345678901234567890123456789012345678"}}`, `{"n":12345678901234567890123456789012345678}`},
		{"what_is_no_number_stays_text", `{"n":{"N":"1x"},"m":{"N":"+1"}}`, `{"n":"1x","m":"+1"}`},
		{"what_has_no_type_stays", `{"a":1,"b":{"S":1},"c":{"S":"x","N":"1"},"d":{"Q":"x"},"e":{}}`, `{"a":1,"b":{"S":1},"c":{"S":"x","N":"1"},"d":{"Q":"x"},"e":{}}`},
		{"an_item_with_an_attribute_called_Item", `{"Item":{"S":"x"},"id":{"N":"1"}}`, `{"Item":"x","id":1}`},
		{"blanks", "{ \"a\" : { \"L\" : [ { \"N\" : \"1\" } , { \"N\" : \"2\" } ] } }", `{"a":[1,2]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wrapped := decodeFiles(t, Options{Schema: ddl(t, ""), Rescue: "_r", NoFilePath: true, Unwrap: "dynamodb"}, file("f", test.record+"\n"))
			plain := decodeFiles(t, Options{Schema: ddl(t, ""), Rescue: "_r", NoFilePath: true}, file("f", test.want+"\n"))
			if got, want := strings.Join(wrapped.rows, ""), strings.Join(plain.rows, ""); got != want || len(wrapped.bad) > 0 {
				t.Errorf("got %s %v\nwant %s", got, wrapped.bad, want)
			}
		})
	}
	t.Run("a_fraction_with_more_digits_than_a_double_is_rescued", func(t *testing.T) {
		r := decodeFiles(t, Options{Schema: ddl(t, "a DOUBLE,b DOUBLE"), Rescue: "_r", NoFilePath: true, Unwrap: "dynamodb"},
			file("f", `{"a":{"N":"0.12345678901234567"},"b":{"N":"0.123456789012345678"}}`+"\n"))
		if want := `{"_r":"{\"b\":0.123456789012345678}","a":0.12345678901234566}`; len(r.rows) != 1 || r.rows[0] != want {
			t.Errorf("got %q, want %s", r.rows, want)
		}
	})
	t.Run("bad_text_is_bad_where_it_stands", func(t *testing.T) {
		r := decodeFiles(t, Options{Schema: ddl(t, "a BIGINT"), Rescue: "_r", Unwrap: "dynamodb"}, file("f", `{"a":{"N":"1"}}`+"\n"+`{"a":{"N":"2"}`+"\n"+`{"a":{"N":"3"}}`+"\n[1]\n"))
		if len(r.rows) != 2 || len(r.bad) != 2 || !strings.HasPrefix(r.bad[0], "f:2@16 ") {
			t.Errorf("rows %q, bad %q", r.rows, r.bad)
		}
	})
}
