package silt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Files of JSON that are merged by hand are read by the types that the table has, as those of a pipeline
// are: a time in a STRING column stays the text that was written. There is no rescued data and no quarantine
// here, so that what no column can hold is an error.

// jsonNames and codecNames are the ends of the names of files of JSON.
var jsonNames, codecNames = []string{".json", ".jsonl", ".ndjson"}, []string{".gz", ".gzip", ".zst", ".bz2"}

// isJSON reports whether a name is that of a file of JSON, or a glob of such names.
func isJSON(name string) bool {
	name = strings.ToLower(name)
	if end := path.Ext(name); slices.Contains(codecNames, end) {
		name = strings.TrimSuffix(name, end)
	}
	return slices.Contains(jsonNames, path.Ext(name))
}

// jsonRows reads the rows of a file of JSON, or of those that a glob names.
func jsonRows(ctx context.Context, cfg Config, location string) (*merge.Changes, func(), error) {
	_, s, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return nil, nil, err
	}
	files, err := jsonFiles(ctx, cfg, location)
	if err != nil {
		return nil, nil, err
	}
	set, _ := cfg.parse() // what is wrong is told elsewhere
	in := &jsonReader{files: files, opts: set.decode}
	in.opts.Compat, in.opts.Variant, in.opts.Strict, in.opts.NullRows, in.opts.Aside = false, false, false, false, false
	in.opts.Partitions, in.opts.Corrupt, in.opts.KeepText, in.opts.Widen = nil, "", false, false
	in.opts.NoFilePath, in.opts.IgnoreCase, in.opts.Observe = true, true, true

	in.opts.Schema = &schema.Struct{}
	seen, err := in.read(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	all := seen[""]
	if all == nil {
		return nil, nil, &MergeError{fmt.Errorf("no record of %s has a field", location)}
	}
	rules := evolve.Options{Table: s.Schema(), TypesFixed: true, Hints: known(nil, all, s.Schema()),
		StringsOnly: set.evolution.StringsOnly, MaxColumns: set.evolution.MaxColumns, MaxKeys: set.evolution.MaxKeys}
	if mode := s.Metadata().Configuration["delta.columnMapping.mode"]; mode != "name" && mode != "id" {
		rules.ValidName = delta.ValidName
	}
	in.opts.Schema = evolve.Infer(all, rules).Schema
	for in.opts.Rescue = "rescued"; in.opts.Schema.IndexFold(in.opts.Rescue) >= 0; in.opts.Rescue += "_" {
	}
	for {
		held := &merge.Held{TempDir: cfg.TempDir}
		seen, err := in.read(ctx, held)
		if err == nil && in.lost == nil {
			return &merge.Changes{Schema: in.opts.Schema, Rows: held.Rows}, held.Close, nil
		}
		held.Close()
		if err != nil {
			return nil, nil, err
		}
		// Structs in a map have fields of their own, which are known only now.
		d, err := evolve.Evolve(in.opts.Schema, seen, rules)
		if err != nil {
			return nil, nil, err
		}
		if len(d.Added) == 0 {
			return nil, nil, in.lost
		}
		in.opts.Schema = d.Schema
	}
}

// known are the types that the table has for what was seen, also where that was only null so far.
func known(at []string, o *decode.Observed, t schema.Type) (hints []schema.Hint) {
	switch t := t.(type) {
	case *schema.Struct:
		if len(at) > 0 && o.Objects == 0 {
			break
		}
		for _, f := range o.Fields {
			if i := t.IndexFold(f.Name); i >= 0 {
				hints = append(hints, known(append(slices.Clip(at), t.Fields[i].Name), f.Observed, t.Fields[i].Type)...)
			}
		}
		return hints
	case *schema.Array:
		if o.Element != nil && o.Element.Objects > 0 {
			return known(append(slices.Clip(at), "element"), o.Element, t.Element)
		}
	}
	return []schema.Hint{{Path: at, Type: t}}
}

