package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// newTable begins a table.
func newTable(dir string, s *schema.Struct) (*delta.Transaction, error) {
	return delta.NewTable(objstore.NewDir(dir), delta.TableOptions{Schema: s})
}

// allowVectors makes rows of a table ones that are marked as deleted: TABLE.
func allowVectors(args []string) error {
	ctx := context.Background()
	s, err := delta.Load(ctx, objstore.NewDir(args[0]), delta.LoadOptions{})
	if err != nil {
		return err
	}
	_, err = s.SetProperties(ctx, map[string]string{"delta.enableDeletionVectors": "true"})
	return err
}

// countRows prints the number of rows of a table, as its log has it: TABLE.
func countRows(args []string) error {
	ctx := context.Background()
	s, err := delta.Load(ctx, objstore.NewDir(args[0]), delta.LoadOptions{})
	if err != nil {
		return err
	}
	rows := int64(0)
	for add, err := range s.Files(ctx) {
		if err != nil {
			return err
		}
		var stats struct {
			NumRecords int64 `json:"numRecords"`
		}
		if err := json.Unmarshal([]byte(add.Stats), &stats); err != nil {
			return err
		}
		if rows += stats.NumRecords; add.DeletionVector != nil {
			rows -= add.DeletionVector.Cardinality
		}
	}
	fmt.Println(rows)
	return nil
}

// telemetryTable makes a table of NDJSON files, of one data file each: DIR SCHEMA TABLE.
func telemetryTable(args []string) error {
	s, err := readSchema(args[1])
	if err != nil {
		return err
	}
	files, err := sources(args[0])
	if err != nil {
		return err
	}
	tx, err := newTable(args[2], s)
	if err != nil {
		return err
	}
	return commitParts(tx, len(files), func(i int) ([]*delta.Add, error) {
		return dataFiles(args[2], tx.WriteContext(), s, files[i])
	})
}

// commitParts writes the parts of a table, two at a time, and commits them as one version.
func commitParts(tx *delta.Transaction, parts int, write func(part int) ([]*delta.Add, error)) error {
	adds := make([][]*delta.Add, parts)
	var g errgroup.Group
	g.SetLimit(2)
	for i := range adds {
		g.Go(func() (err error) {
			adds[i], err = write(i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, a := range adds {
		tx.Add(a...)
	}
	_, err := tx.Commit(context.Background(), nil)
	return err
}

// dataFiles writes the rows of a file of JSON.
func dataFiles(dir string, wc delta.WriteContext, s *schema.Struct, f decode.File) ([]*delta.Add, error) {
	ctx := context.Background()
	w, err := delta.NewDataWriter(ctx, objstore.NewDir(dir), wc, delta.DataWriterOptions{})
	if err != nil {
		return nil, err
	}
	defer w.Abort(ctx)
	r, err := decode.NewReader([]decode.File{f}, decode.Options{Schema: s})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		b, err := r.Next(ctx)
		if err == io.EOF {
			return w.Close(ctx)
		}
		if err != nil {
			return nil, err
		}
		err = w.Write(ctx, b.Record)
		b.Record.Release()
		if err != nil {
			return nil, err
		}
	}
}

// telemetryChanges takes one in so many records of NDJSON files, changes a number in each, and gives one in
// eight another key: DIR OUT ONE-IN.
func telemetryChanges(args []string) error {
	names, err := filepath.Glob(filepath.Join(args[0], "*.json"))
	if err != nil {
		return err
	}
	oneIn, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(args[1], 0o777); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(args[1], "changes.json"))
	if err != nil {
		return err
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	r := rand.New(rand.NewPCG(5, 0))
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			if r.IntN(oneIn) > 0 {
				continue
			}
			at := bytes.Index(line, []byte(`"soc":`)) + len(`"soc":`)
			end := at + bytes.IndexByte(line[at:], ',')
			changed := append(append(bytes.Clone(line[:at]), "101.5"...), line[end:]...)
			if r.IntN(8) == 0 {
				copy(changed[len(`{"event_id":"`):], "new-")
			}
			if _, err := w.Write(changed); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

// narrowColumns are those of a table with many rows.
var narrowColumns = schema.NewStruct(schema.Nullable("id", schema.Long), schema.Nullable("at", schema.Long), schema.Nullable("value", schema.Double))

// narrowTable makes a table of many short rows: TABLE ROWS FILES KEYS. Keys are clustered, so that
// each file has its own range, or random.
func narrowTable(args []string) error {
	rows, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	files, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	tx, err := newTable(args[0], narrowColumns)
	if err != nil {
		return err
	}
	return commitParts(tx, int(files), func(i int) ([]*delta.Add, error) {
		f := int64(i)
		return narrowFiles(args[0], tx.WriteContext(), rows*f/files, rows*(f+1)/files, rows, args[3] == "random")
	})
}

// spread is odd and no multiple of five, so that it makes of the numbers below a power of ten the same in
// another order.
const spread = 6_180_339_887

func narrowFiles(dir string, wc delta.WriteContext, from, end, rows int64, isRandom bool) ([]*delta.Add, error) {
	ctx := context.Background()
	w, err := delta.NewDataWriter(ctx, objstore.NewDir(dir), wc, delta.DataWriterOptions{})
	if err != nil {
		return nil, err
	}
	defer w.Abort(ctx)
	b := array.NewRecordBuilder(memory.DefaultAllocator, narrowColumns.Arrow())
	defer b.Release()
	for from < end {
		for range min(end-from, 64<<10) {
			id := from
			if isRandom {
				id = from * (spread % rows) % rows
			}
			b.Field(0).(*array.Int64Builder).Append(id)
			b.Field(1).(*array.Int64Builder).Append(1_790_000_000_000 + from)
			b.Field(2).(*array.Float64Builder).Append(float64(id%1000) / 4)
			from++
		}
		rec := b.NewRecordBatch()
		err := w.Write(ctx, rec)
		rec.Release()
		if err != nil {
			return nil, err
		}
	}
	return w.Close(ctx)
}

// narrowChanges writes changes of rows of a narrow table, evenly over their keys, as NDJSON: OUT ROWS CHANGES ROUND.
// Those of a later round are later.
func narrowChanges(args []string) error {
	rows, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	changes, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	round, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(args[0], 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(args[0], "changes.json"))
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for i := range changes {
		fmt.Fprintf(w, `{"id":%d,"at":%d,"value":%d.5}`+"\n", rows*(2*i+1)/(2*changes), 1_800_000_000_000+round*1_000_000_000+i, (i+round)%1000)
	}
	return w.Flush()
}
