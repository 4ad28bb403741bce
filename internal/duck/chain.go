//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"

	bindings "github.com/duckdb/duckdb-go-bindings"

	"github.com/siltlake/silt/schema"
)

// A chain is how rows come from the source to the result when there is one way only:
//
//	WITH a AS (SELECT … FROM source), b AS (SELECT … FROM a, unnest(…)) SELECT … FROM b
//
// has three links. Columns are carried along a chain by adding them to the list of each link. One of
// them is the number of the row, and it does two things. It tells which row of the source an output row
// came from. And it proves that no link aggregates: DuckDB itself refuses a plain column beside an
// aggregate, whatever its name and however deep it hides in macros and subqueries.
type chain struct {
	links []link // from the source upward
	// local: beside aggregation, which DuckDB finds, nothing in a link makes one row depend on another.
	local bool
}

// link is one SELECT of a chain.
type link struct {
	query node
	from  node   // the table in its FROM that is the link below, or the source
	scope *scope // what names mean around the query
}

// findChain follows the statement down to the source; ok is false when there is no chain to it along
// which columns can be carried.
func findChain(st node) (c chain, ok bool) {
	c.local = true
	ok = c.follow(sub(st, "node"), nil)
	return c, ok
}

func (c *chain) follow(q node, around *scope) bool {
	if str(q, "type") != "SELECT_NODE" || str(q, "aggregate_handling") != "STANDARD_HANDLING" ||
		len(list(q, "group_expressions"))+len(list(q, "group_sets")) > 0 || q["having"] != nil {
		return false
	}
	s := around.with(q)
	from := c.leaf(sub(q, "from_table"), s)
	if from == nil || uses(without(q, "cte_map"), s) != uses(from, s) {
		return false
	}
	for _, m := range list(q, "modifiers") {
		if m, _ := m.(node); str(m, "type") == "DISTINCT_MODIFIER" {
			return false
		}
		c.local = false // order or limit
	}
	if q["qualify"] != nil || q["sample"] != nil || from["sample"] != nil || hasWindow(q) || !perRow(q, from) {
		c.local = false
	}
	below := true
	switch st := stepOf(from, s); {
	case str(from, "type") == "SUBQUERY":
		below = c.follow(sub(sub(from, "subquery"), "node"), s)
	case st != nil:
		below = c.follow(st.query, st.scope)
	}
	c.links = append(c.links, link{q, from, around})
	return below
}

// leaf returns the one table of a FROM that leads to the source.
func (c *chain) leaf(from node, s *scope) node {
	switch str(from, "type") {
	case "BASE_TABLE", "SUBQUERY":
		if uses(from, s) == 1 {
			return from
		}
	case "JOIN":
		left, right := sub(from, "left"), sub(from, "right")
		l, r := uses(left, s), uses(right, s)
		kind, how := str(from, "ref_type"), str(from, "join_type")
		switch {
		case kind != "CROSS" && kind != "REGULAR" && kind != "NATURAL" || l+r != 1:
			c.local = false
		case how == "INNER", l == 1 && how == "LEFT", r == 1 && how == "RIGHT":
		default:
			c.local = false // a full join makes rows for what matched no row at all
		}
		if l == 1 && r == 0 {
			return c.leaf(left, s)
		} else if l == 0 && r == 1 {
			return c.leaf(right, s)
		}
	}
	return nil
}

// uses counts the ways from v to the source.
func uses(v any, s *scope) int {
	n := 0
	tables(v, s, func(t node) {
		if isSource(t) {
			n++
		}
	})
	return n
}

func isSource(t node) bool {
	return schema.Fold(str(t, "table_name")) == Source && str(t, "schema_name") == "" && str(t, "catalog_name") == ""
}

func without(n node, key string) node {
	out := make(node, len(n))
	for k, v := range n {
		if k != key {
			out[k] = v
		}
	}
	return out
}

func hasWindow(q node) bool {
	found := false
	each([]any{q["select_list"], q["where_clause"]}, func(n node) bool {
		found = found || str(n, "class") == "WINDOW"
		return str(n, "class") != "SUBQUERY"
	})
	return found
}

