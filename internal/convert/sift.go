package convert

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// Rows that do not go to the target are sifted out by record: a record of which SQL makes several rows
// goes to the quarantine once, with all that is wrong with any of them. So what is found about the records
// of a batch is gathered over all of its rows, and settled when the last of them is through.

// apart is what became of the records of one batch.
type apart struct {
	fates []fate       // by row of the batch
	whys  map[int]*why // of those that are set aside
	any   bool         // a row is not kept
	drops bool         // rules may drop rows
}

// fate says what became of the rows of a record.
type fate uint8

const (
	kept fate = 1 << iota
	dropped
	aside // to the quarantine
	unfit // treated like text that is no record
)

// reason is one thing that is wrong with a row. The rule is empty where none is broken.
type reason struct{ kind, rule, detail string }

// why is all that is wrong with the rows of a record.
type why struct {
	kind    string // of the first
	rules   []string
	details []string
}

func (w *why) add(all []reason) {
	for _, x := range all {
		if w.kind == "" {
			w.kind = x.kind
		}
		if x.rule != "" {
			if slices.Contains(w.rules, x.rule) {
				continue // by another row of the record
			}
			w.rules = append(w.rules, x.rule)
		}
		if !slices.Contains(w.details, x.detail) {
			w.details = append(w.details, x.detail)
		}
	}
}

func (w *why) detail() string { return strings.Join(w.details, "; ") }

// begin forgets the batch before.
func (a *apart) begin(b *decode.Batch) {
	n := int(b.Record.NumRows())
	if cap(a.fates) < n {
		a.fates = make([]fate, n)
	}
	a.fates = a.fates[:n]
	clear(a.fates)
	clear(a.whys)
	a.any = false
}

// note adds what became of a row of a record.
func (a *apart) note(record int, f fate, reasons []reason) {
	a.any = true
	a.fates[record] |= f
	if f&(aside|unfit) == 0 {
		return
	}
	if a.whys == nil {
		a.whys = map[int]*why{}
	}
	if a.whys[record] == nil {
		a.whys[record] = &why{}
	}
	a.whys[record].add(reasons)
}

// keep notes that rows go to the target. It matters where other rows of their records are dropped.
func (o *output) keep(rows int64, from func(int64) int) {
	if !o.apart.drops {
		return
	}
	for row := range rows {
		o.apart.fates[from(row)] |= kept
	}
}

// sift returns the rows of rec that go to the target, which the caller releases, and from for them.
func (o *output) sift(ctx context.Context, b *decode.Batch, rec arrow.RecordBatch, from func(int64) int) (arrow.RecordBatch, func(int64) int, error) {
	rows, err := o.judge(ctx, rec, func(row int64) decode.Position { return o.position(b, from(row)) })
	if rows == nil || err != nil {
		rec.Retain()
		return rec, from, err
	}
	out, err := takeRows(ctx, rec, rows.kept)
	return out, o.note(rows, from), err
}

// note notes what became of rows that are not kept, and returns from for those that are.
func (o *output) note(rows *judged, from func(int64) int) func(int64) int {
	for i, f := range rows.fates {
		if f != kept {
			o.apart.note(from(int64(i)), f, rows.reasons[int64(i)])
		}
	}
	return func(row int64) int { return from(rows.kept[row]) }
}

// siftWhole is sift for rows of SQL over the whole batch, whose records are not known: the rows themselves
// are set aside, as JSON.
func (o *output) siftWhole(ctx context.Context, rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	rows, err := o.judge(ctx, rec, func(row int64) decode.Position { return positionOf(rec, int(row)) })
	if rows == nil || err != nil {
		rec.Retain()
		return rec, err
	}
	if err := o.setRowsAside(ctx, rec, rows); err != nil {
		return nil, err
	}
	return takeRows(ctx, rec, rows.kept)
}

