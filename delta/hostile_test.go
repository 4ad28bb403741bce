package delta_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// TestHostileLogs reads logs that nobody in his right mind has written. Whatever is read of them, nothing
// may panic, hang, or take memory that the log does not have.
func TestHostileLogs(t *testing.T) {
	const protocol = `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`
	features := func(names string) string {
		return `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[` + names + `],"writerFeatures":[` + names + `]}}`
	}
	metadata := func(sc string, configuration string) string {
		text, _ := json.Marshal(sc)
		return `{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":` + string(text) + `,"partitionColumns":[],"configuration":{` + configuration + `}}}`
	}
	const ids = `{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}}]}`
	table := protocol + "\n" + metadata(ids, "") + "\n"
	add := func(fields string) string {
		return table + `{"add":{` + fields + `,"modificationTime":1,"dataChange":true}}`
	}
	commit := func(text string) map[string]string { return map[string]string{"00000000000000000000.json": text} }
	with := func(text string, more ...string) map[string]string {
		log := commit(text)
		for i := 0; i < len(more); i += 2 {
			log[more[i]] = more[i+1]
		}
		return log
	}
	v2 := features(`"v2Checkpoint"`) + "\n" + metadata(ids, "") + "\n" + `{"checkpointMetadata":{"version":3}}` + "\n"
	v2Name := "00000000000000000003.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"
	for name, log := range map[string]map[string]string{
		"a_version_beyond_all_numbers":         with(table, "99999999999999999999.json", table, "99999999999999999999.checkpoint.parquet", "x", "99999999999999999999.crc", "{}"),
		"the_greatest_version":                 with(table, "09223372036854775807.json", table),
		"a_compaction_that_ends_before_it_has": with(table, "00000000000000000005.00000000000000000001.compacted.json", table),
		"a_compaction_without_end":             with(table, "00000000000000000001.99999999999999999999.compacted.json", table, "00000000000000000003.json", ""),
		"a_hint_beyond_all_numbers":            with(table, "_last_checkpoint", `{"version":9223372036854775807,"size":1}`),
		"a_hint_below_zero":                    with(table, "_last_checkpoint", `{"version":-5,"parts":99999999999}`),
		"a_hint_of_noise":                      with(table, "_last_checkpoint", strings.Repeat("[", 1<<20)),
		"a_checkpoint_of_noise":                with(table, "00000000000000000000.checkpoint.parquet", "PAR1"+strings.Repeat("\xff", 1<<16)+"\xff\xff\xff\x7fPAR1"),
		"parts_beyond_all_numbers":             with(table, "00000000000000000000.checkpoint.0000000001.9999999999.parquet", "x"),
		"a_sidecar_outside_the_table":          {v2Name: v2 + `{"sidecar":{"path":"../../../../etc/passwd","sizeInBytes":1000,"modificationTime":1}}`},
		"a_sidecar_by_an_absolute_path":        {v2Name: v2 + `{"sidecar":{"path":"file:///etc/passwd","sizeInBytes":1000,"modificationTime":1}}`},
		"a_sidecar_that_leads_upwards":         {v2Name: v2 + `{"sidecar":{"path":"..","sizeInBytes":1000,"modificationTime":1}}`},
		"a_sidecar_that_leads_upwards_encoded": {v2Name: v2 + `{"sidecar":{"path":"%2e%2e%2fx","sizeInBytes":1000,"modificationTime":1}}`},
		"a_sidecar_of_exabytes":                {v2Name: v2 + `{"sidecar":{"path":"x.parquet","sizeInBytes":9223372036854775807,"modificationTime":1}}`, "_sidecars/x.parquet": "PAR1"},
		"a_sidecar_of_less_than_nothing":       {v2Name: v2 + `{"sidecar":{"path":"x.parquet","sizeInBytes":-1,"modificationTime":1}}`, "_sidecars/x.parquet": "PAR1"},
		"many_sidecars_that_are_not_there":     {v2Name: v2 + strings.Repeat(`{"sidecar":{"path":"x.parquet","sizeInBytes":1,"modificationTime":1}}`+"\n", 10_000)},
		"a_file_outside_the_table":             commit(add(`"path":"../../../../etc/passwd","partitionValues":{},"size":10`)),
		"a_file_outside_the_table_encoded":     commit(add(`"path":"%2e%2e/%2e%2e/etc/passwd","partitionValues":{},"size":10`)),
		"a_file_by_an_absolute_path":           commit(add(`"path":"/etc/passwd","partitionValues":{},"size":10`)),
		"a_file_without_a_name":                commit(add(`"path":"","partitionValues":{},"size":10`)),
		"a_file_with_a_broken_name":            commit(add(`"path":"%zz%00","partitionValues":{},"size":10`)),
		"a_file_of_less_than_nothing":          commit(add(`"path":"a","partitionValues":null,"size":-9223372036854775808`)),
		"a_size_that_is_no_number":             commit(add(`"path":"a","partitionValues":{},"size":1e400`)),
		"statistics_of_absurd_numbers":         commit(add(`"path":"a","partitionValues":{},"size":1,"stats":"{\"numRecords\":1e400,\"minValues\":{\"id\":123456789012345678901234567890},\"maxValues\":[]}"`)),
		"statistics_of_exabytes_of_rows":       commit(add(`"path":"a","partitionValues":{},"size":1,"stats":"{\"numRecords\":9223372036854775807}"`)),
		"a_vector_of_absurd_numbers":           commit(features(`"deletionVectors"`) + "\n" + metadata(ids, "") + "\n" + `{"add":{"path":"a","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"i","pathOrInlineDv":"wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L","sizeInBytes":2147483647,"cardinality":9223372036854775807}}}`),
		"a_vector_outside_the_table":           commit(features(`"deletionVectors"`) + "\n" + metadata(ids, "") + "\n" + `{"add":{"path":"a","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"u","pathOrInlineDv":"../../xvBnOZw8.4Y*w(F)xb9O8i","offset":-1,"sizeInBytes":40,"cardinality":1}}}`),
		"a_vector_of_an_unknown_kind":          commit(features(`"deletionVectors"`) + "\n" + metadata(ids, "") + "\n" + `{"add":{"path":"a","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"Z","pathOrInlineDv":"","sizeInBytes":40,"cardinality":1}}}`),
		"a_schema_of_very_deep_arrays":         commit(protocol + "\n" + metadata(`{"type":"struct","fields":[{"name":"a","nullable":true,"metadata":{},"type":`+strings.Repeat(`{"type":"array","containsNull":true,"elementType":`, 700)+`"long"`+strings.Repeat("}", 700)+`}]}`, "")),
		"a_schema_deeper_than_json":            commit(protocol + "\n" + metadata(strings.Repeat(`{"type":`, 200_000), "")),
		"a_schema_that_is_no_struct":           commit(protocol + "\n" + metadata(`"long"`, "")),
		"a_schema_of_nothing":                  commit(protocol + "\n" + metadata(``, "")),
		"a_schema_with_a_name_twice":           commit(protocol + "\n" + metadata(`{"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":{}},{"name":"a","type":"long","nullable":true,"metadata":{}}]}`, "")),
		"a_commit_deeper_than_json":            commit(`{"commitInfo":` + strings.Repeat(`{"a":`, 200_000)),
		"a_commit_of_one_bracket":              commit(strings.Repeat("[", 1<<20)),
		"a_commit_of_another_kind":             commit(`"text"` + "\n" + `7` + "\n" + `null` + "\n" + `[]`),
		"a_commit_of_null":                     commit(`{"add":null,"remove":null,"metaData":null,"protocol":null}`),
		"protocols_below_zero":                 commit(`{"protocol":{"minReaderVersion":-3,"minWriterVersion":-2147483648}}` + "\n" + metadata(ids, "")),
		"a_protocol_beyond_numbers":            commit(`{"protocol":{"minReaderVersion":99999999999999999999,"minWriterVersion":1}}` + "\n" + metadata(ids, "")),
		"partition_columns_that_are_not_there": commit(protocol + "\n" + strings.Replace(metadata(ids, ""), `"partitionColumns":[]`, `"partitionColumns":["x","x",""]`, 1) + "\n" + `{"add":{"path":"a","partitionValues":{"x":"1"},"size":1,"modificationTime":1,"dataChange":true}}`),
		"properties_beyond_numbers": commit(protocol + "\n" + metadata(ids, `"delta.checkpointInterval":"9223372036854775808","delta.deletedFileRetentionDuration":"interval 99999999999999 weeks","delta.logRetentionDuration":"interval -5 weeks","delta.dataSkippingNumIndexedCols":"-99","delta.targetFileSize":"999999999999gb"`) +
			"\n" + `{"txn":{"appId":"","version":-9223372036854775808}}`),
		"a_domain_of_noise":     commit(features(`"domainMetadata","clustering","rowTracking"`) + "\n" + metadata(ids, "") + "\n" + `{"domainMetadata":{"domain":"delta.clustering","configuration":"[[[","removed":false}}` + "\n" + `{"domainMetadata":{"domain":"delta.rowTracking","configuration":"{\"rowIdHighWaterMark\":9223372036854775807}","removed":false}}`),
		"a_column_mapped_twice": commit(`{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}` + "\n" + metadata(`{"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":{"delta.columnMapping.id":1e99,"delta.columnMapping.physicalName":7}},{"name":"b","type":"long","nullable":true,"metadata":{"delta.columnMapping.id":1,"delta.columnMapping.physicalName":"x"}}]}`, `"delta.columnMapping.mode":"id","delta.columnMapping.maxColumnId":"99999999999999999999"`)),
	} {
		t.Run(name, func(t *testing.T) {
			store := new(objstore.Mem)
			for file, text := range log {
				put(t, store, "_delta_log/"+file, []byte(text))
			}
			put(t, store, "a", []byte("PAR1\xff\xff\xff\x7fPAR1"))
			start := time.Now()
			var what string
			peak := peakHeap(func() { what = readAnything(t, store) })
			if peak > 400<<20 {
				t.Errorf("it took %d MB", peak>>20)
			}
			if d := time.Since(start); d > time.Minute {
				t.Errorf("it took %s", d)
			}
			t.Log(what)
		})
	}
}

