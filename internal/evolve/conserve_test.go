package evolve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// What follows holds the promise that no value is lost, in every mode and for JSON of any shape: each value
// of a record is in its column or in the rescued data of its row, and what is no record is a bad one.
//
// Equal means: a number in a column of numbers equals the one in the record as a double, and exactly where
// the column is exact; a STRING holds the text of a string, or the text of any other value; nulls are no
// values.

// member is a member of an object, in order and with its repetitions.
type member struct {
	key   string
	value any
}

type object []member

// parse reads JSON into nil, bool, json.Number, string, []any and object.
func parse(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := parseNext(d)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = fmt.Errorf("text behind the value")
		}
	}
	return v, err
}

func parseNext(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := object{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := parseNext(d)
			if err != nil {
				return nil, err
			}
			o = append(o, member{k.(string), v})
		}
		_, err := d.Token()
		return o, err
	case json.Delim('['):
		a := []any{}
		for d.More() {
			v, err := parseNext(d)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		_, err := d.Token()
		return a, err
	}
	return t, nil
}

// same reports whether two values are the same, member for member.
func same(a, b any) bool {
	switch a := a.(type) {
	case object:
		b, ok := b.(object)
		return ok && slices.EqualFunc(a, b, func(x, y member) bool { return x.key == y.key && same(x.value, y.value) })
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && a == b
	}
	return a == b
}

// kept reports whether v is in row of a column, whose type is t, or in what was rescued; a nil column is
// none, and nil is nothing rescued.
func kept(v any, t schema.Type, column arrow.Array, row int, rescued any) bool {
	if v == nil || rescued != nil && same(v, rescued) {
		return true
	}
	if t == nil || column == nil || column.IsNull(row) {
		return false
	}
	switch t := t.(type) {
	case *schema.Struct:
		o, ok := v.(object)
		return ok && keptMembers(o, t, column.(*array.Struct), row, rescued)
	case *schema.Array:
		a, ok := v.([]any)
		list := column.(*array.List)
		from, to := list.ValueOffsets(row)
		if !ok || int(to-from) != len(a) {
			return false
		}
		back, _ := rescued.([]any)
		for i, e := range a {
			var r any
			if i < len(back) {
				r = back[i]
			}
			if !kept(e, t.Element, list.ListValues(), int(from)+i, r) {
				return false
			}
		}
		return true
	case *schema.Map:
		return keptEntries(v, t, column.(*array.Map), row, rescued)
	}
	return rescued == nil && keptScalar(v, t, column, row)
}

// keptMembers is kept for the members of an object. Of a repeated key each value must have its own place:
// the column, whose name may be written in another case, or a member of what was rescued.
func keptMembers(o object, s *schema.Struct, column *array.Struct, row int, rescued any) bool {
	back, _ := rescued.(object)
	return keptFrom(slices.DeleteFunc(slices.Clone(o), func(m member) bool { return m.value == nil }), s, column, row, back, nil)
}

func keptFrom(o object, s *schema.Struct, column *array.Struct, row int, back object, taken []int) bool {
	if len(o) == 0 {
		return true
	}
	m, rest := o[0], o[1:]
	i := s.IndexFold(m.key)
	if j := s.Index(m.key); j >= 0 {
		i = j
	}
	free := i >= 0 && !slices.Contains(taken, i)
	with := append(slices.Clip(taken), i)
	if free && kept(m.value, s.Fields[i].Type, column.Field(i), row, nil) && keptFrom(rest, s, column, row, back, with) {
		return true
	}
	for k, b := range back {
		if b.key != m.key && b.key != "_"+m.key {
			continue
		}
		less := slices.Delete(slices.Clone(back), k, k+1)
		if same(m.value, b.value) && keptFrom(rest, s, column, row, less, taken) {
			return true
		}
		if free && kept(m.value, s.Fields[i].Type, column.Field(i), row, b.value) && keptFrom(rest, s, column, row, less, with) {
			return true
		}
	}
	return false
}