// perRowFunctions are the table functions that give the same rows for the same arguments.
var perRowFunctions = map[string]bool{
	"unnest": true, "range": true, "generate_series": true, "json_each": true, "json_tree": true,
	"repeat": true, "repeat_row": true,
}

// perRow reports whether the tables beside the source hold the same rows for the same row of it.
func perRow(q, from node) bool {
	ok := true
	each(without(q, "cte_map"), func(n node) bool {
		switch {
		case is(n, from):
			return false
		case str(n, "type") == "TABLE_FUNCTION":
			ok = ok && perRowFunctions[strings.ToLower(str(sub(n, "function"), "function_name"))]
		case str(n, "type") == "SHOW_REF", str(n, "type") == "PIVOT":
			ok = false
		}
		return ok
	})
	return ok
}

// is reports whether a and b are the same object.
func is(a, b node) bool { return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() }

// cargo is what a chain carries.
type cargo struct {
	columns []string // of the source, which the result must have
	row     string   // the name of the row number in the source; empty when it is not carried
}

// carry changes st so that its result has the cargo: first the columns that it lacked, last the row
// number. The first link then reads the view instead of the source. plain is the result of st as the
// user wrote it; the error says that the statement cannot carry, for which the caller needs no reason.
func (c *conn) carry(ctx context.Context, st node, links []link, g cargo, view string, source *schema.Struct, plain []column) (sql string, added []string, err error) {
	visible := source.Names() // of the link below, as the user knows it
	for i, name := range visible {
		visible[i] = duckName(name)
	}
	var hidden []string // what was added to it
	if g.row != "" {
		hidden = []string{g.row}
	}
	for i, l := range links {
		alias := str(l.from, "alias")
		if alias == "" {
			if alias = str(l.from, "table_name"); alias == "" {
				alias = "unnamed_subquery"
			}
			l.from["alias"] = alias
		}
		if i == 0 {
			l.from["table_name"] = view
		}
		h := hider{hidden: hidden, alias: alias, columns: visible}
		h.query(l.query, l.from)
		has, err := c.names(ctx, l)
		if err != nil {
			return "", nil, err
		}
		added = nil
		for _, name := range g.columns {
			if !slices.ContainsFunc(has, func(h string) bool { return schema.Fold(h) == schema.Fold(name) }) {
				added = append(added, name)
			}
		}
		items := list(l.query, "select_list")
		for _, name := range added {
			items = append(items, columnRef(alias, name))
		}
		visible, hidden = has, added
		if g.row != "" {
			items, hidden = append(items, columnRef(alias, g.row)), append(slices.Clone(added), g.row)
		}
		l.query["select_list"] = items
	}
	if sql, err = c.unparse(ctx, st); err != nil {
		return "", nil, err
	}
	s, err := c.prepare(sql)
	if err != nil {
		return "", nil, err
	}
	defer s.close()
	got := s.columns()
	more := len(added)
	if g.row != "" {
		more++
	}
	if len(got) != len(plain)+more || !reflect.DeepEqual(got[:len(plain)], plain) {
		return "", nil, errors.New("the statement changes when columns are added to it")
	}
	if g.row != "" && got[len(got)-1].typ.id != bindings.TypeInteger {
		return "", nil, errors.New("the row number does not come through")
	}
	return sql, added, nil
}

// names returns the columns of a link.
func (c *conn) names(ctx context.Context, l link) ([]string, error) {
	q := without(l.query, "cte_map")
	entries := list(sub(l.query, "cte_map"), "map")
	for s := l.scope; s != nil; s = s.outer {
		entries = append([]any{s.step.entry}, entries...)
	}
	q["cte_map"] = node{"map": entries}
	sql, err := c.unparse(ctx, node{"named_param_map": []any{}, "node": q})
	if err != nil {
		return nil, err
	}
	s, err := c.prepare(sql)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var out []string
	for _, col := range s.columns() {
		out = append(out, col.name)
	}
	return out, nil
}

