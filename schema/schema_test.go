package schema_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/schema"
)

func ddl(t *testing.T, text string) *schema.Struct {
	t.Helper()
	s, err := schema.ParseDDL(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDDLIsReadAsSparkWritesIt(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"columns", "id BIGINT, b string", "id BIGINT,b STRING"},
		{"colon after the name", "id: long", "id BIGINT"},
		{"all aliases", "a LONG,b INTEGER,c SHORT,d BYTE,e REAL,f DEC,g NUMERIC(5)", "a BIGINT,b INT,c SMALLINT,d TINYINT,e FLOAT,f DECIMAL(10,0),g DECIMAL(5,0)"},
		{"nested", "s struct<x:int,`y z`: array<map<string , double>>>", "s STRUCT<x: INT, `y z`: ARRAY<MAP<STRING, DOUBLE>>>"},
		{"not null", "a BIGINT NOT NULL", "a BIGINT NOT NULL"},
		{"quoted names", "`a.b` STRING,`é` STRING,`1st` STRING,`q``q` STRING", "`a.b` STRING,`é` STRING,`1st` STRING,`q``q` STRING"},
		{"a word in another script needs no quotes on reading", "é STRING", "`é` STRING"},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ddl(t, c.text).DDL(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestDDLKeepsComments(t *testing.T) {
	s := ddl(t, "a INT NOT NULL COMMENT 'it''s'")
	if got, _ := s.Fields[0].MetadataString("comment"); got != "it's" {
		t.Errorf("got comment %q, want it's", got)
	}
}

func TestDDLErrorsPointAtTheirPlace(t *testing.T) {
	for _, c := range []struct{ text, rest, reason string }{
		{"a BIGNT", "BIGNT", "unknown type"},
		{"a ARRAY<INT", "", `want ">"`},
		{"a INT b INT", "b INT", `want ","`},
		{"a DECIMAL(39,0)", "", "precision is 1 to 38"},
		{"a DECIMAL(x)", "x)", "whole number"},
		{"`a INT", "`a INT", "back-tick"},
		{"a INT,", "", "column name"},
		{"(a INT)", "(a INT)", "column name"},
	} {
		_, err := schema.ParseDDL(c.text)
		var e *schema.DDLError
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v, want a DDLError", c.text, err)
			continue
		}
		if !strings.Contains(e.Reason, c.reason) {
			t.Errorf("%q: got reason %q, want %q in it", c.text, e.Reason, c.reason)
		}
		if rest := c.text[e.Offset:]; rest != c.rest && c.rest != "" {
			t.Errorf("%q: points at %q, want %q", c.text, rest, c.rest)
		}
	}
}

func TestHintsTakeDottedPaths(t *testing.T) {
	hints, err := schema.ParseHints("id INT, vehicle.battery.soc double,\n signals.element.body.capacity bigint COMMENT 'Wh', `a.b`.c: STRING NOT NULL,")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range hints {
		got = append(got, h.String())
	}
	want := "id INT; vehicle.battery.soc DOUBLE; signals.element.body.capacity BIGINT; `a.b`.c STRING"
	if g := strings.Join(got, "; "); g != want {
		t.Errorf("got %s, want %s", g, want)
	}
	if hints[2].Comment != "Wh" {
		t.Errorf("got comment %q, want Wh", hints[2].Comment)
	}
}

func TestSchemaJSONRoundTripsVerbatim(t *testing.T) {
	text := `{"type":"struct","fields":[` +
		`{"name":"id","type":"long","nullable":false,"metadata":{"delta.columnMapping.id":1,"x":{"y":[1.50]}}},` +
		`{"name":"d","type":"decimal(10,2)","nullable":true,"metadata":{}},` +
		`{"name":"a<b","type":{"type":"array","elementType":{"type":"struct","fields":[]},"containsNull":false},"nullable":true,"metadata":{}},` +
		`{"name":"m","type":{"type":"map","keyType":"string","valueType":"timestamp_ntz","valueContainsNull":true},"nullable":true,"metadata":{}}]}`
	s, err := schema.ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != text {
		t.Errorf("got  %s\nwant %s", out, text)
	}
}

func TestSchemaJSONRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, text := range []string{`"geometry"`, `{"type":"union"}`, `{"type":"struct","fields":[{"name":"a","type":"decimal(40,1)"}]}`, `[`, ``} {
		if _, err := schema.ParseJSON([]byte(text)); err == nil {
			t.Errorf("%s: got no error", text)
		}
	}
}

func TestUnifyFollowsSparksTable(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"VOID", "BIGINT", "BIGINT"},
		{"VOID", "VOID", "VOID"},
		{"BIGINT", "DOUBLE", "DOUBLE"},
		{"BIGINT", "DECIMAL(20,0)", "DECIMAL(20,0)"},
		{"BIGINT", "DECIMAL(2,1)", "DECIMAL(21,1)"},
		{"DECIMAL(3,2)", "DECIMAL(3,0)", "DECIMAL(5,2)"},
		{"DECIMAL(38,0)", "DECIMAL(1,1)", "DOUBLE"},
		{"DECIMAL(38,0)", "DOUBLE", "DOUBLE"},
		{"INT", "BIGINT", "BIGINT"},
		{"FLOAT", "BIGINT", "DOUBLE"},
		{"BOOLEAN", "BIGINT", "STRING"},
		{"STRING", "STRUCT<a: INT>", "STRING"},
		{"STRUCT<a: INT>", "ARRAY<INT>", "STRING"},
		{"TIMESTAMP", "STRING", "STRING"},
		{"STRUCT<b: BIGINT, a: STRING>", "STRUCT<b: DOUBLE, c: BOOLEAN>", "STRUCT<a: STRING, b: DOUBLE, c: BOOLEAN>"},
		{"STRUCT<b: BIGINT>", "STRUCT<B: DOUBLE>", "STRUCT<B: DOUBLE>"},
		{"ARRAY<VOID>", "ARRAY<ARRAY<BIGINT>>", "ARRAY<ARRAY<BIGINT>>"},
		{"ARRAY<BIGINT>", "ARRAY<STRUCT<k: BIGINT>>", "ARRAY<STRING>"},
	} {
		a, b := mustType(t, c.a), mustType(t, c.b)
		if got := schema.Unify(a, b).String(); got != c.want {
			t.Errorf("Unify(%s, %s) = %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

func mustType(t *testing.T, text string) schema.Type {
	t.Helper()
	typ, err := schema.ParseType(text)
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// inferable generates the types that inference makes.
func inferable(depth int) *rapid.Generator[schema.Type] {
	return rapid.Custom(func(t *rapid.T) schema.Type {
		kinds := 9
		if depth == 0 {
			kinds = 7
		}
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return schema.Void
		case 1:
			return schema.Long
		case 2:
			return schema.Double
		case 3:
			return schema.String
		case 4:
			return schema.Boolean
		case 5:
			return schema.Timestamp
		case 6, 7:
			p := rapid.IntRange(1, 38).Draw(t, "precision")
			return schema.Decimal{Precision: p, Scale: rapid.IntRange(0, p).Draw(t, "scale")}
		case 8:
			return &schema.Array{Element: inferable(depth-1).Draw(t, "element"), ContainsNull: true}
		}
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "B", "c", "D", "é", "😀", "￿"}), 0, 4, rapid.ID).Draw(t, "names")
		s := &schema.Struct{}
		for _, n := range names {
			s.Fields = append(s.Fields, schema.Nullable(n, inferable(depth-1).Draw(t, n)))
		}
		return s
	})
}

func TestUnifyIsALattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := inferable(3).Draw(t, "a"), inferable(3).Draw(t, "b"), inferable(3).Draw(t, "c")
		ab := schema.Unify(a, b)
		if ba := schema.Unify(b, a); !schema.Equal(ab, ba) {
			t.Fatalf("not commutative: %s against %s", ab, ba)
		}
		if left, right := schema.Unify(ab, c), schema.Unify(a, schema.Unify(b, c)); !schema.Equal(left, right) {
			t.Fatalf("not associative: %s against %s", left, right)
		}
		if again := schema.Unify(ab, a); !schema.Equal(again, ab) {
			t.Fatalf("not monotone: %s became %s when a part of it was added", ab, again)
		}
		if twice := schema.Unify(ab, ab); !schema.Equal(twice, ab) {
			t.Fatalf("not idempotent: %s became %s", ab, twice)
		}
	})
}

func TestMergeKeepsTheTableAndAppendsTheRest(t *testing.T) {
	for _, c := range []struct{ name, table, batch, want string }{
		{"new columns come last", "m BIGINT", "b STRING, m BIGINT, a INT", "m BIGINT,b STRING,a INT"},
		{"order and case of the table stay", "a BIGINT, B STRING", "b STRING, A INT", "a BIGINT,B STRING"},
		{"structs and elements grow at their end", "s STRUCT<x: BIGINT>, o ARRAY<STRUCT<x: BIGINT>>",
			"s STRUCT<y: STRING, x: INT>, o ARRAY<STRUCT<x: INT, y: INT>>",
			"s STRUCT<x: BIGINT, y: STRING>,o ARRAY<STRUCT<x: BIGINT, y: INT>>"},
		{"map values grow", "m MAP<STRING, STRUCT<x: INT>>", "m MAP<STRING, STRUCT<y: INT>>", "m MAP<STRING, STRUCT<x: INT, y: INT>>"},
		{"a new column is nullable", "a INT NOT NULL", "a INT, b INT NOT NULL", "a INT NOT NULL,b INT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := schema.Merge(ddl(t, c.table), ddl(t, c.batch))
			if err != nil {
				t.Fatal(err)
			}
			if got.DDL() != c.want {
				t.Errorf("got %s, want %s", got.DDL(), c.want)
			}
		})
	}
}