func keptEntries(v any, t *schema.Map, column *array.Map, row int, rescued any) bool {
	o, ok := v.(object)
	if !ok {
		return false
	}
	from, to := column.ValueOffsets(row)
	back, _ := rescued.(object)
	for _, m := range o {
		found := false
		for i := int(from); i < int(to); i++ {
			var r any
			if at := slices.IndexFunc(back, func(b member) bool { return b.key == m.key }); at >= 0 {
				r = back[at].value
			}
			found = found || column.Keys().(*array.String).Value(i) == m.key && kept(m.value, t.Value, column.Items(), i, r)
		}
		if !found {
			return false
		}
	}
	return true
}

func keptScalar(v any, t schema.Type, column arrow.Array, row int) bool {
	switch c := column.(type) {
	case *array.String:
		if s, ok := v.(string); ok {
			return c.Value(row) == s
		}
		text, err := parse([]byte(c.Value(row)))
		return err == nil && same(v, text)
	case *array.Boolean:
		return v == c.Value(row)
	case *array.Int64:
		return sameNumber(v, new(big.Rat).SetInt64(c.Value(row)))
	case *array.Float64:
		n, ok := v.(json.Number)
		if !ok {
			return false
		}
		f, err := strconv.ParseFloat(string(n), 64)
		return err == nil && f == c.Value(row)
	case *array.Decimal128:
		if text, ok := v.(string); ok {
			v = json.Number(text)
		}
		r, _ := new(big.Rat).SetString(c.Value(row).ToString(int32(t.(schema.Decimal).Scale)))
		return sameNumber(v, r)
	}
	return false
}

func sameNumber(v any, want *big.Rat) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	if e := strings.IndexAny(string(n), "eE"); e >= 0 {
		if exp, err := strconv.Atoi(string(n)[e+1:]); err != nil || math.Abs(float64(exp)) > 400 {
			return false
		}
	}
	r, ok := new(big.Rat).SetString(string(n))
	return ok && r.Cmp(want) == 0
}

// profile is how records are read and how the schema goes on.
type profile struct {
	decode decode.Options
	evolve Options
	// half makes the first schema of the first half of the records.
	half bool
}

func profiles() map[string]profile {
	base := decode.Options{Rescue: "_rescued_data", Observe: true}
	with := func(f func(*profile)) profile {
		p := profile{decode: base}
		f(&p)
		return p
	}
	return map[string]profile{
		"addNewColumns": with(func(p *profile) { p.half = true }),
		"addNewColumnsWithTypeWidening": with(func(p *profile) {
			p.half, p.decode.Widen, p.decode.PrefersDecimal, p.evolve.Mode = true, true, true, AddNewColumnsWithTypeWidening
		}),
		"rescue":          with(func(p *profile) { p.half, p.evolve.Mode = true, Rescue }),
		"none":            with(func(p *profile) { p.half, p.evolve.Mode, p.decode.Observe = true, None, false }),
		"strings":         with(func(p *profile) { p.half, p.evolve.StringsOnly = true, true }),
		"ignore_case":     with(func(p *profile) { p.half, p.decode.IgnoreCase = true, true }),
		"seen_at_once":    with(func(*profile) {}),
		"few_columns":     with(func(p *profile) { p.evolve.MaxColumns, p.evolve.MaxKeys, p.decode.MaxKeys = 3, 2, 2 }),
		"small_batches":   with(func(p *profile) { p.half, p.decode.BatchRows = true, 1 }),
		"prefers_decimal": with(func(p *profile) { p.decode.PrefersDecimal = true }),
		"hints": with(func(p *profile) {
			p.half = true
			p.evolve.Hints, _ = schema.ParseHints("a.b bigint, c map<string, double>, b.element struct<a: string>")
		}),
		"untyped_as_string": with(func(p *profile) { p.half, p.evolve.UntypedAsString = true, true }),
		"table_of_other_types": with(func(p *profile) {
			p.evolve.Table, _ = schema.ParseDDL("A bigint, b array<bigint>, c struct<B: boolean>")
		}),
	}
}