// hider keeps columns that were added to a link out of what the user's expressions see of it: they are
// excluded where these say *, and left out where these name the whole row by the table's alias.
type hider struct {
	hidden  []string
	alias   string
	columns []string // that are to be seen
}

func (h *hider) query(q, from node) {
	if len(h.hidden) == 0 {
		return
	}
	for _, key := range []string{"where_clause", "qualify", "modifiers"} {
		q[key] = h.expr(q[key], false)
	}
	items := list(q, "select_list")
	for i, item := range items {
		n := h.expr(item, false).(node)
		if h.wholeRow(item.(node)) && str(n, "alias") == "" {
			n["alias"] = list(item.(node), "column_names")[0]
		}
		items[i] = n
	}
	h.join(sub(q, "from_table"), from)
}

func (h *hider) join(t, from node) {
	if is(t, from) {
		return
	}
	for k, v := range t {
		if k == "left" || k == "right" {
			h.join(v.(node), from)
		} else {
			t[k] = h.expr(v, k == "subquery")
		}
	}
}

// expr returns the expression v without sight of the row number. Inside a subquery * means other tables.
func (h *hider) expr(v any, inside bool) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = h.expr(v[i], inside)
		}
	case node:
		switch {
		case h.wholeRow(v):
			return h.pack(v)
		case str(v, "class") == "LAMBDA" && h.wholeRow(sub(v, "lhs")):
			return v // a parameter of that name
		case str(v, "type") == "STAR" && !inside:
			if rel := str(v, "relation_name"); rel == "" || schema.Fold(rel) == schema.Fold(h.alias) {
				return h.star(v)
			}
		}
		inside = inside || str(v, "class") == "SUBQUERY"
		for k := range v {
			v[k] = h.expr(v[k], inside)
		}
	}
	return v
}

func (h *hider) star(v node) node {
	pattern := sub(v, "expr")
	switch {
	case pattern == nil:
		v["exclude_list"] = h.exclude(list(v, "exclude_list"))
	case str(pattern, "class") == "CONSTANT": // COLUMNS('pattern')
		all := clone(v).(node)
		all["expr"], all["columns"], all["exclude_list"] = nil, false, h.exclude(nil)
		name := node{"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "column_names": []any{"c"}, "query_location": 0}
		v["expr"] = function("list_filter", all, node{
			"class": "LAMBDA", "type": "LAMBDA", "alias": "", "query_location": 0, "lhs": name,
			"expr": function("regexp_matches", clone(name), pattern),
		})
	default:
		v["expr"] = h.expr(pattern, false)
	}
	return v
}

func (h *hider) exclude(names []any) []any {
	for _, name := range h.hidden {
		names = append(names, name)
	}
	return names
}

func (h *hider) wholeRow(v node) bool {
	names := list(v, "column_names")
	if str(v, "class") != "COLUMN_REF" || len(names) != 1 {
		return false
	}
	name := schema.Fold(names[0].(string))
	return name == schema.Fold(h.alias) &&
		!slices.ContainsFunc(h.columns, func(c string) bool { return schema.Fold(c) == name })
}

// pack is the whole row as a struct of its columns.
func (h *hider) pack(v node) node {
	args := make([]any, len(h.columns))
	for i, c := range h.columns {
		ref := columnRef(h.alias, c)
		ref["alias"] = c
		args[i] = ref
	}
	f := function("struct_pack", args...)
	f["alias"] = v["alias"]
	return f
}

func columnRef(names ...string) node {
	parts := make([]any, len(names))
	for i, n := range names {
		parts[i] = n
	}
	return node{"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "column_names": parts, "query_location": 0}
}

func function(name string, args ...any) node {
	return node{
		"class": "FUNCTION", "type": "FUNCTION", "alias": "", "query_location": 0, "function_name": name,
		"catalog": "", "schema": "", "children": args, "filter": nil, "distinct": false, "is_operator": false,
		"export_state": false, "order_bys": node{"type": "ORDER_MODIFIER", "orders": []any{}},
	}
}
