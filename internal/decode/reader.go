// Package decode reads JSON records into Arrow record batches of a given schema, and loses nothing of
// them: what has no column, or does not fit its column, goes into the rescued data of its row; what
// is no record at all comes out as a [BadRecord].
//
// A [Reader] goes through [File]s and fills batches. It decides nothing about the schema: it reports
// what it [Observed] beside it, and others decide. The same files and options always give the same
// rows.
//
// Source: Auto Loader, "Schema inference", "Rescued data column"; Spark's JSON data source.
package decode

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/schema"
)

// Options say how text becomes rows. It is a value that can travel.
type Options struct {
	// Schema holds the columns to read. Fields of other names are unknown.
	Schema *schema.Struct `json:"schema"`
	// Rescue is the name of the column of rescued data; it follows those of Schema. Empty means none:
	// what does not fit is lost.
	Rescue string `json:"rescue,omitempty"`
	// NoFilePath leaves the path of the file out of the rescued data.
	NoFilePath bool `json:"noFilePath,omitempty"`
	// Corrupt is the name of a STRING column of Schema that takes the text of corrupt records. Empty
	// means that they come out as BadRecords.
	Corrupt string `json:"corrupt,omitempty"`
	// NullRows makes a row of NULLs of each corrupt record for which there is no such column: Spark's
	// behaviour, which loses its text.
	NullRows bool `json:"nullRows,omitempty"`
	// Strict makes a record bad in which a value does not fit its column. With Corrupt its row stays, and
	// has its text too.
	Strict bool `json:"strict,omitempty"`
	// Aside makes bad records come out as BadRecords although there is Corrupt.
	Aside bool `json:"aside,omitempty"`
	// Observe asks for the types of unknown fields; otherwise they are only counted.
	Observe bool `json:"observe,omitempty"`
	// Unwrap is "dynamodb" for records of which the values name their types; empty is plain JSON.
	Unwrap string `json:"unwrap,omitempty"`
	// RecordPath leads from a value of a file to its records: $.Records[*]. Empty: the values are the
	// records.
	RecordPath string `json:"recordPath,omitempty"`
	// RecordKeep are the paths, with dots between names, of members around the records that each record
	// gets in the column [EnvelopeColumn].
	RecordKeep []string `json:"recordKeep,omitempty"`
	// KeepText keeps the text of each record beside its row; see [Batch.Text].
	KeepText bool `json:"keepText,omitempty"`
	// Framing is "lines", "values", "file", or empty for a look at each file.
	Framing string `json:"framing,omitempty"`
	// LineSep divides the records of a file instead of line ends.
	LineSep string `json:"lineSep,omitempty"`
	// Encoding is that of the files, as ParseEncoding returns it; empty is UTF-8. In silt's own profile
	// UTF-16 and UTF-32 are then known by their first bytes, and under compat in whole files.
	Encoding string `json:"encoding,omitempty"`
	// Lenient says which texts are read although they are not JSON, and NonNumeric that NaN and the
	// infinities are numbers.
	Lenient    jsonscan.Leniency `json:"lenient,omitzero"`
	NonNumeric bool              `json:"nonNumeric,omitempty"`
	// MaxNumber and MaxString bound the characters of one number and of one string value; 0 is no bound
	// but that of the record.
	MaxNumber int `json:"maxNumber,omitempty"`
	MaxString int `json:"maxString,omitempty"`
	// DateFormat, TimestampFormat and NTZFormat are the patterns of dates, timestamps and timestamps
	// without a zone; empty means any usual form. DateFallback reads the usual forms beside a pattern.
	DateFormat      string `json:"dateFormat,omitempty"`
	TimestampFormat string `json:"timestampFormat,omitempty"`
	NTZFormat       string `json:"ntzFormat,omitempty"`
	DateFallback    bool   `json:"dateFallback,omitempty"`
	// Locale says how decimals are written in strings; empty is 1,234.5.
	Locale string `json:"locale,omitempty"`
	// IgnoreCase reads a key into a column whose name differs only by case.
	IgnoreCase bool `json:"ignoreCase,omitempty"`
	// Partitions are the names of columns of Schema whose values stand in the folders k=v on the way to
	// a file. A field of the data of such a name is not read.
	Partitions []string `json:"partitions,omitempty"`
	// Variant makes each value of a file, whatever it is, a row of the one column of Schema, a VARIANT.
	Variant bool `json:"variant,omitempty"`
	// Widen asks what columns would have to be for the numbers that do not fit them. Decimals are not
	// rounded then, and a FLOAT takes no number beyond its range.
	Widen bool `json:"widen,omitempty"`
	// The next four say what is observed of a value: a fraction, or a string that holds a number, as a
	// decimal; a string that holds a timestamp as one; a number or a boolean as a string; an empty
	// string as a null.
	PrefersDecimal     bool `json:"prefersDecimal,omitempty"`
	InferTimestamp     bool `json:"inferTimestamp,omitempty"`
	PrimitivesAsString bool `json:"primitivesAsString,omitempty"`
	BlankAsNull        bool `json:"blankAsNull,omitempty"`
	// Compat gives Auto Loader's behaviour where it differs from silt's: numbers may be rounded, of a
	// repeated key only the last value is kept, text behind the first value of a line is ignored.
	Compat bool `json:"compat,omitempty"`
	// TimeZone is the zone of timestamps that have none; empty is UTC.
	TimeZone string `json:"timeZone,omitempty"`
	// MaxRecord is the length of the longest record that is read, in bytes; 0 is 64 MiB.
	MaxRecord int `json:"maxRecord,omitempty"`
	// MaxDepth is the deepest nesting that is read; 0 is 1000.
	MaxDepth int `json:"maxDepth,omitempty"`
	// MaxKeys is the number of different keys that are told apart in one object inside a record; 0 is
	// 1000. What is under more keys is rescued. MaxColumns is the number of columns that the schema may
	// grow to: at least twice as many keys of records are told apart.
	MaxKeys    int `json:"maxKeys,omitempty"`
	MaxColumns int `json:"maxColumns,omitempty"`
	// BatchRows and BatchBytes bound a batch by its rows and by the text it was read from; 0 is 65,536
	// rows and 4 MiB.
	BatchRows  int `json:"batchRows,omitempty"`
	BatchBytes int `json:"batchBytes,omitempty"`
}

