package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// logPart opens, appends to and checkpoints a table of many data files, beside deltalake. The data files
// are in the log alone: nothing here reads them.
func logPart(c config) *part {
	return &part{"log", func(c config, peers []*contender, g *gates) error {
		l := &logBench{config: c, used: map[string]usage{}, deltalake: c.versions["deltalake"] != ""}
		if !l.deltalake {
			fmt.Println("log: deltalake: LEFT OUT: it is not installed")
		}
		if err := l.run(); err != nil {
			return err
		}
		for _, what := range []string{"append", "checkpoint", "append behind a checkpoint"} {
			mine, other := l.used["silt, "+what], l.used["deltalake, "+what]
			g.atLeast(what+": the processor time of deltalake", float64(other.cpu)/float64(mine.cpu), 1)
			g.atLeast(what+": the memory of deltalake", float64(other.peak)/float64(mine.peak), 1)
		}
		few, many := l.used["silt, append with .crc, a hundredth of the files"], l.used["silt, append with .crc"]
		g.atMost("append with .crc: the processor time by that with a hundredth of the files", float64(many.cpu)/float64(few.cpu), 1.5)
		g.atMost("append with .crc: the memory by that with a hundredth of the files", float64(many.peak)/float64(few.peak), 1.5)
		return nil
	}}
}

type logBench struct {
	config
	deltalake bool
	used      map[string]usage
}

func (l *logBench) run() error {
	plain, err := l.table(l.adds)
	if err != nil {
		return err
	}
	few, err := l.table(l.adds / 100)
	if err != nil {
		return err
	}
	checkpointed, err := l.after(plain, "checkpoint")
	if err != nil {
		return err
	}
	counted, err := l.after(plain, "checkpoint", "append", "append")
	if err != nil {
		return err
	}
	fewCounted, err := l.after(few, "checkpoint", "append", "append")
	if err != nil {
		return err
	}
	all := []*contender{
		l.silt("append", "append", plain), l.peer("append", "append", plain),
		l.silt("checkpoint", "checkpoint", plain), l.peer("checkpoint", "checkpoint", plain),
		l.silt("append behind a checkpoint", "append", checkpointed), l.peer("append behind a checkpoint", "append", checkpointed),
		l.silt("append with .crc", "append", counted),
		l.silt("append with .crc, a hundredth of the files", "append", fewCounted),
	}
	runs := map[string][]usage{}
	for n := range l.runs {
		for _, t := range all {
			if t == nil {
				continue
			}
			u, err := l.measure(t, "")
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			told(n, t, u)
			runs[t.name] = append(runs[t.name], u)
		}
	}
	fmt.Printf("\nA table of %d data files in %d commits, %d runs of each by turns, of which the median; peak memory is the highest\n\n", l.adds, tableCommits, l.runs)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tCPU-seconds\tpeak MB\t")
	for _, t := range all {
		if t != nil {
			u := median(runs[t.name])
			l.used[t.name] = u
			fmt.Fprintf(w, "%s\t%.2f\t%.0f\t\n", t.name, u.cpu.Seconds(), float64(u.peak)/1e6)
		}
	}
	return w.Flush()
}

func (l *logBench) silt(what, child, table string) *contender {
	return &contender{name: "silt, " + what, keeps: true, prepare: copyOf(table), command: func(_, out string) *exec.Cmd {
		return l.child(child, out)
	}}
}

func (l *logBench) peer(what, does, table string) *contender {
	if !l.deltalake {
		return nil
	}
	return &contender{name: "deltalake, " + what, keeps: true, prepare: copyOf(table), command: func(_, out string) *exec.Cmd {
		return exec.Command(l.python, abs("bench/peers/deltalake_log.py"), does, out)
	}}
}

// copyOf returns what makes a copy of a table. Its files are linked: those of a table do not change.
func copyOf(table string) func(out string) error {
	return func(out string) error {
		if err := os.MkdirAll(filepath.Join(out, "_delta_log"), 0o777); err != nil {
			return err
		}
		data, err := filepath.Glob(filepath.Join(table, "*.parquet"))
		if err != nil {
			return err
		}
		for _, name := range data {
			if err := os.Link(name, filepath.Join(out, filepath.Base(name))); err != nil {
				return err
			}
		}
		names, err := filepath.Glob(filepath.Join(table, "_delta_log", "*"))
		if err != nil {
			return err
		}
		for _, name := range names {
			link := filepath.Join(out, "_delta_log", filepath.Base(name))
			if strings.HasPrefix(filepath.Base(name), "_") { // _last_checkpoint is written again
				text, err := os.ReadFile(name)
				if err == nil {
					err = os.WriteFile(link, text, 0o666)
				}
				if err != nil {
					return err
				}
			} else if err := os.Link(name, link); err != nil {
				return err
			}
		}
		return nil
	}
}

