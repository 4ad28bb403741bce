package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// ChangeOptions say how rows are deleted or updated.
type ChangeOptions struct {
	// DryRun finds the files and counts the rows, and writes nothing.
	DryRun bool
	// Evaluator evaluates the SQL of assignments, constraints and generated columns; nil refuses what
	// needs it.
	Evaluator Evaluator
	// UserMetadata goes into the history.
	UserMetadata string
	// Predicate is what the history shows as the condition; empty: where, as far as it can be written.
	Predicate string
	// Allocator is where Arrow memory comes from; nil is Go's.
	Allocator memory.Allocator
}

// ChangeMetrics says what a deletion or an update did.
type ChangeMetrics struct {
	NumRemovedFiles, NumAddedFiles       int64
	NumDeletedRows, NumUpdatedRows       int64
	NumCopiedRows                        int64 // rows that were written again as they were
	NumDeletionVectorsAdded              int64 // on files that had none
	NumDeletionVectorsUpdated            int64
	NumDeletionVectorsRemoved            int64 // with their files
	NumAddedChangeFiles                  int64
	NumRemovedBytes, NumAddedBytes       int64
	ExecutionTime, ScanTime, RewriteTime time.Duration
}

// Assignment gives a column of a row a value.
type Assignment struct {
	// Column is a top-level column.
	Column string
	// SQL is the value as an expression over the row as it was; when empty, Value is: as in a [Compare],
	// nil for null.
	SQL   string
	Value any
}

// DeleteRows deletes the rows for which where is true, nil for all of them, as the table's next version:
// files of which no row is left go, others get a deletion vector where the table allows it, or are written
// again without the rows. When no row is meant, nothing is committed.
//
// A change of the rows meanwhile by somebody else is a [*ConflictError], and the same call on the table's
// newest version does it anew.
func (s *Snapshot) DeleteRows(ctx context.Context, where Predicate, o ChangeOptions) (*Snapshot, ChangeMetrics, error) {
	return s.changeRows(ctx, "DELETE", where, nil, o)
}

// UpdateRows gives columns of the rows for which where is true, nil for all of them, other values, as the
// table's next version. Otherwise it does as [Snapshot.DeleteRows].
func (s *Snapshot) UpdateRows(ctx context.Context, where Predicate, set []Assignment, o ChangeOptions) (*Snapshot, ChangeMetrics, error) {
	if len(set) == 0 {
		return nil, ChangeMetrics{}, errors.New("update: no column gets a value")
	}
	return s.changeRows(ctx, "UPDATE", where, set, o)
}

func (s *Snapshot) changeRows(ctx context.Context, operation string, where Predicate, set []Assignment, o ChangeOptions) (*Snapshot, ChangeMetrics, error) {
	x := &rowChange{s: s, o: o, started: time.Now()}
	if x.o.Allocator == nil {
		x.o.Allocator = memory.DefaultAllocator
	}
	next, err := x.run(ctx, operation, where, set)
	if err != nil {
		return nil, x.m, fmt.Errorf("%s: %w", strings.ToLower(operation), err)
	}
	return next, x.m, nil
}

// rowChange is one deletion or update.
type rowChange struct {
	s       *Snapshot
	o       ChangeOptions
	started time.Time
	m       ChangeMetrics

	tx      *Transaction
	scan    *Scan         // of all columns, with row ids where rows are tracked
	where   condition     // nil is true
	set     *assignments  // nil deletes
	rows    *DataWriter   // nil until there is something to write
	changes *ChangeWriter // likewise
}

