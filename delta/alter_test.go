package delta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// last returns the newest entry of the history, as its operation and parameters.
func last(t *testing.T, store objstore.Store) string {
	t.Helper()
	h := history(t, store)[0]
	text, err := json.Marshal(h.OperationParameters)
	if err != nil {
		t.Fatal(err)
	}
	return h.Operation + " " + string(text)
}

func wantLast(t *testing.T, store objstore.Store, want string) {
	t.Helper()
	if got := last(t, store); got != want {
		t.Errorf("got history\n%s\nwant\n%s", got, want)
	}
}

// altered returns a snapshot that was made without an error.
func altered(t *testing.T) func(*delta.Snapshot, error) *delta.Snapshot {
	return func(s *delta.Snapshot, err error) *delta.Snapshot {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func appended(t *testing.T, store objstore.Store, s *delta.Snapshot, lines ...string) *delta.Snapshot {
	t.Helper()
	tx := s.Begin("WRITE")
	appendRows(t, store, tx, record(t, s.Schema(), lines...))
	return commit(t, tx)
}

func TestProperties(t *testing.T) {
	one := delta.TableOptions{Schema: ddl(t, "id BIGINT")}
	t.Run("are_set_and_taken_away_in_one_commit_each", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, one, `{"id":1}`)
		s = altered(t)(s.SetProperties(t.Context(), map[string]string{"DELTA.appendonly": "true", "owner": "me"}))
		wantLast(t, store, `SET TBLPROPERTIES {"properties":"{\"delta.appendOnly\":\"true\",\"owner\":\"me\"}"}`)
		if got := s.Metadata().Configuration; !maps.Equal(got, map[string]string{"delta.appendOnly": "true", "owner": "me"}) {
			t.Errorf("got %v", got)
		}
		s = altered(t)(s.UnsetProperties(t.Context(), "owner", "nobody"))
		wantLast(t, store, `UNSET TBLPROPERTIES {"ifExists":true,"properties":"[\"owner\",\"nobody\"]"}`)
		if got := load(t, store).Metadata().Configuration; !maps.Equal(got, map[string]string{"delta.appendOnly": "true"}) {
			t.Errorf("got %v", got)
		}
		if again := altered(t)(s.UnsetProperties(t.Context(), "owner")); again.Version() != 2 {
			t.Errorf("a change of nothing made version %d", again.Version())
		}
		wantRows(t, load(t, store), ids(1)...)
	})
	for name, c := range map[string]struct {
		properties map[string]string
		protocol   string
	}{
		"deletion_vectors":    {map[string]string{"delta.enableDeletionVectors": "true"}, `3 7 [deletionVectors] [appendOnly deletionVectors invariants]`},
		"a_change_data_feed":  {map[string]string{"delta.enableChangeDataFeed": "true"}, `1 7 [] [appendOnly changeDataFeed invariants]`},
		"v2_checkpoints":      {map[string]string{"delta.checkpointPolicy": "v2"}, `3 7 [v2Checkpoint] [appendOnly invariants v2Checkpoint]`},
		"a_feature_by_name":   {map[string]string{"delta.feature.typewidening": "supported"}, `3 7 [typeWidening] [appendOnly invariants typeWidening]`},
		"what_needs_no_other": {map[string]string{"delta.logRetentionDuration": "interval 2 days"}, `1 2 [] [appendOnly invariants]`},
		"off":                 {map[string]string{"delta.enableDeletionVectors": "false"}, `1 2 [] [appendOnly invariants]`},
	} {
		t.Run("bring_the_features_that_they_ask_for/"+name, func(t *testing.T) {
			store := new(objstore.Mem)
			s := altered(t)(newTable(t, store, one, `{"id":1}`).SetProperties(t.Context(), c.properties))
			p := s.Protocol()
			if got := fmt.Sprint(p.MinReaderVersion, p.MinWriterVersion, sortedProtocol(p).ReaderFeatures, p.Features()); got != c.protocol {
				t.Errorf("got %s, want %s", got, c.protocol)
			}
			for k := range s.Metadata().Configuration {
				if strings.HasPrefix(k, "delta.feature.") {
					t.Errorf("%s is kept", k)
				}
			}
			wantRows(t, appended(t, store, load(t, store), `{"id":2}`), ids(1, 2)...)
		})
	}
	for name, properties := range map[string]map[string]string{
		"that_delta_does_not_have": {"delta.enableMagic": "true"},
		"with_a_wrong_bool":        {"delta.appendOnly": "yes"},
		"with_a_wrong_interval":    {"delta.logRetentionDuration": "30"},
		"with_a_wrong_number":      {"delta.checkpointInterval": "0"},
		"of_a_feature_unknown":     {"delta.feature.magic": "supported"},
		"that_are_kept_by_writers": {"delta.columnMapping.maxColumnId": "7"},
		"that_are_constraints":     {"delta.constraints.c": "id > 0"},
		"that_map_by_id":           {"delta.columnMapping.mode": "id"},
		"that_need_iceberg":        {"delta.enableIcebergCompatV2": "true"},
	} {
		t.Run("are_refused/"+name, func(t *testing.T) {
			store := new(objstore.Mem)
			s := newTable(t, store, one, `{"id":1}`)
			var fault *delta.PropertyError
			if _, err := s.SetProperties(t.Context(), properties); !errors.As(err, &fault) {
				t.Errorf("got %v, want a PropertyError", err)
			} else {
				t.Log(err)
			}
			if v := load(t, store).Version(); v != 0 {
				t.Errorf("it made version %d", v)
			}
		})
	}
	t.Run("start_in_commit_timestamps", func(t *testing.T) {
		store := objstore.NewDir(t.TempDir())
		s := newTable(t, store, one, `{"id":1}`)
		s = altered(t)(s.SetProperties(t.Context(), map[string]string{"delta.enableInCommitTimestamps": "true"}))
		s = appended(t, store, s, `{"id":2}`)
		h := history(t, store)
		m := s.Metadata().Configuration
		if h[1].InCommitTimestamp == nil || m["delta.inCommitTimestampEnablementTimestamp"] != fmt.Sprint(*h[1].InCommitTimestamp) ||
			m["delta.inCommitTimestampEnablementVersion"] != "1" || *h[0].InCommitTimestamp <= *h[1].InCommitTimestamp || h[2].Timestamp.After(h[1].Timestamp) {
			t.Errorf("got %v and %+v", m, h)
		}
		if got, err := delta.Load(t.Context(), store, delta.LoadOptions{Timestamp: h[1].Timestamp}); err != nil || got.Version() != 1 {
			t.Errorf("got %v, %v", got, err)
		}
		checkSum(t, store, s)
	})
	t.Run("track_rows_of_an_empty_table", func(t *testing.T) {
		store := new(objstore.Mem)
		s := altered(t)(newTable(t, store, one).SetProperties(t.Context(), map[string]string{"delta.enableRowTracking": "true"}))
		s = appended(t, store, s, `{"id":1}`)
		if a := files(t, s)[0]; a.BaseRowID == nil || *a.BaseRowID != 0 {
			t.Errorf("got %+v", a)
		}
	})
	t.Run("track_rows_that_are_there", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := newTable(t, store, one, `{"id":1}`, `{"id":2}`)
		appended(t, store, s, `{"id":3}`)
		s = altered(t)(s.SetProperties(t.Context(), map[string]string{"delta.enableRowTracking": "true"}))
		s = appended(t, store, s, `{"id":4}`)
		ends := map[int64]bool{}
		for _, a := range files(t, s) {
			if a.BaseRowID == nil || a.DefaultRowCommitVersion == nil {
				t.Fatalf("got %+v", a)
			}
			ends[*a.BaseRowID] = true
		}
		if c, _ := s.Domain("delta.rowTracking"); len(ends) != 3 || c != `{"rowIdHighWaterMark":3}` {
			t.Errorf("got ids from %v, %s", ends, c)
		}
		checkSum(t, store, s)
		wantRows(t, load(t, store), ids(1, 2, 3, 4)...)
		readersSee(t, dir, ids(1, 2, 3, 4)...)
	})
	t.Run("change_beside_what_others_write", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, one, `{"id":1}`)
		appended(t, store, s, `{"id":2}`)
		s = altered(t)(s.SetProperties(t.Context(), map[string]string{"owner": "me"}))
		if s.Version() != 2 {
			t.Errorf("got version %d", s.Version())
		}
		wantRows(t, s, ids(1, 2)...)
	})
}