// table makes a table, or finds it from an earlier run.
func (l *logBench) table(adds int) (string, error) {
	dir := filepath.Join(l.cache, fmt.Sprintf("log-%d", adds))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	half := dir + ".half"
	if err := os.RemoveAll(half); err != nil {
		return "", err
	}
	if _, err := run(l.child("table", half, strconv.Itoa(adds))); err != nil {
		return "", err
	}
	return dir, os.Rename(half, dir)
}

// after returns the table after silt did some things to it. It is made each time: what is measured is
// the silt of now.
func (l *logBench) after(table string, does ...string) (string, error) {
	dir := table + "-" + strings.Join(does, "-")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := copyOf(table)(dir); err != nil {
		return "", err
	}
	for _, child := range does {
		if _, err := run(l.child(child, dir)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// tableCommits is the number of commits that a table is made of, behind the one that makes it.
const tableCommits = 3

var logColumns = schema.NewStruct(
	schema.Nullable("id", schema.Long), schema.Nullable("at", schema.Timestamp),
	schema.Nullable("station", schema.String), schema.Nullable("kwh", schema.Double))

// makeTable writes the log of a table: DIR FILES.
func makeTable(args []string) error {
	adds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	ctx := context.Background()
	store := objstore.NewDir(args[0])
	t, err := delta.NewTable(store, delta.TableOptions{Schema: logColumns})
	if err != nil {
		return err
	}
	if _, err := t.Commit(ctx, nil); err != nil {
		return err
	}
	for v := range tableCommits {
		if err := writeAdds(filepath.Join(args[0], "_delta_log", fmt.Sprintf("%020d.json", v+1)), adds*v/tableCommits, adds*(v+1)/tableCommits); err != nil {
			return err
		}
	}
	// The first commit was counted; the others are as those write them who count nothing.
	counts, err := filepath.Glob(filepath.Join(args[0], "_delta_log", "*.crc"))
	for _, name := range counts {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return err
}

// writeAdds writes a commit of the adds first..end.
func writeAdds(name string, first, end int) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, `{"commitInfo":{"timestamp":%d,"operation":"WRITE","operationParameters":{"mode":"Append"}}}`+"\n", 1_790_000_000_000+first)
	for i := first; i < end; i++ {
		stats, err := json.Marshal(fmt.Sprintf(`{"numRecords":1000,"minValues":{"id":%d,"at":"2026-11-01T06:00:00.000Z","station":"EVSE-%05d","kwh":0.25},`+
			`"maxValues":{"id":%d,"at":"2026-11-01T07:00:00.000Z","station":"EVSE-%05d","kwh":%d.5},"nullCount":{"id":0,"at":0,"station":%d,"kwh":3}}`,
			1000*i, i%9000, 1000*i+999, 9000+i%1000, 20+i%60, i%7))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, `{"add":{"path":"part-%05d-%08x-7a3c-4e21-9b60-%012x-c000.snappy.parquet","partitionValues":{},"size":%d,"modificationTime":%d,"dataChange":true,"stats":%s}}`+"\n",
			i%200, uint32(i)*2654435761, uint64(i)*1099511628211&0xFFFFFFFFFFFF, 20_000+i%5000, 1_790_000_000_000+i, stats)
	}
	return w.Flush()
}

// appendRows opens a table and adds a file of a few rows: DIR.
func appendRows(args []string) error {
	ctx := context.Background()
	store := objstore.NewDir(args[0])
	s, err := delta.Load(ctx, store, delta.LoadOptions{})
	if err != nil {
		return err
	}
	t := s.Begin("WRITE")
	w, err := delta.NewDataWriter(ctx, store, t.WriteContext(), delta.DataWriterOptions{})
	if err != nil {
		return err
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "kwh", Type: arrow.PrimitiveTypes.Float64}}, nil),
		strings.NewReader(`[{"id": 1, "kwh": 2.5}, {"id": 2, "kwh": 3.5}]`))
	if err != nil {
		return err
	}
	if err := w.Write(ctx, rec); err != nil {
		return err
	}
	adds, err := w.Close(ctx)
	if err != nil {
		return err
	}
	t.Add(adds...)
	_, err = t.Commit(ctx, nil)
	return err
}

// checkpoint opens a table and writes its checkpoint: DIR.
func checkpoint(args []string) error {
	ctx := context.Background()
	store := objstore.NewDir(args[0])
	s, err := delta.Load(ctx, store, delta.LoadOptions{})
	if err != nil {
		return err
	}
	return s.WriteCheckpoint(ctx)
}