// readAnything does with the table what can be done, and says what the first errors were.
func readAnything(t *testing.T, store objstore.Store) string {
	ctx := t.Context()
	s, err := delta.Load(ctx, store, delta.LoadOptions{})
	if err != nil {
		return fmt.Sprintf("load: %.200v", err)
	}
	var errs []string
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Sprintf("%s: %.200v", what, err))
		}
	}
	_, err = readRows(ctx, s)
	note("read", err)
	_, err = s.Detail(ctx)
	note("detail", err)
	_, err = s.Check(ctx)
	note("check", err)
	_, err = delta.History(ctx, store, 0)
	note("history", err)
	_, err = s.Update(ctx)
	note("update", err)
	_, _, err = s.Optimize(ctx, delta.OptimizeOptions{DryRun: true})
	note("optimize", err)
	_, err = s.Vacuum(ctx, delta.VacuumOptions{DryRun: true})
	note("vacuum", err)
	_, err = s.CleanLog(ctx, delta.CleanLogOptions{DryRun: true})
	note("clean", err)
	tx := s.Begin("WRITE")
	tx.Add(&delta.Add{Path: "b", Size: 1, DataChange: true, Stats: `{"numRecords":1}`})
	_, err = tx.Commit(ctx, nil)
	note("commit", err)
	note("checkpoint", s.WriteCheckpoint(ctx))
	_, err = delta.Load(ctx, store, delta.LoadOptions{})
	note("load again", err)
	return strings.Join(errs, "\n")
}
