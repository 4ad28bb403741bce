package merge_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
)

func TestHistoryOfRows(t *testing.T) {
	const columns = "id BIGINT, seq BIGINT, a STRING"
	for _, c := range []struct {
		name    string
		batches []lines
		want    lines
		counts  merge.Counts // of the last batch
	}{
		{"a_change_closes_the_version_before_it", []lines{`{"id":1,"seq":5,"a":"x"}`, `{"id":1,"seq":8,"a":"y"}` + "\n" + `{"id":2,"seq":1,"a":"n"}`},
			`{"id":1,"seq":5,"a":"x","valid_from":5,"valid_to":8,"is_current":false}
{"id":1,"seq":8,"a":"y","valid_from":8,"valid_to":null,"is_current":true}
{"id":2,"seq":1,"a":"n","valid_from":1,"valid_to":null,"is_current":true}`, merge.Counts{Rows: 2, Inserted: 2, TargetUpdated: 1}},
		{"a_late_change_finds_its_place", []lines{`{"id":1,"seq":5,"a":"x"}` + "\n" + `{"id":1,"seq":9,"a":"z"}`, `{"id":1,"seq":7,"a":"y"}` + "\n" + `{"id":1,"seq":3,"a":"w"}`},
			`{"id":1,"seq":3,"a":"w","valid_from":3,"valid_to":5,"is_current":false}
{"id":1,"seq":5,"a":"x","valid_from":5,"valid_to":7,"is_current":false}
{"id":1,"seq":7,"a":"y","valid_from":7,"valid_to":9,"is_current":false}
{"id":1,"seq":9,"a":"z","valid_from":9,"valid_to":null,"is_current":true}`, merge.Counts{Rows: 2, Inserted: 2, TargetUpdated: 1}},
		{"the_same_again_changes_nothing", []lines{`{"id":1,"seq":5,"a":"x"}` + "\n" + `{"id":1,"seq":9,"a":"z"}`, `{"id":1,"seq":5,"a":"x"}` + "\n" + `{"id":1,"seq":9,"a":"z"}` + "\n" + `{"id":1,"seq":9,"a":"z"}`},
			`{"id":1,"seq":5,"a":"x","valid_from":5,"valid_to":9,"is_current":false}
{"id":1,"seq":9,"a":"z","valid_from":9,"valid_to":null,"is_current":true}`, merge.Counts{Rows: 3, Unchanged: 2, Duplicates: 1}},
		{"another_row_of_one_sequence_corrects_it", []lines{`{"id":1,"seq":5,"a":"x"}`, `{"id":1,"seq":5,"a":"y"}`},
			`{"id":1,"seq":5,"a":"y","valid_from":5,"valid_to":null,"is_current":true}`, merge.Counts{Rows: 1, Updated: 1, TargetUpdated: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, vectors := range []string{"false", "true"} {
				spec := merge.Spec{Keys: []string{"id"}, SequenceBy: "seq", History: true}
				x := create(t, delta.TableOptions{Schema: merge.Columns(spec, ddl(t, columns)), Properties: map[string]string{"delta.enableDeletionVectors": vectors}})
				var counts merge.Counts
				for _, b := range c.batches {
					counts = ofRows(x.merge(spec, changes(t, ddl(t, columns), b)))
				}
				counts.BytesAdded, counts.BytesRemoved = 0, 0
				if counts != c.counts {
					t.Errorf("counts %+v\nwant   %+v", counts, c.counts)
				}
				if got := x.rows(); got != canonical(t, c.want) {
					t.Errorf("rows\n%s\nwant\n%s", got, canonical(t, c.want))
				}
			}
		})
	}
}

// happening is what happened to a row of the model: it got a content, or was deleted.
type happening struct {
	seq     int
	content string // empty: deleted
}

// timeline is what a history of rows is made of.
type timeline map[int][]happening

// take takes the changes of a batch in. A deletion that deletes nothing is forgotten.
func (tl timeline) take(changes []row) {
	ids := map[int]bool{}
	for _, r := range changes {
		id, seq := int(r["id"].(float64)), int(r["seq"].(float64))
		ids[id] = true
		tl[id] = slices.DeleteFunc(tl[id], func(h happening) bool { return h.seq == seq })
		content, _ := r["a"].(string)
		tl[id] = append(tl[id], happening{seq, content})
	}
	for id := range ids {
		slices.SortFunc(tl[id], func(a, b happening) int { return cmp.Compare(a.seq, b.seq) })
		var kept []happening
		for _, h := range tl[id] {
			if h.content != "" || len(kept) > 0 && kept[len(kept)-1].content != "" {
				kept = append(kept, h)
			}
		}
		tl[id] = kept
	}
}