func (x *rowChange) run(ctx context.Context, operation string, where Predicate, set []Assignment) (*Snapshot, error) {
	s := x.s
	x.tx = s.Begin(operation)
	if set == nil {
		x.tx.onlyMoves = true
		if err := s.protocol.checkMaintain(); err != nil {
			return nil, err
		}
	}
	wc := x.tx.WriteContext()
	if err := wc.Err(); err != nil {
		return nil, err
	}
	if set != nil {
		if len(wc.NeedsSQL) > 0 && x.o.Evaluator == nil {
			return nil, &UnsupportedError{"write", wc.NeedsSQL}
		}
		var err error
		if x.set, err = newAssignments(ctx, s.schema, set, x.o); err != nil {
			return nil, err
		}
		defer x.set.close()
	}
	defer x.abort(ctx)
	if err := x.files(ctx, where, wc); err != nil {
		return nil, err
	}
	if x.o.DryRun || x.m.NumDeletedRows+x.m.NumUpdatedRows == 0 {
		return s, nil
	}
	if err := x.close(ctx); err != nil {
		return nil, err
	}
	x.m.ExecutionTime = time.Since(x.started)
	x.tx.SetCommitInfo(CommitDetails{Parameters: map[string]string{"predicate": x.shown(where)}, Metrics: x.m.texts(operation), UserMetadata: x.o.UserMetadata})
	x.tx.KeepsRowIDs()
	next, err := x.tx.Commit(ctx, nil)
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		x.rows, x.changes = nil, nil // the files may be in the table
	}
	return next, err
}

// shown is the predicate as the history shows it: a list of conditions, as JSON.
func (x *rowChange) shown(where Predicate) string {
	text := x.o.Predicate
	if text == "" {
		text = predicateText(where)
	}
	return "[" + string(quoteJSON(text)) + "]"
}

// files goes through the files that may have rows that are meant.
func (x *rowChange) files(ctx context.Context, where Predicate, wc WriteContext) error {
	s := x.s
	if s.metadata.isTrue(propAppendOnly) {
		return fmt.Errorf("the table is append-only (%s)", propAppendOnly)
	}
	if err := x.tx.Read(where); err != nil {
		return err
	}
	var err error
	if x.where, err = s.binder().predicate(where); err != nil {
		return err
	}
	x.scan = s.Scan(ScanOptions{RowIDs: s.TracksRows(), Allocator: x.o.Allocator})
	skip := s.Scan(ScanOptions{Where: where})
	for add, err := range skip.Files(ctx) {
		if err != nil {
			return err
		}
		if err := x.file(ctx, add, wc); err != nil {
			return fmt.Errorf("data file %s: %w", add.Path, err)
		}
	}
	return nil
}

// file deletes or updates the rows of one data file.
func (x *rowChange) file(ctx context.Context, add *Add, wc WriteContext) error {
	began := time.Now()
	meant, total, err := x.find(ctx, add)
	x.m.ScanTime += time.Since(began)
	n := int64(meant.GetCardinality())
	if err != nil || n == 0 {
		return err
	}
	if x.set == nil {
		x.m.NumDeletedRows += n
	} else {
		x.m.NumUpdatedRows += n
	}
	vectors := x.s.WritesDeletionVectors()
	copies := !vectors && n < total
	switch {
	case vectors && n < total && add.DeletionVector == nil:
		x.m.NumDeletionVectorsAdded++
	case vectors && n < total:
		x.m.NumDeletionVectorsUpdated++
	default:
		x.m.NumRemovedFiles++
		x.m.NumRemovedBytes += add.Size
		if add.DeletionVector != nil {
			x.m.NumDeletionVectorsRemoved++
		}
	}
	if copies {
		x.m.NumCopiedRows += total - n
	}
	if x.o.DryRun {
		return nil
	}
	began = time.Now()
	defer func() { x.m.RewriteTime += time.Since(began) }()
	// Where whole files go and nothing else, the removes say all that a change feed says.
	if x.set != nil || copies || x.where != nil && x.s.ChangeDataFeed() {
		if err := x.rewrite(ctx, add, wc, meant, copies); err != nil {
			return err
		}
	}
	if !vectors || n == total {
		x.tx.Remove(add.Remove(time.Now(), true))
		return nil
	}
	_, err = x.tx.Delete(ctx, add, meant)
	return err
}