const (
	defaultMaxRecord  = 64 << 20
	defaultMaxDepth   = 1000
	defaultBatchRows  = 65_536
	defaultBatchBytes = 4 << 20
	// batchCells bounds a batch by the values that its rows have in all columns, NULLs included, so that
	// many columns that are empty take no more memory than a few that are not.
	batchCells = 4 << 20
	// shownOfTooLong is how much is kept of a record that is too long.
	shownOfTooLong = 4 << 10
)

// ErrTorn means that a file that may still be written ends inside a record.
var ErrTorn = errors.New("the last record is not complete")

// File is a file to read.
type File struct {
	// URI is what the rescued data and positions call the file.
	URI string
	// Key is its path below the source.
	Key string
	// DeferTorn makes a file that ends inside a record fail with ErrTorn, so that it can be read when
	// it is complete. Otherwise what is there of the record is bad.
	DeferTorn bool
	// Base and Lines are the bytes and the line ends before what Open reads, when that is a part of a
	// file of lines; see [CanSplit].
	Base, Lines int64
	// Open starts to read it.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// FileReport is what came of one file.
type FileReport struct {
	URI     string
	Bytes   int64 // as stored
	Text    int64 // bytes, decompressed
	Records int64 // good and bad
	Rows    int64
	Bad     int64
	Rescued int64 // rows with rescued data
	Blank   int64 // rows of NULLs, for text that no column keeps
	// Err says why no row of the file was read. It is a *ContentError, ErrTorn, or an error of Open or
	// of the stream.
	Err error
}

// BadRecord is text that is not a JSON object.
type BadRecord struct {
	Position
	Length int64 // bytes of the text in the file
	Text   []byte
	// Cut means that Text holds only the start.
	Cut    bool
	Reason jsonscan.Reason
	// At is the offset in Text where it stops being JSON.
	At int64
}

// Batch is a number of rows. Everything in it is valid until the next call of Next.
type Batch struct {
	Record arrow.RecordBatch
	// Runs say which rows come from which file, in the order of the rows.
	Runs []Run
	// Places hold, for each row, where its record stands.
	Places []Place
	Bad    []BadRecord

	texts []byte
	ends  []int // of the text of each row
}

// Text returns the text of the record of a row, under [Options.KeepText].
func (b *Batch) Text(row int) []byte {
	start := 0
	if row > 0 {
		start = b.ends[row-1]
	}
	return b.texts[start:b.ends[row]]
}

// Run is a number of successive rows from one file.
type Run struct {
	File int // index of the file in the Reader's list
	Rows int
}

// Place is where the record of a row stands in its file.
type Place struct {
	Line, Offset int64
	Length       int32
}

// A FileError stops a Reader at a file that has left traces already: rows that were returned, or
// observations. The caller throws all results away and starts again without the file.
type FileError struct {
	Index int
	Err   error
}

func (e *FileError) Error() string { return e.Err.Error() }

func (e *FileError) Unwrap() error { return e.Err }

// Reader reads files one after the other. It is used by one goroutine.
type Reader struct {
	opts   Options
	schema *arrow.Schema
	p      parser
	rescue *column
	files  []File

	reports  []FileReport
	in       *input
	buf      []byte // of the last input
	turn     turn
	framing  framing
	assumed  bool // framing is byLine, unless the first line turns out to be no record
	envelope envelope
	file     *FileReport
	line     int64 // of the next record
	counted  int   // offset in the buffer up to which lines are counted, when not by line
	inArray  bool
	spanned  int64 // offset in the file up to which records were looked for that span lines
	last     token
	indent   []byte // of the last value, nil when it did not begin a line

	partitions []partition
	runs       []Run
	places     []Place
	bad        []BadRecord
	texts      []byte
	ends       []int
	batchText  int64 // bytes read into the batch
	batchCells int   // values in lists and maps of the batch
	since      mark  // where the current file began
	// spent is set when the current file cannot be taken back: a batch with rows of it was returned,
	// or something in it was observed.
	spent bool
	// inList is set under compat while a list of records is read, and listMisfit once one of them has a
	// value that does not fit; see [Options.Strict].
	inList, listMisfit bool
}

// mark is a point to which a batch can be taken back.
type mark struct{ rows, runs, places, bad int }

// NewReader returns a Reader of files. Fields of the schema must not be VOID.
func NewReader(files []File, opts Options) (*Reader, error) {
	opts.MaxRecord = cmp.Or(opts.MaxRecord, defaultMaxRecord)
	opts.MaxDepth = cmp.Or(opts.MaxDepth, defaultMaxDepth)
	opts.BatchRows = cmp.Or(opts.BatchRows, defaultBatchRows)
	opts.BatchBytes = cmp.Or(opts.BatchBytes, defaultBatchBytes)
	loc, err := time.LoadLocation(cmp.Or(opts.TimeZone, "UTC"))
	if err != nil {
		return nil, fmt.Errorf("timeZone: %w", err)
	}
	r := &Reader{opts: opts, files: files}
	if opts.RecordPath != "" {
		if r.envelope.steps, err = parsePath(opts.RecordPath); err != nil {
			return nil, err
		}
	}
	out := opts.Schema
	if opts.Rescue != "" {
		r.rescue = newColumn(opts.Rescue, schema.String)
		out = out.Append(schema.Nullable(opts.Rescue, schema.String))
	}
	r.schema = out.Arrow()
	r.p = parser{opts: &r.opts, root: newColumn("", opts.Schema), location: loc}
	if r.p.formats, err = opts.formats(); err != nil {
		return nil, err
	}
	if r.p.separators, err = separatorsOf(opts.Locale); err != nil {
		return nil, err
	}
	if opts.IgnoreCase {
		r.p.root.walk(nil, func(_ []string, c *column) { c.foldKeys() })
	}
	r.opts.BatchRows = min(opts.BatchRows, max(1, batchCells/r.p.root.cells))
	r.p.limits = newLimits(&opts)
	r.p.maxCells = max(opts.MaxRecord/4, batchCells)
	r.p.MaxDepth, r.p.MaxNumber, r.p.MaxString = opts.MaxDepth, opts.MaxNumber, opts.MaxString
	r.p.quickNumber, r.p.quickString = cmp.Or(opts.MaxNumber, math.MaxInt), cmp.Or(opts.MaxString, math.MaxInt)
	if opts.Unwrap != "" {
		r.p.quickNumber = min(r.p.quickNumber, exactDigits)
	}
	r.p.NonNumeric, r.p.isLenient = opts.NonNumeric, opts.Lenient != jsonscan.Leniency{}
	if name, err := ParseEncoding(opts.Encoding); err != nil || name != opts.Encoding {
		return nil, fmt.Errorf("encoding %q is not in the form of ParseEncoding", opts.Encoding)
	}
	r.bindPartitions()
	if i, ok := r.p.root.index[opts.Corrupt]; ok {
		r.p.root.hide(i) // a key of the record must not write into it
	}
	return r, nil
}

// Reports returns what came of each file that has been read.
func (r *Reader) Reports() []FileReport { return r.reports }

// Observed returns what was seen of unknown fields, at each struct of the schema that has some: the
// keys are paths as [schema.Path] makes them, "" for the top level.
func (r *Reader) Observed() map[string]*Observed {
	out := make(map[string]*Observed)
	r.p.root.walk(nil, func(path []string, c *column) {
		if c.seen != nil {
			out[schema.Path(path...)] = c.seen
		}
	})
	return out
}

// Misfits returns, by the path of the column, how many values did not fit it.
func (r *Reader) Misfits() map[string]Rescued {
	out := make(map[string]Rescued)
	r.p.root.walk(nil, func(path []string, c *column) {
		if c.misfit.Count > 0 {
			out[schema.Path(path...)] = c.misfit
		}
	})
	return out
}

// Respelled reports whether a number was met that was written in such a way that inference would have
// made another type of it: 80.0 for a column of whole numbers, "NaN" for one of any.
func (r *Reader) Respelled() bool { return r.p.respelled }

func (c *column) walk(path []string, visit func([]string, *column)) {
	visit(path, c)
	for _, kid := range c.kids {
		kid.walk(append(path[:len(path):len(path)], kid.name), visit)
	}
}

// Next returns the next batch, or io.EOF behind the last file. A batch may have no rows when there are
// bad records. A *FileError leaves the Reader unusable.
func (r *Reader) Next(ctx context.Context) (*Batch, error) {
	r.reset()
	b, err := r.next(ctx)
	if err != nil {
		r.Close()
	}
	return b, err
}

func (r *Reader) next(ctx context.Context) (*Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.in == nil {
			if len(r.reports) == len(r.files) {
				if r.p.root.n > 0 || len(r.bad) > 0 {
					return r.batch(), nil
				}
				return nil, io.EOF
			}
			if err := r.open(ctx); err != nil {
				return nil, err
			}
		}
		if r.in != nil {
			full, err := r.read()
			switch {
			case err != nil:
				if err := r.fail(err); err != nil {
					return nil, err
				}
			case full:
				r.spent = true
				return r.batch(), nil
			default:
				r.finish(nil)
			}
		}
	}
}

