package silt_test

import (
	"context"
	"strings"
	"testing"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/objstore"
)

func TestAMergeOfFilesWithoutAnyRecordWaitsForRecords(t *testing.T) {
	l := newLab(t)
	l.cfg.Target.Write, l.cfg.Target.Merge = "merge", silt.Merge{Keys: []string{"k"}}
	l.file("a.json", "no record\n")
	if s := l.run(); s.Records.Quarantined != 1 {
		t.Fatalf("got %+v, want a record in quarantine", s)
	}
	l.file("b.json", `{"k":1,"v":"x"}`+"\n")
	l.run()
	l.want(`{"k":1,"v":"x"}`)
}

func TestARowWhoseKeyOrSequenceIsRescuedGoesToTheQuarantineWithItsValue(t *testing.T) {
	for name, c := range map[string]struct {
		keys                 []string
		sequenceBy           string
		first, second, wants string
	}{
		"a_key": {[]string{"k"}, "", `{"k":1}`, `{"k":"x"}`, `the key column k is NULL, and the rescued data has "x" for it`},
		"a_key_in_a_struct": {[]string{"d.k"}, "", `{"d":{"k":1}}`, `{"d":[2]}`,
			`the key column d.k is NULL, and the rescued data has [2] for it`},
		"the_sequence": {[]string{"k"}, "seq", `{"k":1,"seq":1}`, `{"k":1,"seq":1.5,"v":2}`,
			`the column seq, which orders the rows of a key, is NULL, and the rescued data has 1.5 for it`},
		"the_sequence_in_a_struct": {[]string{"k"}, "m.seq", `{"k":1,"m":{"seq":1}}`, `{"k":1,"m":{"seq":"2"},"v":2}`,
			`the column m.seq, which orders the rows of a key, is NULL, and the rescued data has "2" for it`},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage = []string{}
			l.cfg.Target.Write, l.cfg.Target.Merge = "merge", silt.Merge{Keys: c.keys, SequenceBy: c.sequenceBy}
			l.file("a.json", c.first+"\n")
			l.run()
			l.file("b.json", c.second+"\n")
			if s := l.run(); s.Records.Quarantined != 1 || s.Rows != 0 {
				t.Errorf("got %+v", s)
			}
			l.want(c.first)
			if q := l.quarantine(); len(q) != 1 || q[0].Reason != "key" || q[0].Detail != c.wants {
				t.Errorf("got %+v, want %s", q, c.wants)
			}
		})
	}
	t.Run("and_one_without_a_sequence_where_all_versions_are_kept", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Lineage = []string{}
		l.cfg.Target.Write, l.cfg.Target.Merge = "merge", silt.Merge{Keys: []string{"k"}, SequenceBy: "seq", SCD: 2}
		l.file("a.json", `{"k":1,"seq":1}`+"\n"+`{"k":1,"seq":null}`+"\n")
		l.run()
		want := "the column seq, which orders the rows of a key, is NULL"
		if q := l.quarantine(); len(q) != 1 || q[0].Detail != want {
			t.Errorf("got %+v, want %s", q, want)
		}
	})
	t.Run("but_one_without_a_sequence_is_the_oldest", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Lineage = []string{}
		l.cfg.Target.Write, l.cfg.Target.Merge = "merge", silt.Merge{Keys: []string{"k"}, SequenceBy: "seq"}
		l.file("a.json", `{"k":1,"seq":1}`+"\n")
		l.run()
		l.file("b.json", `{"k":1,"seq":null}`+"\n"+`{"k":2,"seq":null,"n":1}`+"\n")
		if s := l.run(); s.Records.Quarantined != 0 || s.Merge.Late != 1 {
			t.Errorf("got %+v", s)
		}
		l.want(`{"k":1,"seq":1}`, `{"k":2,"n":1}`)
	})
}

func TestAMergeThatAnotherLoaderFinishesMeanwhileIsNoError(t *testing.T) {
	c := &cloud{}
	if _, err := objstore.PutBytes(t.Context(), &c.mem, landing+"a.json", []byte(`{"k":1}`), objstore.Cond{}); err != nil {
		t.Fatal(err)
	}
	load := func(p *process) (*silt.Summary, error) {
		p.cloud, p.page = c, 1000
		pipeline, err := silt.Open(context.Background(), silt.Config{
			Source: "s3://landing/in", Target: silt.Target{Path: "s3://lake/t", Write: "merge", Merge: silt.Merge{Keys: []string{"k"}}},
			CheckpointLocation: "s3://lake/cp",
		}.In(p.at, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer pipeline.Close()
		return pipeline.RunOnce(context.Background())
	}
	var second *silt.Summary
	slow := &process{judge: func(c simCall) verdict {
		if second == nil && c.op == "open" && strings.HasPrefix(c.key, "lake/cp/changes/") && strings.HasSuffix(c.key, ".parquet") {
			var err error
			if second, err = load(&process{lease: "another"}); err != nil {
				t.Error(err)
			}
		}
		return pass
	}}
	if s, err := load(slow); err != nil || s.Batches != 1 || second == nil || second.Batches != 1 {
		t.Errorf("got %+v and %+v, %v", s, second, err)
	}
}