// jsonFiles are the files that a location names, in the order of their keys.
func jsonFiles(ctx context.Context, cfg Config, location string) ([]decode.File, error) {
	from, err := openFolder(cfg.places(), location)
	if err != nil {
		return nil, err
	}
	o := source.Options{Glob: from.glob, StrictGlobber: true}
	if from.single { // whatever its name begins with
		name := location[strings.LastIndexByte(location, '/')+1:]
		o = source.Options{Prefix: name}
	}
	filter, err := o.Filter()
	if err != nil {
		return nil, err
	}
	var files []decode.File
	for f, err := range from.store.List(ctx, o.Prefix, "") {
		var one *objstore.ObjectError
		switch {
		case errors.As(err, &one) && !from.single:
			continue // whether it is wanted is not known
		case err != nil:
			return nil, fmt.Errorf("%s: %w", location, err)
		case from.single && f.Key != o.Prefix, !from.single && filter(f) != source.Kept:
			continue
		}
		files = append(files, decode.File{URI: strings.TrimPrefix(from.URI(f.Key), "file://"), Key: f.Key,
			Open: func(ctx context.Context) (io.ReadCloser, error) {
				body, _, err := from.store.Open(ctx, f.Key, objstore.Range{IfMatch: f.ETag})
				return body, err
			}})
		if from.single {
			files[len(files)-1].URI = location
		}
	}
	if len(files) == 0 {
		return nil, &MergeError{fmt.Errorf("%s: there is no such file", location)}
	}
	return files, nil
}

// jsonReader reads files of JSON, of which every record is to become a row.
type jsonReader struct {
	files []decode.File
	opts  decode.Options
	// lost is the first record of the last reading of which no column can hold a part.
	lost error
}

// read reads all files, into held unless that is nil, and returns what was seen of fields without a column.
func (in *jsonReader) read(ctx context.Context, held *merge.Held) (map[string]*decode.Observed, error) {
	in.lost = nil
	r, err := decode.NewReader(in.files, in.opts)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		b, err := r.Next(ctx)
		for _, f := range r.Reports() {
			err = cmp.Or(contentError(f), err)
		}
		switch {
		case err == io.EOF:
			return r.Observed(), nil
		case err != nil:
			return nil, err
		case len(b.Bad) > 0:
			return nil, &MergeError{fmt.Errorf("%s line %d: %v", b.Bad[0].File, b.Bad[0].Line, b.Bad[0].Reason)}
		}
		if held != nil && in.lost == nil {
			err = in.keep(r, b, held)
		}
		b.Record.Release()
		if err != nil {
			return nil, err
		}
	}
}

func contentError(f decode.FileReport) error {
	if f.Err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", f.URI, f.Err)
}

// keep adds the rows of a batch to held, unless one of them is not whole.
func (in *jsonReader) keep(r *decode.Reader, b *decode.Batch, held *merge.Held) error {
	n := len(in.opts.Schema.Fields)
	rescued := b.Record.Column(n).(*array.String)
	for row := range rescued.Len() {
		if rescued.IsValid(row) {
			in.lost = in.misfit(r, b, row, rescued.Value(row))
			return nil
		}
	}
	rec, err := convert.CopyRecord(b.Record) // the reader uses its memory again
	if err != nil {
		return err
	}
	defer rec.Release()
	rows := array.NewRecordBatch(in.opts.Schema.Arrow(), rec.Columns()[:n], rec.NumRows())
	defer rows.Release()
	return held.Add(rows)
}

// misfit is the error of a row of a batch of which no column can hold a part.
func (in *jsonReader) misfit(r *decode.Reader, b *decode.Batch, row int, part string) error {
	at := decode.Position{Line: b.Places[row].Line, Offset: b.Places[row].Offset}
	for _, run := range b.Runs {
		if at.File = in.files[run.File].URI; row < run.Rows {
			break
		}
		row -= run.Rows
	}
	const most = 200 // bytes of what is lost
	shown := part
	if len(shown) > most {
		shown = strings.ToValidUTF8(shown[:most], "") + "…"
	}
	misfits := r.Misfits()
	for _, column := range sortedKeys(misfits) {
		if m := misfits[column]; *m.First == at {
			column, t := column, schema.Type(nil)
			if path, err := schema.ParsePath(column); err == nil {
				t = schema.At(in.opts.Schema, path)
			}
			if in.fits(part) {
				return &MergeError{fmt.Errorf("%s line %d: the key of %s is there twice: %s beside another", at.File, at.Line, column, shown)}
			}
			return &MergeError{fmt.Errorf("%s line %d: %s is %v, which %s does not fit", at.File, at.Line, column, t, shown)}
		}
	}
	return &MergeError{fmt.Errorf("%s line %d: no column can hold %s", at.File, at.Line, shown)}
}

// fits reports whether the columns can hold a text of JSON that was left over from a record.
func (in *jsonReader) fits(text string) bool {
	file := decode.File{Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
	r, err := decode.NewReader([]decode.File{file}, in.opts)
	if err != nil {
		return false
	}
	defer r.Close()
	b, err := r.Next(context.Background())
	if err != nil {
		return false
	}
	defer b.Record.Release()
	return b.Record.NumRows() == 1 && b.Record.Column(len(in.opts.Schema.Fields)).IsNull(0)
}