// Close gives up the file that is being read, and the last batch.
func (r *Reader) Close() {
	r.closeFile()
	r.reset()
}

func (r *Reader) closeFile() {
	if r.in != nil {
		if r.buf = r.in.buf; len(r.buf) > largeBuffer {
			r.buf = nil
		}
		r.in.close()
		r.in = nil
	}
}

// Follow makes a Reader use the buffer of one that is closed, or at its end, and is not used any more.
func (r *Reader) Follow(before *Reader) { r.buf = before.buf }

// TakeTurns makes a Reader lock l while it holds a record that is longer than a few MiB: from when its
// buffer grows for it until the batch with it is done, which is the next call of Next, or Close. Readers
// that share a lock need the memory for one such record together. A Reader that takes turns must be
// closed unless Next has returned an error.
func (r *Reader) TakeTurns(l sync.Locker) { r.turn.l = l }

// turn is a lock that one of several readers holds.
type turn struct {
	l    sync.Locker // nil: there are no others
	held bool
}

func (t *turn) take() {
	if t.l != nil && !t.held {
		t.l.Lock()
		t.held = true
	}
}

func (t *turn) give() {
	if t.held {
		t.held = false
		t.l.Unlock()
	}
}

// slim returns b, to be used again, unless it was needed for something unusually long.
func slim[E any](b []E) []E {
	var e E
	if cap(b)*int(unsafe.Sizeof(e)) > largeBuffer {
		return nil
	}
	return b[:0]
}