func (tl timeline) rows() lines {
	var out []string
	for id, hs := range tl {
		for i, h := range hs {
			if h.content == "" {
				continue
			}
			to, current := "null", true
			if i+1 < len(hs) {
				to, current = strconv.Itoa(hs[i+1].seq), false
			}
			out = append(out, fmt.Sprintf(`{"id":%d,"seq":%d,"a":%q,"valid_from":%d,"valid_to":%s,"is_current":%t}`, id, h.seq, h.content, h.seq, to, current))
		}
	}
	return lines(strings.Join(out, "\n"))
}

var flatKeys = regexp.MustCompile(`"(id|seq)":(\d+),?`)

// nestedKeys puts the id and the sequence of rows into structs.
func nestedKeys(rows lines) lines {
	out := strings.Split(strings.TrimSpace(string(rows)), "\n")
	for i, line := range out {
		at := map[string]string{}
		for _, m := range flatKeys.FindAllStringSubmatch(line, -1) {
			at[m[1]] = m[2]
		}
		rest := strings.Replace(flatKeys.ReplaceAllString(line, ""), ",}", "}", 1)
		out[i] = fmt.Sprintf(`{"d":{"id":%s,"meta":{"seq":%s}},%s`, at["id"], at["seq"], rest[1:])
	}
	return lines(strings.Join(out, "\n"))
}

// TestTimelines compares random histories of rows with what they are made of.
func TestTimelines(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		if err := flag.Set("rapid.checks", strconv.Itoa(*histories/2)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = flag.Set("rapid.checks", f.DefValue) }()
	}
	rapid.Check(t, func(rt *rapid.T) {
		source := ddl(t, "id BIGINT, seq BIGINT, a STRING, op STRING")
		spec := merge.Spec{Keys: []string{"id"}, SequenceBy: "seq", History: true, Except: []string{"op"}}
		shape := func(rows lines) lines { return rows }
		if rapid.Bool().Draw(rt, "nested") {
			source = ddl(t, "d STRUCT<id: BIGINT, meta: STRUCT<seq: BIGINT>>, a STRING, op STRING")
			spec.Keys, spec.SequenceBy = []string{"d.id"}, "d.meta.seq"
			shape = nestedKeys
		}
		options := spilling(rt, merge.Options{Workers: 2, SQL: engine})
		if engine != nil {
			spec.DeleteWhen = "op = 'D'"
		}
		props := map[string]string{"delta.enableDeletionVectors": strconv.FormatBool(rapid.Bool().Draw(rt, "vectors"))}
		x := &table{t: t, store: new(objstore.Mem), options: options}
		tx, err := delta.NewTable(x.store, delta.TableOptions{Schema: merge.Columns(spec, source), Properties: props})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Commit(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		tl := timeline{}
		for range rapid.IntRange(1, 5).Draw(rt, "batches") {
			changesOf := make([]row, rapid.IntRange(1, 8).Draw(rt, "changes"))
			for i := range changesOf {
				changesOf[i] = row{"id": float64(rapid.IntRange(1, 3).Draw(rt, "id")), "seq": float64(rapid.IntRange(1, 9).Draw(rt, "seq")),
					"a": rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "a"), "op": nil}
				if engine != nil && rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
					changesOf[i]["a"], changesOf[i]["op"] = nil, "D"
				}
			}
			c := x.merge(spec, changes(t, source, shape(asLines(changesOf))))
			if sum := c.Inserted + c.Updated + c.Deleted + c.Unchanged + c.Late + c.Duplicates + c.Skipped; sum != c.Rows {
				rt.Fatalf("counts do not add up: %+v", c)
			}
			tl.take(changesOf)
			want := ""
			if rows := tl.rows(); rows != "" {
				want = canonical(t, shape(rows))
			}
			if got := x.rows(); got != want {
				b, _ := json.Marshal(changesOf)
				rt.Fatalf("after %s\nrows\n%s\nwant\n%s", b, got, want)
			}
		}
	})
}