// read reads lines by a schema, and returns each row with what it holds, and the number of bad records.
func read(t fataler, lines []string, s *schema.Struct, opts decode.Options, visit func(line int, rec arrow.RecordBatch, row int)) (*decode.Reader, int) {
	opts.Schema, opts.Framing = s, "lines"
	text := strings.Join(lines, "\n") + "\n"
	f := decode.File{URI: "f.json", Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
	r, err := decode.NewReader([]decode.File{f}, opts)
	if err != nil {
		t.Fatalf("%s: %v", s.DDL(), err)
	}
	bad := 0
	for {
		b, err := r.Next(context.Background())
		if err == io.EOF {
			return r, bad
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
		bad += len(b.Bad)
		for row, place := range b.Places {
			visit(int(place.Line)-1, b.Record, row)
		}
	}
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// inferred is the schema that inference makes of lines.
func inferred(t fataler, lines []string, p profile) *schema.Struct {
	opts := p.decode
	opts.Rescue, opts.Observe = "", true
	r, _ := read(t, lines, &schema.Struct{}, opts, func(int, arrow.RecordBatch, int) {})
	rules := p.evolve
	rules.Reserved = []string{"_rescued_data"}
	return Infer(r.Observed()[""], rules).Schema
}

// conserve reads lines by a first schema, lets it grow, reads them again, and wants every value kept each
// time. What was in a column before is in it after.
func conserve(t fataler, lines []string, p profile) {
	sample := lines
	if p.half {
		sample = lines[:(len(lines)+1)/2]
	}
	s := inferred(t, sample, p)
	records := make([]any, len(lines))
	good, empty := 0, 0
	for i, line := range lines {
		if v, err := parse([]byte(line)); err == nil {
			switch v := v.(type) {
			case object:
				records[i] = v
				good++
			case []any:
				if len(v) == 0 { // an array of no records
					empty++
				}
			}
		}
	}
	filled := map[string]bool{}
	for round := 0; ; round++ {
		rows := 0
		now := map[string]bool{}
		r, bad := read(t, lines, s, p.decode, func(line int, rec arrow.RecordBatch, row int) {
			rows++
			o, _ := records[line].(object)
			n := len(s.Fields)
			var rescued any
			if c := rec.Column(n).(*array.String); c.IsValid(row) {
				var err error
				if rescued, err = parse([]byte(c.Value(row))); err != nil {
					t.Fatalf("%s\nby %s: rescued data is no JSON: %s", lines[line], s.DDL(), c.Value(row))
				}
			}
			if !keptRecord(o, s, rec, row, rescued) {
				text, _ := rec.NewSlice(int64(row), int64(row)+1).MarshalJSON()
				t.Fatalf("%s\nby %s\nbecame %s", lines[line], s.DDL(), text)
			}
			for i, f := range s.Fields {
				if rec.Column(i).IsValid(row) {
					now[fmt.Sprintf("%d %s", line, f.Name)] = true
				}
			}
		})
		if rows != good || rows+bad+empty < len(lines) {
			t.Fatalf("%d lines are records and %d became rows, %d are bad\n%s", good, rows, bad, strings.Join(lines, "\n"))
		}
		for was := range filled {
			if !now[was] {
				t.Fatalf("line and column %s: it was read before the schema became %s\n%s", was, s.DDL(), strings.Join(lines, "\n"))
			}
		}
		filled = now
		rules := p.evolve
		rules.Reserved = []string{"_rescued_data"}
		d, err := Evolve(s, r.Observed(), rules)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if err := d.Widen(r.Demands(), rules); err != nil {
			t.Fatalf("%v", err)
		}
		if len(d.Added)+len(d.Widened) == 0 {
			return
		}
		if round > 20 {
			t.Fatalf("the schema does not settle: %s\n%s", d.Schema.DDL(), strings.Join(lines, "\n"))
		}
		s = d.Schema
	}
}

func keptRecord(o object, s *schema.Struct, rec arrow.RecordBatch, row int, rescued any) bool {
	n := len(s.Fields)
	columns := make([]arrow.ArrayData, n)
	fields := make([]arrow.Field, n)
	for i := range n {
		columns[i], fields[i] = rec.Column(i).Data(), rec.Schema().Field(i)
	}
	data := array.NewData(arrow.StructOf(fields...), int(rec.NumRows()), noBitmap, columns, 0, 0)
	return keptMembers(o, s, array.NewStructData(data), row, rescued)
}

// noBitmap is that of an array without nulls.
var noBitmap = []*memory.Buffer{nil}

// readAlike reports whether a line is read by encoding/json and by silt as the same: one value of UTF-8
// that is no array of records, not nested too deep, and without halves of surrogate pairs, which
// encoding/json replaces.
func readAlike(line string) bool {
	if strings.HasPrefix(strings.TrimLeft(line, " \t"), "[") && strings.Contains(line, "{") {
		return false
	}
	if !utf8.ValidString(line) || strings.ContainsAny(line, "\x00\ufeff") || strings.Contains(line, `\u`) || strings.Count(line, "[")+strings.Count(line, "{") > 40 {
		return false
	}
	d := json.NewDecoder(strings.NewReader(line))
	for {
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return err == io.EOF || json.Valid([]byte(line))
		}
		if d.InputOffset() < int64(len(strings.TrimRight(line, " \t"))) {
			return false // several values on a line
		}
	}
}

// keys are few, so that they meet again, and some differ by case alone.
var keys = rapid.SampledFrom([]string{"a", "b", "c", "A", "B", "id1", "id2", "é", "_file_path", "a.b", "x\ny", ""})

// jsonValue is JSON of any shape, as text.
func jsonValue(depth int) *rapid.Generator[string] {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	return rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return "null"
		case 1:
			return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "bool")
		case 2:
			return rapid.SampledFrom([]string{"0", "-0", "7", "80.0", "80.5", "1e3", "1e400", "-1E-400", "9007199254740993", "9223372036854775808",
				"123456789012345678901234567890", "0.1234567890123456789012345678901234567890", "1e40", "-5", "2147483648", "1.0e2"}).Draw(t, "number")
		case 3:
			return rapid.SampledFrom([]string{`""`, `"x"`, `"\n\u0041\"\\"`, `"😀"`, `"\ud83d\ude00"`, `"12"`, `"2024-01-02T03:04:05Z"`, `"null"`, `"{}"`, `"a long one, so that it takes more than eight bytes"`}).Draw(t, "string")
		case 4:
			return rapid.SampledFrom([]string{"[]", "{}", "[[]]", "[null]", "[{}]"}).Draw(t, "empty")
		case 5:
			return "[" + strings.Join(rapid.SliceOfN(jsonValue(depth-1), 0, 4).Draw(t, "list"), rapid.SampledFrom([]string{",", " , "}).Draw(t, "comma")) + "]"
		}
		return jsonObject(depth-1, true).Draw(t, "object")
	})
}

