package delta_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// smallSQL evaluates "a > 0", "a * 2" and "CAST(ts AS DATE)", and nothing else.
type smallSQL struct{}

func (smallSQL) Bind(_ context.Context, columns *schema.Struct, list []delta.Expression) (delta.BoundExpressions, error) {
	for _, e := range list {
		if !slices.Contains([]string{"a > 0", "a * 2", "CAST(ts AS DATE)", "ts > '2000-01-01'"}, e.SQL) {
			return nil, fmt.Errorf("%s is not known", e.SQL)
		}
	}
	return boundSQL(list), nil
}

type boundSQL []delta.Expression

func (boundSQL) Close() {}

func (b boundSQL) Eval(_ context.Context, rec arrow.RecordBatch) (out []arrow.Array, err error) {
	column := func(name string) arrow.Array { return rec.Column(rec.Schema().FieldIndices(name)[0]) }
	for _, e := range b {
		builder := array.NewBuilder(memory.DefaultAllocator, schema.ArrowType(e.Type))
		for i := range int(rec.NumRows()) {
			switch e.SQL {
			case "a > 0", "a * 2":
				a := column("a").(*array.Int64)
				switch b := builder.(type) {
				case *array.BooleanBuilder:
					if a.IsNull(i) {
						b.AppendNull()
					} else {
						b.Append(a.Value(i) > 0)
					}
				case *array.Int64Builder:
					if a.IsNull(i) {
						b.AppendNull()
					} else {
						b.Append(a.Value(i) * 2)
					}
				}
			case "CAST(ts AS DATE)":
				builder.(*array.Date32Builder).Append(arrow.Date32FromTime(column("ts").(*array.Timestamp).Value(i).ToTime(arrow.Microsecond)))
			default:
				builder.(*array.BooleanBuilder).Append(true)
			}
		}
		out = append(out, builder.NewArray())
	}
	return out, nil
}

// insert appends rows with the evaluator, by one writer for each list of rows.
func insert(t *testing.T, store objstore.Store, s *delta.Snapshot, e delta.Evaluator, columns string, lists ...[]string) (*delta.Snapshot, error) {
	t.Helper()
	tx := s.Begin("WRITE")
	for k, list := range lists {
		w, err := delta.NewDataWriter(t.Context(), store, tx.WriteContext(), delta.DataWriterOptions{Evaluator: e, NumberFrom: int64(k) << 32})
		if err != nil {
			return nil, err
		}
		defer w.Abort(t.Context())
		if err := w.Write(t.Context(), record(t, ddl(t, columns), list...)); err != nil {
			return nil, err
		}
		adds, err := w.Close(t.Context())
		if err != nil {
			return nil, err
		}
		tx.Add(adds...)
	}
	return tx.Commit(t.Context(), nil)
}

