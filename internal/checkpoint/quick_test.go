package checkpoint

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whatever the quick reader takes, encoding/json reads as the same.
func TestQuickLines(t *testing.T) {
	numbers := rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64())
	t.Run("a_file", rapid.MakeCheck(func(t *rapid.T) {
		l := fileLine{toWire(rapid.String().Draw(t, "key")), numbers.Draw(t, "size"), time.Unix(rapid.Int64Range(0, 1<<36).Draw(t, "time"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
			rapid.String().Draw(t, "etag"), rapid.StringN(0, 3, -1).Draw(t, "version")}
		same(t, damaged(t, l), quickFile)
	}))
	t.Run("an_outcome", rapid.MakeCheck(func(t *rapid.T) {
		l := outcomeLine{toWire(rapid.String().Draw(t, "key")), rapid.String().Draw(t, "etag"), rapid.SampledFrom([]FileState{Loaded, Failed, "", "new"}).Draw(t, "state"), numbers.Draw(t, "records"),
			numbers.Draw(t, "rows"), numbers.Draw(t, "bad"), numbers.Draw(t, "rescued"), int(numbers.Draw(t, "tries")), rapid.String().Draw(t, "error")}
		same(t, damaged(t, l), quickOutcome)
	}))
	t.Run("usual_lines_are_quick", func(t *testing.T) {
		if _, ok := quickFile([]byte(`{"key":"a/ü.json","size":14000,"modTime":"2026-01-02T03:04:05.000000006Z","etag":"36b0-18a-5"}` + "\n")); !ok {
			t.Error("the line of a file is not")
		}
		if _, ok := quickOutcome([]byte(`{"key":"a.json","etag":"36b0-18a-5","state":"loaded","records":10,"rows":9,"bad":1,"tries":1}` + "\n")); !ok {
			t.Error("the line of an outcome is not")
		}
	})
}

// damaged is the line of l, or one that is like it.
func damaged(t *rapid.T, l any) []byte {
	line, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(0, 2).Draw(t, "changes") {
		at := rapid.IntRange(0, len(line)-1).Draw(t, "at")
		line[at] = rapid.SampledFrom([]byte("\"\\{},: 0-9e.\n\x00\xff")).Draw(t, "byte")
	}
	return line
}

func same[L any](t *rapid.T, line []byte, quick func([]byte) (L, bool)) {
	got, ok := quick(line)
	if !ok {
		return
	}
	var want L
	if err := json.Unmarshal(line, &want); err != nil {
		t.Fatalf("%q is taken, and is not JSON: %v", line, err)
	}
	if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Fatalf("%q: %s", line, diff)
	}
}