func TestMergeRefusesAnotherShape(t *testing.T) {
	for _, c := range [][3]string{
		{"a STRING", "a STRUCT<x: INT>", "a"},
		{"a STRUCT<b: ARRAY<INT>>", "a STRUCT<b: INT>", "a.b"},
		{"a ARRAY<STRUCT<x: MAP<STRING, INT>>>", "a ARRAY<STRUCT<x: ARRAY<INT>>>", "a.element.x"},
	} {
		_, err := schema.Merge(ddl(t, c[0]), ddl(t, c[1]))
		var e *schema.MergeError
		if !errors.As(err, &e) || e.Path != c[2] || !errors.Is(err, schema.ErrMerge) {
			t.Errorf("%s with %s: got %v, want a MergeError at %s", c[0], c[1], err, c[2])
		}
	}
}

func TestMergeTwiceEqualsMergeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := inferable(3).Filter(func(t schema.Type) bool { _, ok := t.(*schema.Struct); return ok })
		table, batch := gen.Draw(t, "table").(*schema.Struct), gen.Draw(t, "batch").(*schema.Struct)
		once, err := schema.Merge(table, batch)
		if err != nil {
			return
		}
		twice, err := schema.Merge(once, batch)
		if err != nil || !schema.Equal(once, twice) {
			t.Fatalf("got %s, want %s (%v)", twice, once, err)
		}
		if len(schema.Additions(once, batch)) != 0 {
			t.Fatalf("%s still lacks %v", once, schema.Additions(once, batch))
		}
		if n := len(once.Fields) - len(table.Fields); n < 0 || !schema.Equal(&schema.Struct{Fields: once.Fields[:len(table.Fields)]}, mergedPrefix(once, table)) {
			t.Fatalf("columns of %s moved in %s", table, once)
		}
	})
}

// mergedPrefix returns the fields of once that table has, in table's order.
func mergedPrefix(once, table *schema.Struct) *schema.Struct {
	out := &schema.Struct{}
	for _, f := range table.Fields {
		out.Fields = append(out.Fields, once.Fields[once.Index(f.Name)])
	}
	return out
}

func TestAdditionsNameTheOutermostNewField(t *testing.T) {
	before := ddl(t, "a INT, s STRUCT<x: INT>, o ARRAY<STRUCT<x: INT>>")
	after := ddl(t, "a INT, s STRUCT<x: INT, n: STRUCT<deep: INT>>, o ARRAY<STRUCT<x: INT, y: INT>>, z STRING")
	var got []string
	for _, a := range schema.Additions(before, after) {
		got = append(got, schema.Path(a.Path...)+" "+a.Type.String())
	}
	want := "s.n STRUCT<deep: INT>; o.element.y INT; z STRING"
	if g := strings.Join(got, "; "); g != want {
		t.Errorf("got %s, want %s", g, want)
	}
}

func TestNamesAreOrderedByUTF16CodeUnits(t *testing.T) {
	in := ddl(t, "`￿` INT, `😀` INT, a INT, `é` INT, _x INT, Z INT, ab INT")
	schema.SortFields(in.Fields)
	if got, want := strings.Join(in.Names(), " "), "Z _x a ab é 😀 ￿"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzParseDDL(f *testing.F) {
	f.Add("a INT, `b``c` STRUCT<x: ARRAY<MAP<STRING, DECIMAL(10,2)>>> NOT NULL COMMENT 'x'")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := schema.ParseDDL(text)
		if err != nil {
			return
		}
		again, err := schema.ParseDDL(s.DDL())
		if err != nil || !schema.Equal(s, again) {
			t.Fatalf("%q became %q (%v)", text, s.DDL(), err)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":{}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := schema.ParseJSON(text)
		if err != nil {
			return
		}
		out, err := s.MarshalJSON()
		if err != nil || !json.Valid(out) {
			t.Fatalf("%q became %q (%v)", text, out, err)
		}
	})
}

func TestArrowRoundTrip(t *testing.T) {
	s := ddl(t, "a BOOLEAN,b TINYINT,c SMALLINT,d INT,e BIGINT,f FLOAT,g DOUBLE,h STRING,i BINARY,j DATE,k TIMESTAMP,l TIMESTAMP_NTZ,"+
		"m DECIMAL(20,3),n ARRAY<STRUCT<x: BIGINT, y: ARRAY<STRING>>>,o MAP<STRING, ARRAY<DOUBLE>>,p STRUCT<q: STRUCT<r: DATE>>,z BIGINT NOT NULL")
	got, err := schema.FromArrow(s.Arrow())
	if err != nil {
		t.Fatal(err)
	}
	if got.DDL() != s.DDL() || !schema.Equal(got, s) {
		t.Errorf("got  %s\nwant %s", got.DDL(), s.DDL())
	}
}