func (r *Reader) reset() {
	r.p.root.reset()
	if r.rescue != nil {
		r.rescue.reset()
	}
	r.p.slim()
	if r.in == nil || len(r.in.buf) <= largeBuffer {
		r.turn.give()
	}
	r.runs, r.places, r.bad, r.batchText, r.since = r.runs[:0], r.places[:0], nil, 0, mark{}
	r.batchCells = 0
	r.texts, r.ends = slim(r.texts), r.ends[:0]
}

func (r *Reader) open(ctx context.Context) error {
	f := r.files[len(r.reports)]
	r.reports = append(r.reports, FileReport{URI: f.URI})
	r.file = &r.reports[len(r.reports)-1]
	r.since = mark{r.p.root.n, len(r.runs), len(r.places), len(r.bad)}
	r.spent = false
	r.p.position = Position{File: f.URI}
	body, err := f.Open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.file.Err = err
		return nil
	}
	r.in, err = openInput(f.URI, body, &r.opts, &r.turn, r.buf)
	if err == nil {
		err = r.in.fill()
	}
	if err == nil {
		r.begin()
		return nil
	}
	return r.fail(err)
}

// begin looks at the start of a file.
func (r *Reader) begin() {
	in := r.in
	if bytes.HasPrefix(in.buf[:in.end], bom) {
		in.pos = len(bom)
	}
	f := r.files[len(r.reports)-1]
	r.line, r.counted, r.inArray, r.last, r.indent = f.Lines+1, in.pos, false, tokenNone, []byte{}
	r.envelope = envelope{steps: r.envelope.steps, want: true}
	r.spanned, r.assumed = 0, false
	switch {
	case len(r.envelope.steps) > 0:
		r.framing = byPath
	case r.opts.LineSep != "" && r.opts.Framing != "file":
		r.framing = bySeparator
	case r.opts.Framing == "lines":
		r.framing = byLine
	case r.opts.Framing == "values":
		r.framing = byValue
	case r.opts.Framing == "file":
		r.framing = byFile
	default:
		if r.assumed = r.mayAssume(in.buf[in.pos:in.end]); r.assumed {
			r.framing = byLine
		} else {
			r.framing = detect(in.buf[in.pos:in.end], in.eof, &r.opts)
		}
	}
	r.p.Space = jsonscan.Anywhere
	if r.framing == byLine {
		r.p.Space = jsonscan.Lines
	}
}

