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