// setRowsAside sets rows themselves aside.
func (o *output) setRowsAside(ctx context.Context, rec arrow.RecordBatch, all *judged) error {
	rows := array.RecordToStructArray(rec)
	defer rows.Release()
	for i, f := range all.fates {
		if f&(aside|unfit) == 0 {
			continue
		}
		text, err := json.Marshal(rows.GetOneForMarshal(i))
		if err != nil {
			return err
		}
		w := &why{}
		w.add(all.reasons[int64(i)])
		x := quarantined{Position: positionOf(rec, i), reason: w.kind, detail: w.detail() + ", in a row of SQL over the whole batch", at: -1, rules: w.rules, text: text}
		if err := o.quarantine.add(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// positionOf is what a row says of where it comes from.
func positionOf(rec arrow.RecordBatch, row int) (p decode.Position) {
	for i, f := range rec.Schema().Fields() {
		if c, ok := rec.Column(i).(*array.String); ok && f.Name == "source_file" && c.IsValid(row) {
			p.File = strings.Clone(c.Value(row))
		}
	}
	return p
}

// judged says what becomes of rows.
type judged struct {
	fates   []fate // by row
	kept    []int64
	reasons map[int64][]reason // of those that are set aside
}

// judge holds rows against the keys and the rules of the target, and counts. It returns nil when all of them
// are kept.
func (o *output) judge(ctx context.Context, rec arrow.RecordBatch, place func(row int64) decode.Position) (*judged, error) {
	missing := o.keyless(rec)
	broken, err := o.rules.broken(ctx, rec)
	if missing == nil && broken == nil || err != nil {
		return nil, err
	}
	out := &judged{fates: make([]fate, rec.NumRows()), reasons: map[int64][]reason{}}
	for row := range rec.NumRows() {
		var bits []uint64
		if broken != nil {
			bits = broken[row]
		}
		f, reasons := o.verdict(rec, row, bits, place)
		if missing != nil && missing[row] != "" {
			f, reasons = f&^dropped|unfit, append([]reason{{ReasonKey, "", o.named(missing[row])}}, reasons...)
		}
		sum := &o.made.Expect
		switch {
		case f == 0:
			f = kept
			out.kept = append(out.kept, row)
		case f == dropped, f == unfit && o.task.OnCorrupt == DropCorrupt:
			sum.Dropped++
		default:
			sum.Quarantined++
			out.reasons[row] = reasons
		}
		out.fates[row] = f
	}
	if len(out.kept) == len(out.fates) {
		return nil, nil
	}
	return out, nil
}

// verdict counts the rules that a row breaks, and says what becomes of it, zero when it is kept, and why it is set aside.
func (o *output) verdict(rec arrow.RecordBatch, row int64, bits []uint64, place func(row int64) decode.Position) (f fate, reasons []reason) {
	if bits == nil {
		return 0, nil
	}
	broken := o.rules.of(bits)
	for _, i := range broken {
		sum := &o.made.Expect.Rules[i]
		sum.Broken++
		if sum.First == nil {
			sum.First = &BrokenRow{place(row), o.rules.values(i, rec, int(row))}
		}
		switch o.to.Rules[i].Then {
		case QuarantineRow, FailOnRow:
			f = aside
		case DropRow:
			f = max(f, dropped)
		}
	}
	if f != aside && len(o.to.Keys) == 0 {
		return f, nil
	}
	for _, i := range broken {
		detail := schema.Quote(o.to.Rules[i].Name) + " (" + oneLine(o.to.Rules[i].Check) + ") is broken"
		if values := o.rules.values(i, rec, int(row)); values != "" {
			detail += " by " + values
		}
		reasons = append(reasons, reason{ReasonExpectation, o.to.Rules[i].Name, o.named(detail)})
	}
	return f, reasons
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// settle counts the records of a batch whose rows do not all go to the target, and sets them aside.
func (r *run) settle(ctx context.Context, b *decode.Batch) error {
	if !r.apart.any {
		return nil
	}
	for at, f := range r.apart.fates {
		if f == 0 || f == kept {
			continue
		}
		out := r.outcome(b, at)
		if f&(aside|unfit) == 0 {
			if f == dropped && r.spool == nil { // SQL over the whole batch may make a row of it
				out.Dropped++
			}
			continue
		}
		x, w := r.record(b, at), r.apart.whys[at]
		x.reason, x.detail, x.rules, x.at = w.kind, w.detail(), w.rules, -1
		var err error
		if f&aside != 0 {
			out.Bad++
			err = r.quarantine.add(ctx, x)
		} else {
			err = r.setAside(ctx, out, x)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