// mayAssume reports whether a text is framed by lines if its first line is read as a record: what detect would
// say then, which reads that line too. In small files it is much of what there is.
func (r *Reader) mayAssume(text []byte) bool {
	strict := !r.opts.Compat && !r.opts.Variant && r.opts.Unwrap == "" && !r.p.isLenient
	return strict && len(text) > 0 && text[0] == '{' && bytes.IndexByte(text, '\n') >= 0
}

var bom = []byte("\xef\xbb\xbf")

// fail ends the current file without its rows. The error returned is not nil when it cannot be taken
// back.
func (r *Reader) fail(err error) error {
	index := len(r.reports) - 1
	r.finish(err)
	if r.spent {
		return &FileError{Index: index, Err: err}
	}
	r.p.rollback(r.since.rows)
	if r.rescue != nil {
		r.rescue.truncate(r.since.rows)
	}
	r.runs, r.bad = r.runs[:r.since.runs], r.bad[:r.since.bad]
	r.unplace(r.since.places)
	*r.file = FileReport{URI: r.file.URI, Bytes: r.file.Bytes, Text: r.file.Text, Err: err}
	return nil
}

func (r *Reader) finish(err error) {
	if r.in != nil {
		r.file.Bytes, r.file.Text = r.in.body.n, r.in.base+int64(r.in.end)
	}
	r.file.Err = err
	r.closeFile()
}

