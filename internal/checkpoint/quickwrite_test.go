package checkpoint

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What is written by hand is what encoding/json writes.
func TestLinesAreWrittenAsJSON(t *testing.T) {
	texts := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]*`), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	numbers := rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64())
	wants := func(t *rapid.T, l any, got []byte) {
		want, err := json.Marshal(l)
		if err != nil || string(got) != string(want) {
			t.Fatalf("got  %s\nwant %s, %v", got, want, err)
		}
	}
	t.Run("a_file", rapid.MakeCheck(func(t *rapid.T) {
		l := fileLine{toWire(texts.Draw(t, "key")), numbers.Draw(t, "size"), time.Unix(rapid.Int64Range(-1<<35, lastTime.Unix()).Draw(t, "time"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
			texts.Draw(t, "etag"), texts.Draw(t, "version")}
		wants(t, l, appendFile(nil, l))
	}))
	t.Run("an_outcome", rapid.MakeCheck(func(t *rapid.T) {
		l := outcomeLine{toWire(texts.Draw(t, "key")), texts.Draw(t, "etag"), FileState(texts.Draw(t, "state")), numbers.Draw(t, "records"), numbers.Draw(t, "rows"), numbers.Draw(t, "bad"),
			numbers.Draw(t, "rescued"), int(numbers.Draw(t, "tries")), texts.Draw(t, "error")}
		wants(t, l, appendOutcome(nil, l))
	}))
}
