//go:build duckdb_arrow

package silt_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

// sqlTypes has for each type of DuckDB that docs/transform.md names how its letters are chosen, a value,
// and that value in the table.
var sqlTypes = map[string]struct{ sql, value string }{
	"BOOLEAN":      {"CAST('true' AS BOOLEAN)", `true`},
	"TINYINT":      {"CAST('-128' AS TINYINT)", `-128`},
	"SMALLINT":     {"CAST('-32768' AS SMALLINT)", `-32768`},
	"INTEGER":      {"CAST('-2147483648' AS INTEGER)", `-2147483648`},
	"BIGINT":       {"CAST(7 AS BIGINT)", `7`},
	"FLOAT":        {"CAST(1.5 AS FLOAT)", `1.5`},
	"DOUBLE":       {"CAST(0.25 AS DOUBLE)", `0.25`},
	"DATE":         {"CAST('2024-07-01' AS DATE)", `"2024-07-01"`},
	"DECIMAL(p,s)": {"CAST('12345.67' AS DECIMAL(7,2))", `"12345.67"`},
	"VARCHAR":      {"CAST('a' AS VARCHAR)", `"a"`},
	"JSON":         {`CAST('{"a":1}' AS JSON)`, `"{\"a\":1}"`},
	"BLOB":         {`CAST('\x01\xFF' AS BLOB)`, `"Af8="`},
	"UTINYINT":     {"CAST(255 AS UTINYINT)", `255`},
	"USMALLINT":    {"CAST(65535 AS USMALLINT)", `65535`},
	"UINTEGER":     {"CAST(4294967295 AS UINTEGER)", `4294967295`},
	"UBIGINT":      {"CAST('18446744073709551615' AS UBIGINT)", `"18446744073709551615"`},
	"HUGEINT":      {"CAST('-99999999999999999999999999999999999999' AS HUGEINT)", `"-99999999999999999999999999999999999999"`},
	"TIMESTAMPTZ":  {"CAST('2024-07-01 12:00:00+02' AS TIMESTAMPTZ)", `"2024-07-01T10:00:00Z"`},
	"TIMESTAMP":    {"CAST('2024-07-01 12:00:00' AS TIMESTAMP)", `"2024-07-01T10:00:00Z"`},
	"TIMESTAMP_S":  {"CAST('2024-07-01 12:00:00' AS TIMESTAMP_S)", `"2024-07-01T10:00:00Z"`},
	"TIMESTAMP_MS": {"CAST('2024-07-01 12:00:00.123' AS TIMESTAMP_MS)", `"2024-07-01T10:00:00.123Z"`},
	"TIMESTAMP_NS": {"CAST('2024-07-01 12:00:00.123456789' AS TIMESTAMP_NS)", `"2024-07-01T10:00:00.123456Z"`},
	"UUID":         {"CAST('5d0f7c4e-6b0a-4a3c-9d6b-0a4a3c9d6b0a' AS UUID)", `"5d0f7c4e-6b0a-4a3c-9d6b-0a4a3c9d6b0a"`},
	"ENUM":         {"CAST('b' AS ENUM('a', 'b'))", `"b"`},
	"TIME":         {"CAST('10:11:12' AS TIME)", `"10:11:12"`},
	"TIME_NS":      {"CAST('10:11:12.123456789' AS TIME_NS)", `"10:11:12.123456789"`},
	"TIMETZ":       {"CAST('10:11:12+02' AS TIMETZ)", `"10:11:12+02"`},
	"INTERVAL":     {"CAST('36 hours' AS INTERVAL)", `"36:00:00"`},
	"NULL":         {"NULL", `null`},
	"T[]":          {"CAST([1, 2] AS BIGINT[])", `[1,2]`},
	"T[n]":         {"CAST([1, 2] AS BIGINT[2])", `[1,2]`},
	"MAP(K, V)":    {"CAST(MAP {'x': 1} AS MAP(VARCHAR, UTINYINT))", `[{"key":"x","value":1}]`},
	"STRUCT(a T)":  {"CAST({'a': 1} AS STRUCT(a BIGINT))", `{"a":1}`},
	"UHUGEINT":     {"CAST(1 AS UHUGEINT)", ""},
	"BIT":          {"CAST('101' AS BIT)", ""},
	"UNION":        {"CAST(1 AS UNION(a INTEGER))", ""},
	"BIGNUM":       {"CAST(1 AS BIGNUM)", ""},
	"GEOMETRY":     {"CAST('POINT(1 2)' AS GEOMETRY)", ""},
	"VARIANT":      {"CAST(1 AS VARIANT)", ""},
}

