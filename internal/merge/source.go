package merge

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

// source is the change rows in memory.
type source struct {
	spec   Spec
	raw    arrow.RecordBatch // as they came, for SQL
	rows   arrow.RecordBatch // as the table has them; fields that the source lacks are null
	fields []*presence       // of rows: which fields the source has

	met  met
	keys []arrow.Array
	seq  arrow.Array // nil without

	// order holds the rows that count, in order; index finds them by key. With FailOnDuplicates next
	// leads from one row of a key to the next, -1 ends it.
	order []int32
	index *index
	next  []int32

	outcomes    []outcome // by row
	conflicting []int32   // rows that differ from another of their key, without a sequence to decide
}

// presence says which fields of a struct the source has.
type presence struct {
	has  bool
	kids []*presence // of a struct
}

// whole reports whether the source has all of the field.
func (p *presence) whole() bool {
	return p.has && !slices.ContainsFunc(p.kids, func(k *presence) bool { return !k.whole() })
}

func presenceOf(table, source *schema.Struct) []*presence {
	out := make([]*presence, len(table.Fields))
	for i, f := range table.Fields {
		out[i] = &presence{}
		j := source.IndexFold(f.Name)
		if j < 0 {
			continue
		}
		out[i].has = true
		st, ok := f.Type.(*schema.Struct)
		if in, both := source.Fields[j].Type.(*schema.Struct); ok && both {
			out[i].kids = presenceOf(st, in)
		}
	}
	return out
}

// readSource takes the change rows into memory, and finds those that count. The error is a [*largeError]
// when they have more bytes than the limit; 0 is none.
func readSource(ctx context.Context, spec Spec, changes Changes, table *schema.Struct, limit int64) (*source, error) {
	s, err := takeSource(ctx, spec, changes, table, limit)
	if err != nil {
		return nil, err
	}
	if err := s.columns(table); err != nil {
		return nil, err
	}
	s.choose()
	return s, nil
}

// noRows yields none.
func noRows(context.Context, [][]string) iter.Seq2[arrow.RecordBatch, error] {
	return func(func(arrow.RecordBatch, error) bool) {}
}

// largeError says that change rows are more than memory may hold: the first of them have so many bytes.
type largeError struct{ rows, bytes int64 }

func (e *largeError) Error() string {
	return fmt.Sprintf("the first %d rows have %d bytes", e.rows, e.bytes)
}

