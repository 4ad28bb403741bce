package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) quarantineCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "quarantine", Short: "Show records that could not become rows", Args: cobra.ArbitraryArgs, RunE: group}
	limit := 100
	list := &cobra.Command{
		Use:               "list [PIPELINE|TABLE]",
		Short:             "List quarantined records, the newest first",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.which(args)
			if err != nil {
				return err
			}
			var all []silt.QuarantinedRecord
			more := false
			for r, err := range silt.Quarantine(cmd.Context(), cfg) {
				if err != nil {
					return err
				}
				if more = limit > 0 && len(all) == limit; more {
					break
				}
				all = append(all, r)
			}
			return a.showQuarantine(cfg.Target.String(), all, more)
		},
	}
	list.Flags().IntVar(&limit, "limit", limit, "most records to show; 0 shows all")
	show := &cobra.Command{
		Use:   "show ID [PIPELINE|TABLE]",
		Short: "Show a quarantined record and where it breaks",
		Args:  arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.which(args[1:])
			if err != nil {
				return err
			}
			for r, err := range silt.Quarantine(cmd.Context(), cfg) {
				if err != nil {
					return err
				}
				if r.ID == args[0] {
					return a.showRecord(r)
				}
			}
			return &noRecordError{"quarantined record", args[0], shell("silt", "quarantine", "list", cfg.Target.String())}
		},
	}
	cmd.AddCommand(list, show)
	return cmd
}

// recordJSON is a quarantined record with its text. Bytes that are no UTF-8 become U+FFFD; they stand in
// the quarantine table as they are.
type recordJSON struct {
	silt.QuarantinedRecord
	Record string `json:"record"`
}

func (a *app) showQuarantine(table string, records []silt.QuarantinedRecord, more bool) error {
	if a.listed() {
		all := make([]any, len(records))
		for i, r := range records {
			all[i] = recordJSON{r, strings.ToValidUTF8(string(r.Record), "\uFFFD")}
		}
		return a.printAll("silt.quarantine/v1", "records", all)
	}
	if len(records) == 0 {
		a.say("no records in quarantine")
		return nil
	}
	t := &textTable{header: []string{"ID", "TIME", "FILE", "REASON", "DETAIL", "RECORD"}}
	for _, r := range records {
		t.add(r.ID, clock(r.Time), where(r.File, r.Line), r.Reason, cut(r.Detail, 50), cut(string(r.Record), 60))
	}
	t.write(a.stdout)
	if more {
		a.say("and more: --limit 0 shows all")
	}
	a.next("silt", "quarantine", "show", records[0].ID, table)
	return nil
}

func (a *app) showRecord(r silt.QuarantinedRecord) error {
	if a.machine() {
		return a.printJSON(result("silt.quarantine/v1", member{"records", []any{recordJSON{r, strings.ToValidUTF8(string(r.Record), "\uFFFD")}}}))
	}
	line := func(label, text string) { fmt.Fprintf(a.stdout, "%-8s %s\n", label, text) }
	line("record", r.ID)
	line("file", fmt.Sprintf("%s line %d, byte %d, %s", r.File, r.Line, r.Offset, count(r.Length, "byte")))
	line("batch", fmt.Sprintf("%d, %s", r.Batch, clock(r.Time)))
	line("reason", strings.TrimSuffix(r.Reason+": "+r.Detail, ": "))
	if len(r.Rules) > 0 {
		line("rules", strings.Join(r.Rules, ", "))
	}
	fmt.Fprintln(a.stdout)
	shown, column := around(r.Record, int(r.ErrorAt))
	fmt.Fprintln(a.stdout, shown)
	if r.ErrorAt >= 0 {
		fmt.Fprintln(a.stdout, strings.Repeat(" ", column)+"^")
	}
	if r.Cut {
		fmt.Fprintln(a.stdout, "(only the start of it is kept; the rest is in the file)")
	}
	return nil
}

// around is the part of a text around byte at, on one line, and the column of that byte.
func around(record []byte, at int) (string, int) {
	at = min(max(at, 0), len(record))
	const before, after = 60, 60
	from, to := max(0, at-before), min(len(record), at+after)
	for from > 0 && !utf8.RuneStart(record[from]) {
		from--
	}
	left, right := cut(string(record[from:at]), 1<<20), cut(string(record[at:to]), 1<<20)
	if from > 0 {
		left = "…" + left
	}
	if to < len(record) {
		right += "…"
	}
	return left + right, utf8.RuneCountInString(left)
}