// find returns the places of the rows that are meant, and the number of rows that are not deleted.
func (x *rowChange) find(ctx context.Context, add *Add) (*roaring64.Bitmap, int64, error) {
	meant := roaring64.New()
	n, counted := add.records()
	if add.DeletionVector != nil {
		n -= add.DeletionVector.Cardinality
	}
	whole := x.where == nil || counted && x.where.alwaysHolds(&fileSpans{add: add, wide: x.s.protocol.widening()})
	if whole && counted {
		total, _ := add.records()
		meant.AddRange(0, uint64(total))
		if add.DeletionVector != nil {
			gone, err := x.s.readDeletionVector(ctx, add.DeletionVector)
			if err != nil {
				return meant, 0, err
			}
			meant.AndNot(gone)
		}
		return meant, n, nil
	}
	var columns []string
	if x.where == nil {
		columns = append(columns, x.s.schema.Fields[0].Name)
	} else {
		x.where.leaves(func(l *leaf) {
			if !slices.Contains(columns, l.path[0]) {
				columns = append(columns, l.path[0])
			}
		})
	}
	if len(columns) == 0 { // a predicate without one is true or false
		columns = append(columns, x.s.schema.Fields[0].Name)
	}
	sc := x.s.Scan(ScanOptions{Columns: columns, Allocator: x.o.Allocator})
	total := int64(0)
	for rows, err := range sc.File(ctx, add) {
		if err != nil {
			return meant, 0, err
		}
		is, err := x.marks(rows)
		total += rows.NumRows()
		for i, m := range is {
			if m {
				meant.Add(uint64(rows.Place(i)))
			}
		}
		rows.Release()
		if err != nil {
			return meant, 0, err
		}
	}
	if counted && total != n {
		return meant, 0, fmt.Errorf("it has %d rows, and the log says %d", total, n)
	}
	return meant, total, nil
}

// marks says of each row whether it is meant.
func (x *rowChange) marks(rows FileRows) ([]bool, error) {
	is := make([]bool, rows.NumRows())
	if x.where == nil {
		for i := range is {
			is[i] = true
		}
		return is, nil
	}
	return is, x.where.mark(rows.RecordBatch, is)
}

