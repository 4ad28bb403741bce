package cli

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

// writeRows writes the result of a query in the format of the flags and returns the number of rows.
func (a *app) writeRows(r array.RecordReader) (int64, error) {
	out := bufio.NewWriter(a.stdout)
	names := columnNames(r.Schema())
	var w rowWriter
	switch a.flags.output {
	case "json":
		w = &jsonRows{out: out, names: names, schema: r.Schema()}
	case "jsonl":
		w = &jsonRows{out: out, names: names, schema: r.Schema(), lines: true}
	case "csv":
		w = &csvRows{csv.NewWriter(out)}
	case "plain":
		w = plainRows{out}
	default:
		w = &tableRows{out: out, width: a.width(a.stdout), names: names, numbers: numberColumns(r.Schema())}
	}
	err := w.start(names)
	var rows int64
	for err == nil && r.Next() {
		b := r.RecordBatch()
		for i := range int(b.NumRows()) {
			if err = w.row(b, i); err != nil {
				break
			}
		}
		rows += b.NumRows()
	}
	if err == nil {
		err = r.Err()
	}
	if err == nil {
		err = w.end(rows)
	}
	if flush := out.Flush(); err == nil {
		err = flush
	}
	return rows, err
}

// columnNames returns the names of columns; a name that comes again gets a number, since an object has
// each key once.
func columnNames(s *arrow.Schema) []string {
	seen := map[string]bool{}
	var names []string
	for _, f := range s.Fields() {
		name := f.Name
		for n := 2; seen[name]; n++ {
			name = f.Name + "_" + thousands(n)
		}
		seen[name] = true
		names = append(names, name)
	}
	return names
}

func numberColumns(s *arrow.Schema) []bool {
	var numbers []bool
	for _, f := range s.Fields() {
		numbers = append(numbers, arrow.IsInteger(f.Type.ID()) || arrow.IsFloating(f.Type.ID()) || arrow.IsDecimal(f.Type.ID()))
	}
	return numbers
}

// rowWriter writes rows in one format.
type rowWriter interface {
	start(names []string) error
	row(b arrow.RecordBatch, i int) error
	end(rows int64) error
}

// jsonRows writes objects: as lines, or in one object with the columns' types.
type jsonRows struct {
	out    *bufio.Writer
	names  []string
	schema *arrow.Schema
	lines  bool
	buf    []byte
	some   bool
}

func (w *jsonRows) start([]string) error {
	if w.lines {
		return nil
	}
	w.buf = append(w.buf[:0], `{"schema":"silt.query/v1","columns":[`...)
	for i, name := range w.names {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = appendString(append(w.buf, `{"name":`...), name)
		w.buf = appendString(append(w.buf, `,"type":`...), fieldTypeText(w.schema.Field(i)))
		w.buf = append(w.buf, '}')
	}
	_, err := w.out.Write(append(w.buf, `],"rows":[`...))
	return err
}