// takeSource takes the change rows into memory, in the columns of a table.
func takeSource(ctx context.Context, spec Spec, changes Changes, table *schema.Struct, limit int64) (*source, error) {
	s := &source{spec: spec, fields: presenceOf(table, without(changes.Schema, spec.Except))}
	shaper, err := delta.NewShaper(table)
	if err != nil {
		return nil, err
	}
	var raw, rows []arrow.RecordBatch
	defer func() {
		for _, r := range slices.Concat(raw, rows) {
			r.Release()
		}
	}()
	conditional := spec.DeleteWhen != "" || spec.UpdateWhen != ""
	var large largeError
	for rec, err := range changes.Rows(ctx, nil) {
		if err != nil {
			return nil, err
		}
		n := rec.NumRows()
		large.rows, large.bytes = large.rows+n, large.bytes+sizeOf(rec)
		switch {
		case n == 0:
			rec.Release()
			continue
		case limit > 0 && large.bytes > limit:
			rec.Release()
			return nil, &large
		}
		r, err := shaper.Shape(ctx, rec)
		if conditional {
			raw = append(raw, rec)
		} else {
			rec.Release()
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	if s.rows, err = concat(shaper.Schema(), rows); err != nil {
		return nil, err
	}
	if conditional {
		if s.raw, err = concat(changes.Schema.Arrow(), raw); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// sizeOf is how many bytes the values of a record have.
func sizeOf(rec arrow.RecordBatch) (n int64) {
	for _, a := range rec.Columns() {
		n += sizeOfArray(a)
	}
	return n
}

func sizeOfArray(a arrow.Array) int64 {
	n := int64(a.Len())
	size := n / 8
	switch a := a.(type) {
	case array.BinaryLike:
		size += 4*n + int64(len(a.ValueBytes()))
	case array.ListLike:
		if size += 4 * n; n > 0 {
			from, _ := a.ValueOffsets(0)
			_, to := a.ValueOffsets(int(n) - 1)
			values := array.NewSlice(a.ListValues(), from, to)
			defer values.Release()
			size += sizeOfArray(values)
		}
	case *array.Struct:
		for i := range a.NumField() {
			size += sizeOfArray(a.Field(i))
		}
	case array.ExtensionArray:
		size += sizeOfArray(a.Storage())
	default:
		if t, ok := a.DataType().(arrow.FixedWidthDataType); ok {
			size += n * int64(t.BitWidth()) / 8
		}
	}
	return size
}

// without is a schema without some of its columns.
func without(s *schema.Struct, names []string) *schema.Struct {
	if len(names) == 0 {
		return s
	}
	out := &schema.Struct{}
	for _, f := range s.Fields {
		if !slices.ContainsFunc(names, func(n string) bool { return schema.Fold(n) == schema.Fold(f.Name) }) {
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// columns finds the columns that the spec names.
func (s *source) columns(table *schema.Struct) error {
	if len(s.spec.Keys) == 0 {
		return fmt.Errorf("a merge needs a key")
	}
	var err error
	if s.met, err = s.spec.met(); err != nil {
		return err
	}
	for i, path := range s.met.keys {
		if e := s.unfit(table, path); e != nil {
			e.Column, e.Problem, e.Setting = s.spec.Keys[i], "is a key, and "+e.Problem, "keys"
			return e
		}
		s.keys = append(s.keys, valuesAt(s.rows, path))
	}
	if s.met.seq != nil {
		if e := s.unfit(table, s.met.seq); e != nil {
			e.Column, e.Problem, e.Setting = s.spec.SequenceBy, "is what orders the changes, and "+e.Problem, "sequenceBy"
			return e
		}
		s.seq = valuesAt(s.rows, s.met.seq)
	}
	if s.spec.History {
		if s.spec.SequenceBy == "" {
			return fmt.Errorf("the history of rows needs a column that orders their changes")
		}
		for _, name := range []string{ValidFrom, ValidTo, IsCurrent} {
			if s.fields[table.IndexFold(name)].has {
				return &ColumnError{Column: name, Problem: "is one that the history of rows fills, and the rows have it too"}
			}
		}
	}
	return nil
}

// unfit says why the field at a path has no values that can be compared, nil when it has.
func (s *source) unfit(table *schema.Struct, path []string) *ColumnError {
	st, fields := table, s.fields
	for n, name := range path {
		i := st.IndexFold(name)
		if i < 0 || fields == nil || !fields[i].has {
			e := &ColumnError{Problem: "the rows do not have it", Missing: true, Name: name}
			for i, f := range st.Fields {
				if fields != nil && fields[i].has {
					e.Known = append(e.Known, f.Name)
				}
			}
			if whole := strings.Join(path, "."); len(path) > 1 && table.IndexFold(whole) >= 0 {
				e.Problem += "; a name with points in it is written in back-ticks: `" + whole + "`"
			}
			return e
		}
		typ := st.Fields[i].Type
		in, isStruct := typ.(*schema.Struct)
		switch {
		case n == len(path)-1 && isStruct && len(in.Fields) > 0:
			return &ColumnError{Problem: "cannot be: it is a struct; name a field in it, such as " + schema.Path(append(slices.Clip(path), in.Fields[0].Name)...)}
		case n == len(path)-1 && !orderable(schema.ArrowType(typ)):
			return &ColumnError{Problem: fmt.Sprintf("cannot be: it is %s", typ)}
		case n < len(path)-1 && !isStruct:
			return &ColumnError{Problem: fmt.Sprintf("cannot be: %s is %s, which has no fields that a row has once", schema.Path(path[:n+1]...), typ)}
		}
		st, fields = in, fields[i].kids
	}
	return nil
}

// choose finds the rows that count.
func (s *source) choose() {
	n := int(s.rows.NumRows())
	s.index = newIndex(s.keys, n)
	chained := s.spec.Duplicates == FailOnDuplicates || s.spec.History
	if chained {
		s.next = make([]int32, n)
	}
	winner := make([]bool, n)
	last := map[int32]int32{} // of a chain, by its first row
	for i := range n {
		if chained {
			s.next[i] = -1
		}
		first, known, null := s.index.put(i)
		switch {
		case null:
			winner[i] = chained // it meets nothing; others set such rows aside before
		case !known:
			winner[i] = true
		case chained:
			winner[i] = true
			end, ok := last[first]
			if !ok {
				end = first
			}
			s.next[end], last[first] = int32(i), int32(i)
		default:
			old := int(first)
			order := 0
			if s.seq != nil {
				order = compare(s.seq, i, s.seq, old)
			}
			if order == 0 && !s.same(i, old) {
				s.conflicting = append(s.conflicting, int32(i))
			}
			if order >= 0 {
				winner[old], winner[i] = false, true
				s.index.set(i)
			}
		}
	}
	s.outcomes = make([]outcome, n)
	for i, w := range winner {
		if w {
			s.order, s.outcomes[i] = append(s.order, int32(i)), waiting
		}
	}
}

// same reports whether two change rows say the same.
func (s *source) same(i, j int) bool {
	for c, f := range s.rows.Schema().Fields() {
		if s.fields[c].has && !s.passive(f.Name) && !equal(s.rows.Column(c), i, s.rows.Column(c), j) {
			return false
		}
	}
	return true
}

func (s *source) passive(name string) bool {
	return slices.ContainsFunc(s.spec.Passive, func(p string) bool { return schema.Fold(p) == schema.Fold(name) })
}

// late reports whether a change row is older than the row of the table with this sequence.
func (s *source) late(row int32, seq arrow.Array, i int) bool {
	return s.seq != nil && seq != nil && compare(s.seq, int(row), seq, i) < 0
}

// keyText shows the key of a row.
func (s *source) keyText(row int32) string {
	var parts []string
	for i, k := range s.keys {
		parts = append(parts, s.spec.Keys[i]+"="+k.ValueStr(int(row)))
	}
	return strings.Join(parts, ", ")
}

// only makes rows all there are, of which it is known what they mean. They have the columns of the table.
func (s *source) only(rows arrow.RecordBatch) {
	s.release()
	*s = source{spec: s.spec, fields: s.fields, met: s.met, rows: rows, outcomes: make([]outcome, rows.NumRows())}
}

func (s *source) release() {
	releaseAll(s.keys)
	releaseAll([]arrow.Array{s.seq})
	s.rows.Release()
	if s.raw != nil {
		s.raw.Release()
	}
}

// concat makes one record of several.
func concat(s *arrow.Schema, recs []arrow.RecordBatch) (arrow.RecordBatch, error) {
	if len(recs) == 1 {
		recs[0].Retain()
		return recs[0], nil
	}
	cols := make([]arrow.Array, s.NumFields())
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	rows := int64(0)
	for _, r := range recs {
		rows += r.NumRows()
	}
	for i, f := range s.Fields() {
		if len(recs) == 0 {
			b := array.NewBuilder(memory.DefaultAllocator, f.Type)
			cols[i] = b.NewArray()
			b.Release()
			continue
		}
		parts := make([]arrow.Array, len(recs))
		for j, r := range recs {
			parts[j] = r.Column(i)
		}
		var err error
		if cols[i], err = array.Concatenate(parts, memory.DefaultAllocator); err != nil {
			return nil, err
		}
	}
	return array.NewRecordBatch(s, cols, rows), nil
}

// Check fails when rows of a schema cannot be merged as the spec says into a table of a schema. The
// table has the columns of the rows already.
func Check(ctx context.Context, spec Spec, rows, table *schema.Struct, sql func(context.Context) (*duck.Engine, error)) error {
	shaper, err := delta.NewShaper(table)
	if err != nil {
		return err
	}
	none, err := concat(rows.Arrow(), nil)
	if err != nil {
		return err
	}
	defer none.Release()
	if shaped, err := shaper.Shape(ctx, none); err == nil { // or else the types do not fit
		shaped.Release()
	} else {
		return err
	}
	s, err := readSource(ctx, spec, Changes{Schema: rows, Rows: noRows}, table, 0)
	if err != nil {
		return err
	}
	defer s.release()
	_, err = newConditions(ctx, spec, Options{SQL: sql}, s, rows, table)
	return err
}