func TestColumns(t *testing.T) {
	mapped := map[string]string{"delta.columnMapping.mode": "name"}
	t.Run("of_a_table_are_mapped_and_renamed_dropped_and_added", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, p STRING, a STRING, s STRUCT<x: BIGINT, y: STRING>, l ARRAY<STRUCT<v: BIGINT, w: BIGINT>>"), PartitionBy: []string{"p"}},
			`{"id":1,"p":"k","a":"one","s":{"x":1,"y":"a"},"l":[{"v":1,"w":2}]}`)
		s = altered(t)(s.SetProperties(t.Context(), mapped))
		readersSee(t, dir, rows(t, s)...)
		s = altered(t)(s.RenameColumn(t.Context(), []string{"A"}, "b c"))
		wantLast(t, store, `RENAME COLUMN {"newColumnPath":"b c","oldColumnPath":"a"}`)
		s = altered(t)(s.RenameColumn(t.Context(), []string{"p"}, "part"))
		s = altered(t)(s.RenameColumn(t.Context(), []string{"s", "x"}, "xx"))
		s = altered(t)(s.RenameColumn(t.Context(), []string{"l", "element", "v"}, "vv"))
		wantLast(t, store, `RENAME COLUMN {"newColumnPath":"l.element.vv","oldColumnPath":"l.element.v"}`)
		s = altered(t)(s.DropColumns(t.Context(), []string{"s", "y"}, []string{"l", "element", "w"}))
		wantLast(t, store, `DROP COLUMNS {"columns":"[\"s.y\",\"l.element.w\"]"}`)
		s = altered(t)(s.AddColumns(t.Context(),
			delta.NewColumn{Path: []string{"s", "y"}, Type: schema.Long},
			delta.NewColumn{Path: []string{"first"}, Type: schema.TimestampNTZ, First: true, Comment: "the first"},
			delta.NewColumn{Path: []string{"l", "element", "z"}, Type: schema.String, After: "vv"}))
		s = appended(t, store, s, `{"id":2,"part":"k","b c":"two","s":{"xx":2,"y":3},"l":[{"vv":4,"z":"z"}],"first":"2024-01-01 00:00:00"}`)
		want := []string{
			`{"b c":"one","first":null,"id":1,"l":[{"vv":1,"z":null}],"part":"k","s":{"xx":1,"y":null}}`,
			`{"b c":"two","first":"2024-01-01T00:00:00","id":2,"l":[{"vv":4,"z":"z"}],"part":"k","s":{"xx":2,"y":3}}`}
		sortedEqual(t, "silt", canonicals(t, rows(t, s)), want)
		sortedEqual(t, "silt, once more", canonicals(t, rows(t, load(t, store))), want)
		readersSee(t, dir, rows(t, s)...)
		if got := s.Metadata().PartitionColumns; len(got) != 1 || got[0] != "part" {
			t.Errorf("got partition columns %v", got)
		}
		s, _, err := s.Optimize(t.Context(), delta.OptimizeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		sortedEqual(t, "silt, optimized", canonicals(t, rows(t, s)), want)
		readersSee(t, dir, rows(t, s)...)
	})
	t.Run("are_added_where_they_are_wanted", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, s STRUCT<x: BIGINT>")}, `{"id":1,"s":{"x":1}}`)
		s = altered(t)(s.AddColumns(t.Context(), delta.NewColumn{Path: []string{"S", "y"}, Type: schema.String, First: true},
			delta.NewColumn{Path: []string{"n"}, Type: ddl(t, "v INT"), After: "id", Comment: "new"}))
		wantLast(t, store, `ADD COLUMNS {"columns":"[{\"column\":{\"metadata\":{},\"name\":\"S.y\",\"nullable\":true,\"type\":\"string\"},\"position\":\"FIRST\"},{\"column\":{\"metadata\":{\"comment\":\"new\"},\"name\":\"n\",\"nullable\":true,\"type\":\"struct\"},\"position\":\"AFTER id\"}]"}`)
		if got := s.Schema().DDL(); got != ddl(t, "id BIGINT, n STRUCT<v: INT> COMMENT 'new', s STRUCT<y: STRING, x: BIGINT>").DDL() {
			t.Errorf("got %s", got)
		}
		wantRows(t, s, `{"id":1,"n":null,"s":{"x":1,"y":null}}`)
	})
	t.Run("change_their_comment_and_type_and_place", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "a INT NOT NULL, b INT, l ARRAY<SMALLINT>, m MAP<STRING, STRUCT<f: FLOAT>>"),
			Properties: map[string]string{"delta.enableTypeWidening": "true"}}, `{"a":1,"b":2,"l":[3],"m":[{"key":"k","value":{"f":0.5}}]}`)
		note, yes := "a note", true
		s = altered(t)(s.ChangeColumn(t.Context(), []string{"a"}, delta.ColumnChange{Comment: &note, Nullable: &yes, Type: schema.Long, After: "b"}))
		wantLast(t, store, `CHANGE COLUMN {"column":"{\"metadata\":{\"comment\":\"a note\",\"delta.typeChanges\":[{\"fromType\":\"integer\",\"toType\":\"long\"}]},\"name\":\"a\",\"nullable\":true,\"type\":\"long\"}","position":"AFTER b"}`)
		s = altered(t)(s.ChangeColumn(t.Context(), []string{"l", "element"}, delta.ColumnChange{Type: schema.Long}))
		s = altered(t)(s.ChangeColumn(t.Context(), []string{"m", "value", "f"}, delta.ColumnChange{Type: schema.Double}))
		s = altered(t)(s.ChangeColumn(t.Context(), []string{"b"}, delta.ColumnChange{Type: schema.Double}))
		s = appended(t, store, s, `{"a":null,"b":0.5,"l":[3000000000],"m":[{"key":"k","value":{"f":0.1}}]}`)
		wantRows(t, s, `{"a":1,"b":2,"l":[3],"m":[{"key":"k","value":{"f":0.5}}]}`, `{"a":null,"b":0.5,"l":[3000000000],"m":[{"key":"k","value":{"f":0.1}}]}`)
		readersSee(t, dir, rows(t, s)...)
	})
	rename := func(path ...string) func(t *testing.T, s *delta.Snapshot) error {
		return func(t *testing.T, s *delta.Snapshot) error {
			_, err := s.RenameColumn(t.Context(), path, "other")
			return err
		}
	}
	drop := func(path ...string) func(t *testing.T, s *delta.Snapshot) error {
		return func(t *testing.T, s *delta.Snapshot) error {
			_, err := s.DropColumns(t.Context(), path)
			return err
		}
	}
	add := func(c delta.NewColumn) func(t *testing.T, s *delta.Snapshot) error {
		return func(t *testing.T, s *delta.Snapshot) error {
			_, err := s.AddColumns(t.Context(), c)
			return err
		}
	}
	change := func(c delta.ColumnChange, path ...string) func(t *testing.T, s *delta.Snapshot) error {
		return func(t *testing.T, s *delta.Snapshot) error {
			_, err := s.ChangeColumn(t.Context(), path, c)
			return err
		}
	}
	// constrained does it to a table with a constraint.
	constrained := func(sql string, do func(*testing.T, *delta.Snapshot) error) func(*testing.T, *delta.Snapshot) error {
		return func(t *testing.T, s *delta.Snapshot) error {
			m := *s.Metadata()
			m.Configuration = maps.Clone(m.Configuration)
			m.Configuration["delta.constraints.c"] = sql
			text, err := json.Marshal(map[string]any{"metaData": m})
			if err != nil {
				t.Fatal(err)
			}
			store := new(objstore.Mem)
			put(t, store, "_delta_log/00000000000000000000.json", append(text, "\n"+`{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}`...))
			return do(t, load(t, store))
		}
	}
	no := false
	plain := map[string]string{}
	for name, c := range map[string]struct {
		properties map[string]string
		do         func(t *testing.T, s *delta.Snapshot) error
		want       string
	}{
		"a_rename_without_mapping":   {plain, rename("id"), "delta.columnMapping.mode=name maps those of this table"},
		"a_drop_without_mapping":     {plain, drop("id"), "delta.columnMapping.mode=name maps those of this table"},
		"a_column_that_is_not_there": {mapped, rename("nobody"), "column nobody: the table does not have it"},
		"a_name_that_is_taken": {mapped, func(t *testing.T, s *delta.Snapshot) error {
			_, err := s.RenameColumn(t.Context(), []string{"id"}, "P")
			return err
		}, "there is such a column already"},
		"the_column_of_partitions":              {mapped, drop("p"), "the table is partitioned by it"},
		"the_only_field_of_a_struct":            {mapped, drop("s", "x"), "the only one left"},
		"a_part_of_an_array":                    {mapped, drop("l", "element"), "cannot be dropped"},
		"a_column_of_a_constraint":              {mapped, constrained("`ID` > 0", rename("id")), "the constraint c (`ID` > 0) speaks of it"},
		"a_drop_of_a_column_of_a_constraint":    {mapped, constrained("s.x < 3", drop("s")), "the constraint c"},
		"a_new_column_that_is_there":            {plain, add(delta.NewColumn{Path: []string{"ID"}, Type: schema.Long}), "it is there already"},
		"a_new_column_in_no_struct":             {plain, add(delta.NewColumn{Path: []string{"id", "x"}, Type: schema.Long}), "is no struct"},
		"a_new_column_after_nobody":             {plain, add(delta.NewColumn{Path: []string{"x"}, Type: schema.Long, After: "nobody"}), "no column nobody"},
		"a_new_name_that_needs_mapping":         {plain, add(delta.NewColumn{Path: []string{"a b"}, Type: schema.Long}), "needs column mapping"},
		"a_type_that_does_not_grow":             {map[string]string{"delta.enableTypeWidening": "true"}, change(delta.ColumnChange{Type: schema.String}, "id"), "BIGINT cannot become STRING"},
		"a_type_without_the_property":           {plain, change(delta.ColumnChange{Type: schema.Long}, "n"), "delta.enableTypeWidening=true"},
		"null_where_it_may_be":                  {plain, change(delta.ColumnChange{Nullable: &no}, "id"), "it may have null"},
		"the_nullability_of_a_part_of_an_array": {plain, change(delta.ColumnChange{Nullable: &no}, "l", "element"), "only the type"},
	} {
		t.Run("are_kept/"+name, func(t *testing.T) {
			store := new(objstore.Mem)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, n INT, p STRING, s STRUCT<x: BIGINT>, l ARRAY<BIGINT>"), PartitionBy: []string{"p"}, Properties: c.properties})
			if err := c.do(t, s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if v := load(t, store).Version(); v != s.Version() {
				t.Errorf("it made version %d", v)
			}
		})
	}
	t.Run("change_while_others_append", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT"), Properties: mapped}, `{"id":1}`)
		appended(t, store, s, `{"id":2}`)
		s = altered(t)(s.RenameColumn(t.Context(), []string{"id"}, "key"))
		wantRows(t, s, `{"key":1}`, `{"key":2}`)
		if _, err := delta.Load(t.Context(), store, delta.LoadOptions{Timestamp: time.Now()}); err != nil {
			t.Error(err)
		}
	})
	t.Run("with_statistics_are_renamed_in_the_property", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, a BIGINT, s STRUCT<x: BIGINT>"),
			Properties: map[string]string{"delta.columnMapping.mode": "name", "delta.dataSkippingStatsColumns": "id,s.x,a"}})
		s = altered(t)(s.RenameColumn(t.Context(), []string{"s"}, "t u"))
		s = altered(t)(s.DropColumns(t.Context(), []string{"a"}))
		if got := s.Metadata().Configuration["delta.dataSkippingStatsColumns"]; got != "id,`t u`.x" {
			t.Errorf("got %s", got)
		}
	})
}

func TestANewTableHasOnlyPropertiesOfDelta(t *testing.T) {
	s := &schema.Struct{Fields: []schema.Field{{Name: "id", Type: schema.Long, Nullable: true}}}
	for _, properties := range []map[string]string{
		{"delta.apendOnly": "true"}, {"delta.checkpointInterval": "0"}, {"delta.columnMapping.maxColumnId": "7"},
	} {
		var wrong *delta.PropertyError
		if _, err := delta.NewTable(&objstore.Mem{}, delta.TableOptions{Schema: s, Properties: properties}); !errors.As(err, &wrong) {
			t.Errorf("%v: %v", properties, err)
		}
	}
	if _, err := delta.NewTable(&objstore.Mem{}, delta.TableOptions{Schema: s, Properties: map[string]string{"delta.appendOnly": "true", "owner": "us"}}); err != nil {
		t.Error(err)
	}
}
