package cli

import (
	"fmt"
	"strings"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/schema"
)

// uncarriedList lists fields that were read and that the SQL does not carry into the table, with what
// to add to it.
func uncarriedList(line func(label, format string, args ...any), fields []silt.NewField, most int) {
	for _, n := range fields[:min(len(fields), most)] {
		text := n.Path
		if n.DDL != "" {
			text += "  " + cut(ddlText(n.DDL), 60)
		}
		if n.Rows > 0 {
			text += fmt.Sprintf("  (%s)", count(n.Rows, "row"))
		}
		if n.File != "" {
			text += "   first " + where(n.File, n.Line)
		}
		line("", "%s", text)
		line("", "  add to the SQL: %s", carry(n.Path))
	}
	if more := len(fields) - most; more > 0 {
		line("", "and %s more", thousands(more))
	}
}

// carry is what SQL needs so that it carries the field at a path: the field's name, or an element of the
// list it is in.
func carry(path string) string {
	steps, err := schema.ParsePath(path)
	if err != nil || len(steps) == 0 {
		return path
	}
	at := sqlIdent(steps[0])
	var from []string
	for _, step := range steps[1:] {
		list := at
		switch step {
		case "element":
		case "value":
			list = "map_values(" + at + ")"
		default:
			at += "." + sqlIdent(step)
			continue
		}
		n := string(rune('x' + len(from)))
		if len(from) > 2 {
			n = fmt.Sprintf("x%d", len(from))
		}
		at = n
		from = append(from, fmt.Sprintf("unnest(%s) AS t%s(%s)", list, n, n))
	}
	if len(from) == 0 {
		return at
	}
	return at + ", with FROM source, " + strings.Join(from, ", ")
}

// sqlIdent writes a name as SQL has it.
func sqlIdent(name string) string {
	if schema.Quote(name) == name {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
