package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
)

// listed says whether a list is printed by printAll: for a program, or to be cut into columns.
func (a *app) listed() bool {
	return a.machine() || a.flags.output == "csv" || a.flags.output == "plain"
}

// printAll writes a list: as one object, an object a line, or rows of their members.
func (a *app) printAll(marker, name string, all []any) error {
	switch a.flags.output {
	case "jsonl":
		for _, v := range all {
			if err := a.printJSON(v); err != nil {
				return err
			}
		}
		return nil
	case "csv", "plain":
		return a.printRows(all)
	}
	if all == nil {
		all = []any{}
	}
	return a.printJSON(result(marker, member{name, all}))
}

// printRows writes the members of objects as rows. What is no scalar stays JSON.
func (a *app) printRows(all []any) error {
	var names []string
	rows := make([]map[string]string, len(all))
	for i, v := range all {
		rows[i] = map[string]string{}
		err := members(v, func(name, text string) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
			rows[i][name] = text
		})
		if err != nil {
			return err
		}
	}
	w := csv.NewWriter(a.stdout)
	if a.flags.output == "csv" && len(names) > 0 {
		if err := w.Write(names); err != nil {
			return err
		}
	}
	for _, row := range rows {
		cells := make([]string, len(names))
		for c, name := range names {
			cells[c] = row[name]
		}
		if err := a.printRow(w, cells); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func (a *app) printRow(w *csv.Writer, cells []string) error {
	if a.flags.output == "csv" {
		return w.Write(cells)
	}
	for c := range cells {
		cells[c] = plainEscapes.Replace(cells[c])
	}
	_, err := a.stdout.Write([]byte(strings.Join(cells, "\t") + "\n"))
	return err
}

// members calls f for each member of the JSON object that v is, in its order.
func members(v any, f func(name, text string)) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		var text string
		if json.Unmarshal(raw, &text) != nil && string(raw) != "null" {
			text = string(raw)
		}
		f(name.(string), text)
	}
	return nil
}