func (w *jsonRows) row(b arrow.RecordBatch, i int) error {
	w.buf = w.buf[:0]
	if !w.lines {
		if w.some {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(w.buf, '\n')
	}
	w.some = true
	w.buf = append(w.buf, '{')
	for c, name := range w.names {
		if c > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(appendString(w.buf, name), ':')
		w.buf = encoding{}.value(w.buf, w.schema.Field(c), b.Column(c), i)
	}
	w.buf = append(w.buf, '}')
	if w.lines {
		w.buf = append(w.buf, '\n')
	}
	_, err := w.out.Write(w.buf)
	return err
}

func (w *jsonRows) end(int64) error {
	if w.lines {
		return nil
	}
	_, err := w.out.WriteString("],\"exit_code\":0}\n")
	return err
}

// csvRows writes RFC 4180 with a header.
type csvRows struct{ w *csv.Writer }

func (w *csvRows) start(names []string) error { return w.w.Write(names) }

func (w *csvRows) row(b arrow.RecordBatch, i int) error { return w.w.Write(cells(b, i, encoding{})) }

func (w *csvRows) end(int64) error {
	w.w.Flush()
	return w.w.Error()
}

func cells(b arrow.RecordBatch, i int, e encoding) []string {
	row := make([]string, b.NumCols())
	for c, column := range b.Columns() {
		row[c] = string(e.text(nil, column, i))
	}
	return row
}

// plainRows writes values between tabs, without a header; tabs and line breaks in values become
// escapes.
type plainRows struct{ out *bufio.Writer }

var plainEscapes = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

func (w plainRows) start([]string) error { return nil }

func (w plainRows) row(b arrow.RecordBatch, i int) error {
	row := cells(b, i, encoding{})
	for c := range row {
		row[c] = plainEscapes.Replace(row[c])
	}
	_, err := w.out.WriteString(strings.Join(row, "\t") + "\n")
	return err
}

func (w plainRows) end(int64) error { return nil }

// tableRows writes a table for people, or one block a row when the table is wider than the terminal.
// The first rows decide on the widths of columns.
type tableRows struct {
	out     *bufio.Writer
	width   int // of the terminal; 0: there is none
	names   []string
	numbers []bool
	held    [][]string
	number  int64
	table   *textTable
}

const (
	heldRows = 1000
	// widest is the number of characters a value may have in a table. Other formats show all of it.
	widest = 80
)

func (w *tableRows) start([]string) error { return nil }

func (w *tableRows) row(b arrow.RecordBatch, i int) error {
	row := make([]string, b.NumCols())
	for c, column := range b.Columns() {
		if column.IsNull(i) {
			row[c] = "NULL"
			continue
		}
		row[c] = string(encoding{bare: true}.text(nil, column, i))
	}
	if w.held = append(w.held, row); len(w.held) < heldRows {
		return nil
	}
	return w.release()
}

func (w *tableRows) release() error {
	if w.table == nil {
		w.table = &textTable{header: w.names, right: w.numbers}
		for _, row := range w.held {
			w.table.measure(row)
		}
		w.table.measure(w.names)
		if w.width == 0 || w.table.total() <= w.width {
			w.table.line(w.out, w.names)
		}
	}
	for _, row := range w.held {
		w.number++
		if w.width == 0 || w.table.total() <= w.width {
			w.table.line(w.out, row)
			continue
		}
		w.block(row)
	}
	w.held = w.held[:0]
	return nil
}

// block writes a row as one line a column.
func (w *tableRows) block(row []string) {
	label := 0
	for _, n := range w.names {
		label = max(label, utf8.RuneCountInString(n))
	}
	fmt.Fprintf(w.out, "-- row %s\n", thousands(w.number))
	for c, cell := range row {
		pad := strings.Repeat(" ", label-utf8.RuneCountInString(w.names[c]))
		fmt.Fprintf(w.out, "%s%s  %s\n", w.names[c], pad, cut(cell, max(20, w.width-label-2)))
	}
}

func (w *tableRows) end(int64) error { return w.release() }

// textTable writes columns of text. Values are cut at widest characters.
type textTable struct {
	header []string
	right  []bool // columns that end at the same place
	widths []int
	rows   [][]string
}

func (t *textTable) measure(row []string) {
	for len(t.widths) < len(row) {
		t.widths = append(t.widths, 0)
	}
	for c, cell := range row {
		t.widths[c] = max(t.widths[c], min(widest, utf8.RuneCountInString(cell)))
	}
}

func (t *textTable) total() int {
	total := 2 * (len(t.widths) - 1)
	for _, w := range t.widths {
		total += w
	}
	return total
}

func (t *textTable) add(cells ...string) { t.rows = append(t.rows, cells) }

// line writes one row.
func (t *textTable) line(out io.Writer, row []string) {
	var b strings.Builder
	for c, cell := range row {
		cell = cut(cell, widest)
		pad := strings.Repeat(" ", max(0, t.widths[c]-utf8.RuneCountInString(cell)))
		if c > 0 {
			b.WriteString("  ")
		}
		if c < len(t.right) && t.right[c] {
			b.WriteString(pad + cell)
			continue
		}
		b.WriteString(cell)
		if c < len(row)-1 {
			b.WriteString(pad)
		}
	}
	fmt.Fprintln(out, strings.TrimRight(b.String(), " "))
}

// write writes the header and all rows.
func (t *textTable) write(out io.Writer) {
	t.measure(t.header)
	for _, row := range t.rows {
		t.measure(row)
	}
	t.line(out, t.header)
	for _, row := range t.rows {
		t.line(out, row)
	}
}

// fieldTypeText is typeText for the values of a field, and JSON for text that is JSON.
func fieldTypeText(f arrow.Field) string {
	if schema.HoldsJSON(f) {
		return "JSON"
	}
	return typeText(f.Type)
}

// typeText is a column's type in the words of DDL.
func typeText(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return "DECIMAL(" + thousands(int(t.Precision)) + "," + thousands(int(t.Scale)) + ")"
	case *arrow.TimestampType:
		if t.TimeZone == "" {
			return "TIMESTAMP_NTZ"
		}
		return "TIMESTAMP"
	case *arrow.StructType:
		var fields []string
		for _, f := range t.Fields() {
			fields = append(fields, f.Name+": "+fieldTypeText(f))
		}
		return "STRUCT<" + strings.Join(fields, ", ") + ">"
	case *arrow.MapType:
		return "MAP<" + typeText(t.KeyType()) + ", " + fieldTypeText(t.ItemField()) + ">"
	case arrow.ListLikeType:
		return "ARRAY<" + fieldTypeText(t.ElemField()) + ">"
	}
	if name, ok := typeNames[t.ID()]; ok {
		return name
	}
	return strings.ToUpper(t.Name())
}

var typeNames = map[arrow.Type]string{
	arrow.BOOL: "BOOLEAN", arrow.INT8: "TINYINT", arrow.INT16: "SMALLINT", arrow.INT32: "INT", arrow.INT64: "BIGINT",
	arrow.FLOAT32: "FLOAT", arrow.FLOAT64: "DOUBLE", arrow.STRING: "STRING", arrow.LARGE_STRING: "STRING", arrow.STRING_VIEW: "STRING",
	arrow.BINARY: "BINARY", arrow.LARGE_BINARY: "BINARY", arrow.BINARY_VIEW: "BINARY", arrow.DATE32: "DATE",
}

// body writes rows without a header.
func (t *textTable) body(out io.Writer) {
	for _, row := range t.rows {
		t.measure(row)
	}
	for _, row := range t.rows {
		t.line(out, row)
	}
}