// batch returns the rows collected so far.
func (r *Reader) batch() *Batch {
	n := r.p.root.n
	r.fillPartitions()
	data := r.p.root.build(n).Children()
	columns := make([]arrow.Array, 0, len(data)+1)
	for _, d := range data {
		columns = append(columns, array.MakeFromData(d))
	}
	if r.rescue != nil {
		columns = append(columns, array.MakeFromData(r.rescue.build(n)))
	}
	return &Batch{Record: array.NewRecordBatch(r.schema, columns, int64(n)), Runs: r.runs, Places: r.places, Bad: r.bad,
		texts: r.texts, ends: r.ends}
}

// full reports whether the batch is as large as it should be.
func (r *Reader) full() bool {
	return r.p.root.n >= r.opts.BatchRows || r.batchText >= int64(r.opts.BatchBytes) || len(r.bad) >= r.opts.BatchRows ||
		r.batchCells >= batchCells
}

// read reads records until the batch is full or the file ends.
func (r *Reader) read() (full bool, err error) {
	switch r.framing {
	case byLine:
		return r.readLines()
	case byValue:
		return r.readValues()
	case bySeparator:
		return r.readSeparated()
	case byPath:
		return r.readPath()
	}
	return false, r.readFile()
}

// row completes the row of a good record that stands in the buffer from start to end.
func (r *Reader) row(start, end int) {
	p := &r.p
	if p.settled {
		p.settled = false
		r.spent = true
	}
	if p.misfitted {
		p.misfitted = false
		if r.inList {
			r.listMisfit = true
		} else if r.misfit(start, end); r.opts.Aside {
			return
		}
	}
	if len(p.rescued) > 0 {
		r.rescueRow()
		r.file.Rescued++
	}
	r.file.Records++
	r.file.Rows++
	r.batchText += int64(end - start)
	r.batchCells += p.cells
	r.place(r.in.buf[start:end])
	r.count()
}

// misfit treats the last row, whose record stands in the buffer from start to end, as one of a bad record:
// it gets the text beside its values, or it is taken back.
func (r *Reader) misfit(start, end int) {
	row := r.p.root.n - 1
	if r.opts.Compat {
		start, end = r.piece(end)
	}
	if !r.opts.Aside {
		r.keepCorrupt(row, r.in.buf[start:end])
		return
	}
	r.p.rollback(row)
	r.p.Why, r.p.At = jsonscan.Misfit, r.p.misfitAt
	r.setAside(start, end)
}

// misfitList is misfit for the rows from first on, which are those of a list that ends at end. Spark takes
// the list as one record. Source: JacksonParser, PartialResultArrayException.
func (r *Reader) misfitList(first, end int) {
	start, end := r.piece(end)
	if r.opts.Aside {
		r.p.Why, r.p.At = jsonscan.Misfit, r.p.misfitAt
		r.setAside(start, end)
		return
	}
	for row := first; row < r.p.root.n; row++ {
		r.keepCorrupt(row, r.in.buf[start:end])
	}
}

// piece is where what Spark takes for the text of a record stands in the buffer, when its first value ends
// at end: a line, all between two separators, or all of the file.
func (r *Reader) piece(end int) (int, int) {
	start, stop := r.in.pos, r.p.End
	if bytes.HasPrefix(r.in.buf[start:end], bom) {
		start += len(bom)
	}
	if r.framing == byLine {
		stop = min(r.lineEnd(end), r.in.end)
	}
	return start, start + len(bytes.TrimRight(r.in.buf[start:stop], " \t\r\n"))
}

// place notes where the record of a new row stands.
func (r *Reader) place(text []byte) {
	r.places = append(r.places, Place{Line: r.p.position.Line, Offset: r.p.position.Offset, Length: int32(len(text))})
	if r.opts.KeepText {
		r.texts = append(r.texts, text...)
		r.ends = append(r.ends, len(r.texts))
	}
}

// unplace forgets the places of all rows but the first n.
func (r *Reader) unplace(n int) {
	r.places = r.places[:n]
	if !r.opts.KeepText {
		return
	}
	if r.ends = r.ends[:n]; n == 0 {
		r.texts = r.texts[:0]
	} else {
		r.texts = r.texts[:r.ends[n-1]]
	}
}

// count adds the last row to the run of the current file.
func (r *Reader) count() {
	file := len(r.reports) - 1
	if n := len(r.runs); n > 0 && r.runs[n-1].File == file {
		r.runs[n-1].Rows++
		return
	}
	r.runs = append(r.runs, Run{File: file, Rows: 1})
}