// rewrite writes what a file's rows become, and how they have changed.
func (x *rowChange) rewrite(ctx context.Context, add *Add, wc WriteContext, meant *roaring64.Bitmap, copies bool) error {
	for rows, err := range x.scan.File(ctx, add) {
		if err != nil {
			return err
		}
		var yes, no []int64
		for i := range int(rows.NumRows()) {
			if meant.Contains(uint64(rows.Place(i))) {
				yes = append(yes, int64(i))
			} else {
				no = append(no, int64(i))
			}
		}
		err = x.rewriteRows(ctx, wc, rows.RecordBatch, yes, no, copies)
		rows.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *rowChange) rewriteRows(ctx context.Context, wc WriteContext, rec arrow.RecordBatch, yes, no []int64, copies bool) error {
	if copies && len(no) > 0 {
		kept, err := takeRows(ctx, x.o.Allocator, rec, no)
		if err != nil {
			return err
		}
		err = x.write(ctx, wc, kept)
		kept.Release()
		if err != nil {
			return err
		}
	}
	if len(yes) == 0 {
		return nil
	}
	old, err := takeRows(ctx, x.o.Allocator, rec, yes)
	if err != nil {
		return err
	}
	defer old.Release()
	if x.set == nil {
		return x.change(ctx, wc, old, ChangeDelete)
	}
	updated, err := x.set.apply(ctx, x.o.Allocator, firstColumns(old, len(x.s.schema.Fields)), old)
	if err != nil {
		return err
	}
	defer updated.Release()
	if err := x.change(ctx, wc, old, ChangeUpdatePreimage); err != nil {
		return err
	}
	if err := x.change(ctx, wc, updated, ChangeUpdatePostimage); err != nil {
		return err
	}
	return x.write(ctx, wc, updated)
}

// write writes rows of the table, which have their ids where rows are tracked.
func (x *rowChange) write(ctx context.Context, wc WriteContext, rec arrow.RecordBatch) (err error) {
	if x.rows == nil {
		wc.Schema = withoutMetadata(wc.Schema, metaIdentity) // rows keep their numbers
		o := DataWriterOptions{RowIDs: x.s.TracksRows(), Evaluator: x.o.Evaluator, Allocator: x.o.Allocator}
		if x.rows, err = NewDataWriter(ctx, x.s.store, wc, o); err != nil {
			return err
		}
	}
	return x.rows.Write(ctx, rec)
}

// withoutMetadata returns the schema without some of what its columns say of themselves.
func withoutMetadata(s *schema.Struct, keys ...string) *schema.Struct {
	out := &schema.Struct{Fields: slices.Clone(s.Fields)}
	for i := range out.Fields {
		out.Fields[i].Metadata = withoutKeys(out.Fields[i].Metadata, keys...)
	}
	return out
}

func (x *rowChange) change(ctx context.Context, wc WriteContext, rec arrow.RecordBatch, kind ChangeType) (err error) {
	if !x.s.ChangeDataFeed() {
		return nil
	}
	if x.changes == nil {
		if x.changes, err = NewChangeWriter(ctx, x.s.store, wc, DataWriterOptions{Allocator: x.o.Allocator}); err != nil {
			return err
		}
	}
	plain := firstColumns(rec, len(x.s.schema.Fields))
	defer plain.Release()
	return x.changes.Write(ctx, plain, kind)
}

// close finishes the files and adds them to the transaction.
func (x *rowChange) close(ctx context.Context) error {
	if x.rows != nil {
		adds, err := x.rows.Close(ctx)
		if err != nil {
			return err
		}
		for _, a := range adds {
			x.m.NumAddedFiles++
			x.m.NumAddedBytes += a.Size
		}
		x.tx.Add(adds...)
	}
	if x.changes == nil {
		return nil
	}
	files, err := x.changes.Close(ctx)
	x.m.NumAddedChangeFiles = int64(len(files))
	x.tx.AddChanges(files...)
	return err
}

// abort deletes what was written, unless it may be in the table.
func (x *rowChange) abort(ctx context.Context) {
	discard := func(w *DataWriter) {
		w.Abort(ctx)
		for _, a := range w.adds {
			if key, err := decodePath(a.Path); err == nil {
				_ = x.s.store.Delete(context.WithoutCancel(ctx), key, objstore.Cond{})
			}
		}
	}
	if x.rows != nil {
		discard(x.rows)
	}
	if x.changes != nil {
		discard(x.changes.w)
	}
}

// texts are the metrics under Spark's names.
func (m ChangeMetrics) texts(operation string) map[string]string {
	counts := map[string]int64{
		"numRemovedFiles": m.NumRemovedFiles, "numAddedFiles": m.NumAddedFiles, "numCopiedRows": m.NumCopiedRows,
		"numDeletionVectorsAdded": m.NumDeletionVectorsAdded, "numDeletionVectorsUpdated": m.NumDeletionVectorsUpdated,
		"numDeletionVectorsRemoved": m.NumDeletionVectorsRemoved, "numAddedChangeFiles": m.NumAddedChangeFiles,
		"numRemovedBytes": m.NumRemovedBytes, "numAddedBytes": m.NumAddedBytes, "executionTimeMs": m.ExecutionTime.Milliseconds(),
		"scanTimeMs": m.ScanTime.Milliseconds(), "rewriteTimeMs": m.RewriteTime.Milliseconds(),
	}
	if operation == "DELETE" {
		counts["numDeletedRows"] = m.NumDeletedRows
	} else {
		counts["numUpdatedRows"] = m.NumUpdatedRows
	}
	return countTexts(counts)
}

// assignments compute what rows become.
type assignments struct {
	schema *schema.Struct
	places []int // of the columns that get a value
	values []scalar.Scalar
	sql    BoundExpressions // for those that have no value here
	bySQL  []int            // indexes into places

	made  BoundExpressions // of generated columns that get no value, over the rows as they become
	makes []int            // their places
	input []int            // the places of the columns that are not generated
}

func newAssignments(ctx context.Context, s *schema.Struct, set []Assignment, o ChangeOptions) (*assignments, error) {
	a := &assignments{schema: s, values: make([]scalar.Scalar, len(set))}
	var list []Expression
	for k, x := range set {
		i := s.IndexFold(x.Column)
		if i < 0 {
			return nil, fmt.Errorf("the table has no column %s", schema.Quote(x.Column))
		}
		f := s.Fields[i]
		if slices.Contains(a.places, i) {
			return nil, fmt.Errorf("column %s gets two values", schema.Quote(f.Name))
		}
		if f.Metadata[metaIdentity] != nil {
			return nil, &IdentityError{f.Name}
		}
		a.places = append(a.places, i)
		if x.SQL != "" {
			a.bySQL, list = append(a.bySQL, k), append(list, Expression{x.SQL, f.Type})
			continue
		}
		var err error
		if a.values[k], err = valueScalar(f, x.Value); err != nil {
			return nil, err
		}
	}
	if len(list) > 0 {
		if o.Evaluator == nil {
			return nil, errors.New("values in SQL need an Evaluator")
		}
		var err error
		if a.sql, err = o.Evaluator.Bind(ctx, s, list); err != nil {
			return nil, err
		}
	}
	return a, a.generate(ctx, s, o)
}

func (a *assignments) generate(ctx context.Context, s *schema.Struct, o ChangeOptions) (err error) {
	var list []Expression
	input := &schema.Struct{}
	for i, f := range s.Fields {
		sql, ok := f.MetadataString(metaGenerated)
		switch {
		case !ok:
			a.input, input.Fields = append(a.input, i), append(input.Fields, f)
		case !slices.Contains(a.places, i):
			a.makes, list = append(a.makes, i), append(list, Expression{sql, f.Type})
		}
	}
	if len(list) > 0 {
		a.made, err = o.Evaluator.Bind(ctx, input, list)
	}
	return err
}

func (a *assignments) close() {
	for _, b := range []BoundExpressions{a.sql, a.made} {
		if b != nil {
			b.Close()
		}
	}
}

// valueScalar returns a value of Go as one of the column's type; nil is null.
func valueScalar(f schema.Field, v any) (scalar.Scalar, error) {
	if v == nil {
		return nil, nil
	}
	c := classOf(f.Type)
	x, err := newLiteral(f.Type, c, v)
	if err == nil && (x.over != 0 || c == classNone) {
		err = fmt.Errorf("%v (%T) is no value of it", v, v)
	}
	if err != nil {
		return nil, fmt.Errorf("column %s is %s: %w", schema.Quote(f.Name), f.Type, err)
	}
	text := x.s
	switch t := f.Type.(type) {
	case schema.Decimal:
		if text = string(decimalText(x.d, int32(t.Scale))); !x.d.FitsInPrecision(int32(t.Precision)) {
			return nil, fmt.Errorf("column %s is %s: %s does not fit it", schema.Quote(f.Name), t, text)
		}
	case schema.Primitive:
		switch t {
		case schema.Boolean:
			text = strconv.FormatBool(x.i != 0)
		case schema.Float, schema.Double:
			text = floatText(x.f, 64)
		case schema.Date:
			return scalar.NewDate32Scalar(arrow.Date32(x.i)), nil
		case schema.Timestamp, schema.TimestampNTZ:
			return scalar.NewTimestampScalar(arrow.Timestamp(x.i), schema.ArrowType(t)), nil
		case schema.Byte, schema.Short, schema.Integer, schema.Long:
			text = strconv.FormatInt(x.i, 10)
		case schema.Binary:
			return scalar.NewBinaryScalar(memory.NewBufferBytes([]byte(x.s)), schema.ArrowType(t)), nil
		}
	}
	return parseScalar(f.Type, text)
}

// apply returns the rows as they become. Plain, which it releases, are the rows without what stands behind
// the table's columns in rec.
func (a *assignments) apply(ctx context.Context, mem memory.Allocator, plain, rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	defer plain.Release()
	n := int(rec.NumRows())
	var computed []arrow.Array
	if a.sql != nil {
		var err error
		if computed, err = a.sql.Eval(ctx, plain); err != nil {
			return nil, err
		}
		defer releaseArrays(computed)
	}
	columns := slices.Clone(rec.Columns())
	for k, i := range a.places {
		if at := slices.Index(a.bySQL, k); at >= 0 {
			columns[i] = computed[at]
			continue
		}
		if a.values[k] == nil {
			columns[i] = nulls(mem, rec.Schema().Field(i).Type, n)
		} else {
			var err error
			if columns[i], err = repeatScalar(mem, a.values[k], n); err != nil {
				return nil, err
			}
		}
		defer columns[i].Release()
	}
	if a.made != nil {
		made, err := a.make(ctx, rec.Schema(), columns, int64(n))
		if err != nil {
			return nil, err
		}
		defer releaseArrays(made)
		for k, i := range a.makes {
			columns[i] = made[k]
		}
	}
	fields := slices.Clone(rec.Schema().Fields())
	for i := range fields {
		fields[i].Nullable = true
	}
	out := array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(n))
	if len(columns) == len(a.schema.Fields) {
		return out, nil
	}
	defer out.Release()
	return changedRows(mem, out), nil
}