func jsonObject(depth int, repeats bool) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var names []string
		if repeats && rapid.IntRange(0, 9).Draw(t, "repeats") == 0 {
			names = rapid.SliceOfN(keys, 0, 5).Draw(t, "names")
		} else {
			names = rapid.SliceOfNDistinct(keys, 0, 5, rapid.ID).Draw(t, "names")
		}
		var members []string
		for _, name := range names {
			key, _ := json.Marshal(name)
			members = append(members, string(key)+rapid.SampledFrom([]string{":", " : "}).Draw(t, "colon")+jsonValue(depth).Draw(t, "value"))
		}
		return "{" + strings.Join(members, ",") + "}"
	})
}

func TestNoValueIsLost(t *testing.T) {
	for name, p := range profiles() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				line := rapid.OneOf(jsonObject(3, true), jsonObject(3, true), jsonObject(3, true), rapid.SampledFrom([]string{"", "{", `{"a":1`, "nul", `[1]`, `{"a":[1,2}`}))
				lines := rapid.SliceOfN(line, 1, 6).Draw(t, "lines")
				lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
				conserve(t, lines, p)
			})
		})
	}
}

// FuzzNoValueIsLost is TestNoValueIsLost for lines of any text.
func FuzzNoValueIsLost(f *testing.F) {
	f.Add([]byte("{\"a\":1}\n{\"a\":{\"b\":[1,\"x\"]},\"c\":null}\n{\"a\":2,\"a\":3}"))
	f.Add([]byte("[]\n{\"a\":1}\n[]"))
	f.Add([]byte("{\"b\":[{\"a\":1},{\"a\":\"x\",\"c\":{}}]}\n{\"b\":[1]}\n{\"B\":1e400}"))
	all := profiles()
	names := slices.Sorted(maps.Keys(all))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.Trim(l, " \t") == "" || !readAlike(l) })
		if len(lines) == 0 || len(lines) > 20 {
			return
		}
		// One profile a text, so that more texts are tried.
		conserve(t, lines, all[names[crc32.ChecksumIEEE(text)%uint32(len(names))]])
	})
}