func (r *Reader) rescueRow() {
	c, text := r.rescue, r.p.rescued
	c.fill(r.p.root.n - 1)
	c.data = append(c.data, text[:len(text)-1]...)
	if !r.opts.NoFilePath {
		c.data = append(c.data, `,"`+filePathKey+`":`...)
		c.data = jsonscan.AppendQuoted(c.data, r.file.URI)
	}
	c.data = append(c.data, '}')
	c.offsets = append(c.offsets, int32(len(c.data)))
	c.appended()
}

// at sets the position of the record that starts at i in the buffer.
func (r *Reader) at(i int) {
	r.p.position.Line, r.p.position.Offset = r.line, r.files[len(r.reports)-1].Base+r.in.base+int64(i)
}

// spoil makes the text from start to end of the buffer a bad record, for the reason the scanner gave.
func (r *Reader) spoil(start, end int) {
	if r.corruptRows() {
		text := bytes.TrimRight(r.in.buf[start:end], " \t\r\n")
		r.file.Records++
		r.batchText += int64(len(text))
		r.corruptRow(text)
		return
	}
	r.setAside(start, end)
}

// corruptRows reports whether a bad record is a row.
func (r *Reader) corruptRows() bool { return r.opts.Corrupt != "" && !r.opts.Aside || r.opts.NullRows }

// setAside makes a BadRecord of the text from start to end of the buffer.
func (r *Reader) setAside(start, end int) {
	text := bytes.TrimRight(r.in.buf[start:end], " \t\r\n")
	r.batchText += int64(len(text))
	r.file.Records++
	r.file.Bad++
	r.bad = append(r.bad, BadRecord{
		Position: r.p.position, Length: int64(len(text)), Text: bytes.Clone(text),
		Reason: r.p.Why, At: int64(min(max(r.p.At-start, 0), len(text))),
	})
}

// corruptRow appends a row that has only the text of a corrupt record, or nothing when there is no
// column for it.
func (r *Reader) corruptRow(text []byte) {
	row := r.p.root.n
	r.p.root.appended()
	if !r.keepCorrupt(row, text) {
		r.file.Blank++
	}
	r.file.Rows++
	r.place(text)
	r.count()
}

// keepCorrupt puts the text of a record into the column for corrupt records, and reports whether there is one.
func (r *Reader) keepCorrupt(row int, text []byte) (kept bool) {
	for _, kid := range r.p.root.kids {
		if kid.name == r.opts.Corrupt && r.opts.Corrupt != "" {
			kid.fill(row)
			kept = true
			kid.data = appendValid(kid.data, text)
			kid.offsets = append(kid.offsets, int32(len(kid.data)))
			kid.appended()
		}
	}
	return kept
}

// appendValid appends text with U+FFFD for each part that is not UTF-8: one for a character that is cut
// off, one for each byte that can begin none. Source: Unicode, "U+FFFD Substitution of Maximal
// Subparts", as Java decodes.
func appendValid(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			n = maximalSubpart(text)
		}
		dst = utf8.AppendRune(dst, r)
		text = text[n:]
	}
	return dst
}

// maximalSubpart is the length of the start of a character with which text, which is not UTF-8, begins.
func maximalSubpart(text []byte) int {
	for n := min(3, len(text)); n > 1; n-- {
		if !utf8.FullRune(text[:n]) {
			return n
		}
	}
	return 1
}

// tooLong makes a bad record of the text from the start of the window to where find finds its end, or
// to the end of the file. Only the beginning is kept.
func (r *Reader) tooLong(find func([]byte) int, overlap int) error {
	in := r.in
	r.at(in.pos)
	b := BadRecord{
		Position: r.p.position, Text: bytes.Clone(in.buf[in.pos : in.pos+shownOfTooLong]), Cut: true,
		Reason: jsonscan.TooLong, At: int64(r.opts.MaxRecord),
	}
	n, err := in.skipTo(find, overlap)
	b.Length = n
	r.file.Records++
	if r.corruptRows() {
		r.corruptRow(b.Text)
		return err
	}
	r.file.Bad++
	r.bad = append(r.bad, b)
	return err
}