func TestRules(t *testing.T) {
	for _, mode := range []string{"none", "name"} {
		make := func(t *testing.T, columns string, properties map[string]string) (objstore.Store, *delta.Snapshot) {
			store := new(objstore.Mem)
			p := map[string]string{"delta.columnMapping.mode": mode}
			for k, v := range properties {
				p[k] = v
			}
			return store, newTable(t, store, delta.TableOptions{Schema: ddl(t, columns), Properties: p})
		}
		check := map[string]string{"delta.constraints.pos": "a > 0"}
		t.Run("CHECK/mapping="+mode, func(t *testing.T) {
			store, s := make(t, "a BIGINT, b STRING", check)
			if p := s.Protocol(); p.MinWriterVersion < 3 {
				t.Errorf("got protocol %+v", p)
			}
			after, err := insert(t, store, s, smallSQL{}, "a BIGINT", []string{`{"a":1}`})
			if err != nil {
				t.Fatal(err)
			}
			wantRows(t, after, `{"a":1,"b":null}`)
			for row, want := range map[string]string{`{"a":-1,"b":"x"}`: "a = -1", `{"b":"x"}`: "a = null"} {
				_, err = insert(t, store, after, smallSQL{}, "a BIGINT, b STRING", []string{`{"a":1}`, row})
				var broken *delta.ConstraintError
				if !errors.As(err, &broken) || broken.Name != "pos" || err.Error() != "CHECK constraint pos (a > 0) is violated by a row with "+want {
					t.Errorf("got %v", err)
				}
			}
			var unsupported *delta.UnsupportedError
			if _, err := insert(t, store, after, nil, "a BIGINT", []string{`{"a":1}`}); !errors.As(err, &unsupported) {
				t.Errorf("without an evaluator: got %v", err)
			}
			odd, o := make(t, "a BIGINT", map[string]string{"delta.constraints.odd": "a RLIKE 1"})
			if _, err := insert(t, odd, o, smallSQL{}, "a BIGINT", []string{`{"a":1}`}); !errors.As(err, &unsupported) ||
				!strings.Contains(err.Error(), "checkConstraints (property delta.constraints.odd): a RLIKE 1 is not known") {
				t.Errorf("SQL that nobody knows: got %v", err)
			}
			tx := after.Begin("WRITE")
			tx.Add(filesOf(t, after)[0])
			if _, err := tx.Commit(t.Context(), nil); !errors.As(err, &unsupported) {
				t.Errorf("files that nobody has checked: got %v", err)
			}
		})
		t.Run("constraints_that_came_meanwhile_contradict/mapping="+mode, func(t *testing.T) {
			store, s := make(t, "a BIGINT", nil)
			tx := s.Begin("WRITE")
			appendRows(t, store, tx, record(t, ddl(t, "a BIGINT"), `{"a":-1}`))
			m := *s.Metadata()
			m.Configuration = maps.Clone(m.Configuration)
			maps.Copy(m.Configuration, check)
			line, _ := json.Marshal(map[string]any{"metaData": m})
			put(t, store, "_delta_log/00000000000000000001.json", line)
			wantConflict(t, tx, delta.MetadataChanged)
		})
		t.Run("generated/mapping="+mode, func(t *testing.T) {
			store, s := make(t, "a BIGINT, g BIGINT GENERATED ALWAYS AS (a * 2), p BIGINT NOT NULL GENERATED ALWAYS AS (a * 2)", nil)
			after, err := insert(t, store, s, smallSQL{}, "g BIGINT, a BIGINT", []string{`{"a":2,"g":4}`, `{"a":3,"g":6}`})
			if err != nil {
				t.Fatal(err)
			}
			wantRows(t, after, `{"a":2,"g":4,"p":4}`, `{"a":3,"g":6,"p":6}`)
			for _, row := range []string{`{"a":2,"g":5}`, `{"a":2}`, `{"g":4}`} {
				if _, err = insert(t, store, after, smallSQL{}, "g BIGINT, a BIGINT", []string{row}); err == nil {
					t.Errorf("%s was written", row)
				}
			}
			after, _, err = after.UpdateRows(t.Context(), delta.Compare{Column: []string{"a"}, Value: 3}, []delta.Assignment{{Column: "a", SQL: "a * 2"}}, delta.ChangeOptions{Evaluator: smallSQL{}})
			if err != nil {
				t.Fatal(err)
			}
			wantRows(t, after, `{"a":2,"g":4,"p":4}`, `{"a":6,"g":12,"p":12}`)
			after, _, err = after.DeleteRows(t.Context(), delta.Compare{Column: []string{"a"}, Value: 2}, delta.ChangeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantRows(t, after, `{"a":6,"g":12,"p":12}`)
		})
	}
	t.Run("identity", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "a BIGINT, i BIGINT GENERATED ALWAYS AS IDENTITY (START WITH -1 INCREMENT BY -3), j BIGINT GENERATED BY DEFAULT AS IDENTITY")})
		s, err := insert(t, store, s, nil, "a BIGINT", []string{`{"a":1}`, `{"a":2}`})
		if err != nil {
			t.Fatal(err)
		}
		if s, err = insert(t, store, s, nil, "a BIGINT", []string{`{"a":3}`}); err != nil {
			t.Fatal(err)
		}
		wantRows(t, s, `{"a":1,"i":-1,"j":1}`, `{"a":2,"i":-4,"j":2}`, `{"a":3,"i":-7,"j":3}`)
		if s, err = insert(t, store, s, nil, "a BIGINT, j BIGINT", []string{`{"a":4,"j":2}`}, []string{`{"a":5,"j":9}`}); err != nil {
			t.Fatal(err)
		}
		wantRows(t, s, append(rows(t, loadAt(t, store, 2)), `{"a":4,"i":-10,"j":2}`, fmt.Sprintf(`{"a":5,"i":%d,"j":9}`, int64(-10-3*(1<<32))))...)
		var given *delta.IdentityError
		if _, err := insert(t, store, s, nil, "a BIGINT, i BIGINT", []string{`{"a":4,"i":2}`}); !errors.As(err, &given) || given.Column != "i" {
			t.Errorf("got %v", err)
		}
		a, b := s.Begin("WRITE"), s.Begin("WRITE")
		appendRows(t, store, a, record(t, ddl(t, "a BIGINT"), `{"a":6}`))
		appendRows(t, store, b, record(t, ddl(t, "a BIGINT"), `{"a":7}`))
		commit(t, a)
		wantConflict(t, b, delta.MetadataChanged)
		s, m, err := load(t, store).UpdateRows(t.Context(), delta.Compare{Column: []string{"a"}, Op: delta.Greater, Value: 0}, []delta.Assignment{{Column: "a", Value: 0}}, delta.ChangeOptions{})
		if err != nil || m.NumUpdatedRows != 6 || !strings.Contains(rows(t, s)[0], `{"a":0,"i":-1,"j":1}`) {
			t.Errorf("got %v, %+v", err, m)
		}
	})
	t.Run("identity_ends_where_numbers_do", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, fmt.Sprintf("a BIGINT, i BIGINT GENERATED ALWAYS AS IDENTITY (START WITH %d)", int64(math.MaxInt64)))})
		s, err := insert(t, store, s, nil, "a BIGINT", []string{`{"a":1}`})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = insert(t, store, s, nil, "a BIGINT", []string{`{"a":1}`}); err == nil || !strings.Contains(err.Error(), "no numbers left") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of_a_table_that_Spark_made", func(t *testing.T) {
		dir := copyTable(t, filepath.Join(testdata(t), "spark-4.4.0-generated", "identity_generated_default_check", "delta"))
		makeWritable(t, dir)
		store := objstore.NewDir(dir)
		s := load(t, store)
		before := rows(t, s)
		s, err := insert(t, store, s, smallSQL{}, "ts TIMESTAMP", []string{`{"ts":"2024-05-06T07:08:09Z"}`})
		if err != nil {
			t.Fatal(err)
		}
		after := rows(t, s)
		if len(after) != len(before)+1 {
			t.Fatalf("got %v after %v", after, before)
		}
		readersSee(t, dir, after...)
	})
}