// make computes the generated columns.
func (a *assignments) make(ctx context.Context, s *arrow.Schema, columns []arrow.Array, n int64) ([]arrow.Array, error) {
	var fields []arrow.Field
	var input []arrow.Array
	for _, i := range a.input {
		fields, input = append(fields, s.Field(i)), append(input, columns[i])
	}
	rec := array.NewRecordBatch(arrow.NewSchema(fields, nil), input, n)
	defer rec.Release()
	return a.made.Eval(ctx, rec)
}

// predicateText writes a predicate as SQL.
func predicateText(p Predicate) string {
	list := func(parts []Predicate, word, none string) string {
		var texts []string
		for _, q := range parts {
			texts = append(texts, predicateText(q))
		}
		if len(texts) == 0 {
			return none
		}
		return "(" + strings.Join(texts, " "+word+" ") + ")"
	}
	switch p := p.(type) {
	case nil:
		return "true"
	case Compare:
		return schema.Path(p.Column...) + " " + p.Op.String() + " " + valueText(p.Value)
	case In:
		var texts []string
		for i, v := range p.Values {
			if i == 20 {
				texts = append(texts, fmt.Sprintf("… %d more", len(p.Values)-i))
				break
			}
			texts = append(texts, valueText(v))
		}
		return schema.Path(p.Column...) + " IN (" + strings.Join(texts, ", ") + ")"
	case IsNull:
		return schema.Path(p.Column...) + " IS NULL"
	case And:
		return list(p, "AND", "true")
	case Or:
		return list(p, "OR", "false")
	case Not:
		return "NOT " + predicateText(p.Predicate)
	}
	return fmt.Sprint(p)
}

func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case []byte:
		return fmt.Sprintf("X'%X'", v)
	case time.Time:
		return "'" + v.Format(time.RFC3339Nano) + "'"
	}
	return fmt.Sprint(v)
}