// letters are those of the page, as sqlTypes chooses them.
var letters = strings.NewReplacer("(p,s)", "(7,2)", "<T>", "<BIGINT>", ": T>", ": BIGINT>", "<K, V>", "<STRING, SMALLINT>")

// listed are the types of a cell, with a comma between each two.
func listed(cell string) (all []string) {
	depth, from := 0, 0
	for i, c := range cell + "," {
		switch {
		case c == '(' || c == '<':
			depth++
		case c == ')' || c == '>':
			depth--
		case c == ',' && depth == 0:
			all = append(all, strings.TrimSpace(cell[from:i]))
			from = i + 1
		}
	}
	return all
}

// TestTypesOfSQL holds the table of types in docs/transform.md: it has all types that SQL can give, and a
// load makes columns of them as it says.
func TestTypesOfSQL(t *testing.T) {
	page, err := os.ReadFile("docs/transform.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Types\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var exprs, want, values, none []string
	told := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \| (.*?) \| .* \|$`).FindAllStringSubmatch(section, -1)[1:] {
		types, columns := listed(row[1]), listed(row[2])
		for i, name := range types {
			told[name] = true
			example, ok := sqlTypes[name]
			column := columns[min(i, len(columns)-1)]
			switch {
			case !ok:
				t.Errorf("%s is on the page, and there is no example of it", name)
				continue
			case len(columns) != 1 && len(columns) != len(types):
				t.Errorf("%d columns for %d types: %s", len(columns), len(types), row[0])
			case column == "none":
				none = append(none, name)
				continue
			case column == "the same":
				column = name
			}
			column = letters.Replace(column)
			exprs = append(exprs, example.sql+` AS "`+name+`"`)
			want = append(want, column)
			if example.value != "null" {
				values = append(values, `"`+name+`":`+example.value)
			}
		}
	}
	for name := range sqlTypes {
		if !told[name] {
			t.Errorf("%s is not on the page", name)
		}
	}
	code, err := os.ReadFile("internal/duck/type.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`bindings\.Type(\w+): +["{]`).FindAllStringSubmatch(string(code), -1) {
		name := strings.NewReplacer("SQLNULL", "NULL", "TIMENS", "TIME_NS", "TIMESTAMPS", "TIMESTAMP_S", "TIMESTAMPMS", "TIMESTAMP_MS",
			"TIMESTAMPNS", "TIMESTAMP_NS").Replace(strings.ToUpper(m[1]))
		if !told[name] {
			t.Errorf("%s of internal/duck/type.go is not on the page", name)
		}
	}

	l := newLab(t)
	l.cfg.Lineage, l.cfg.Options = []string{}, map[string]string{"timeZone": "Europe/Berlin"}
	l.cfg.Transform = "SELECT " + strings.Join(exprs, ", ") + " FROM source"
	l.file("1.json", `{"id":1}`+"\n")
	l.run()
	l.want(canonicalJSON(t, []byte("{"+strings.Join(values, ",")+"}")))
	var got []string
	info, err := silt.DescribeTable(t.Context(), l.cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range info.Schema.Fields {
		if f.Name != "_rescued_data" {
			got = append(got, f.Type.String())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("columns\ngot  %q\nwant %q", got, want)
	}
	for _, name := range none {
		l := newLab(t)
		l.cfg.Transform = "SELECT " + sqlTypes[name].sql + " AS v FROM source"
		l.file("1.json", `{"id":1}`+"\n")
		if _, err := l.tryRun(); err == nil || !strings.Contains(err.Error(), "column v: no column of a table can hold DuckDB's type "+name) || l.isTable() {
			t.Errorf("%s: error %v", name, err)
		}
	}
	t.Run("a_row_whose_value_does_not_fit_is_quarantined", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT id, CAST(n AS HUGEINT) AS n FROM source"
		l.file("1.json", `{"id":1,"n":"1"}`+"\n"+`{"id":2,"n":"1`+strings.Repeat("0", 38)+`"}`+"\n")
		l.run()
		l.want(`{"id":1,"n":"1"}`)
		if q := l.quarantine(); len(q) != 1 || q[0].Line != 2 {
			t.Errorf("quarantine %+v", q)
		}
	})
	t.Run("a_local_time_of_the_source_stays_one", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Lineage, l.cfg.Options = []string{}, map[string]string{"schemaHints": "seen TIMESTAMP_NTZ"}
		l.cfg.Transform = "SELECT seen FROM source"
		l.file("1.json", `{"seen":"2024-07-01T12:00:00"}`+"\n")
		l.run()
		if got := l.schema(); got != "seen TIMESTAMP_NTZ,_rescued_data STRING" {
			t.Errorf("schema %s", got)
		}
	})
}
