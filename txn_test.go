package silt_test

import "testing"

func TestTxnOptions(t *testing.T) {
	l := newLab(t)
	l.cfg.Options = map[string]string{"txnAppId": "app", "txnVersion": "7", "cloudFiles.maxFilesPerTrigger": "1"}
	l.cfg.CheckpointLocation = t.TempDir()
	l.file("a.json", `{"id":1}`)
	l.file("b.json", `{"id":2}`)
	t.Run("all_batches_of_the_load_that_brings_the_version_count", func(t *testing.T) {
		l.run()
		l.want(`{"id":1}`, `{"id":2}`)
		l.file("c.json", `{"id":3}`)
		l.run()
		l.want(`{"id":1}`, `{"id":2}`, `{"id":3}`)
	})
	t.Run("another_load_of_the_version_changes_nothing", func(t *testing.T) {
		l.cfg.CheckpointLocation = t.TempDir()
		l.run()
		l.want(`{"id":1}`, `{"id":2}`, `{"id":3}`)
	})
	t.Run("a_later_version_is_loaded", func(t *testing.T) {
		l.cfg.CheckpointLocation, l.cfg.Options["txnVersion"] = t.TempDir(), "8"
		l.run()
		l.want(`{"id":1}`, `{"id":1}`, `{"id":2}`, `{"id":2}`, `{"id":3}`, `{"id":3}`)
	})
	t.Run("one_goes_with_the_other", func(t *testing.T) {
		delete(l.cfg.Options, "txnVersion")
		if _, err := l.tryRun(); err == nil {
			t.Error("an application without a version is taken")
		}
	})
}
