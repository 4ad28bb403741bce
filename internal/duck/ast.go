//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/siltlake/silt/schema"
)

// SQL is read by DuckDB's own parser, which tells the statement as JSON (json_serialize_sql) and takes
// it back (json_deserialize_sql). A node is an object of that JSON, kept as it is: silt looks at a few
// keys and leaves the others alone.
type node = map[string]any

// parse reads one SELECT. A mistake is a *SQLError.
func (c *conn) parse(ctx context.Context, sql string) (node, error) {
	if strings.ContainsRune(sql, 0) {
		return nil, &SQLError{Message: "a NUL character in the SQL", SQL: sql}
	}
	text, err := c.text(ctx, "SELECT json_serialize_sql("+literal(sql)+")::VARCHAR")
	if err != nil {
		return nil, sqlError(err, sql, nil)
	}
	var reply struct {
		Error    bool   `json:"error"`
		Type     string `json:"error_type"`
		Message  string `json:"error_message"`
		Position string `json:"position"`
	}
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		return nil, &SQLError{Message: "a number in the SQL is out of range", SQL: sql}
	}
	switch {
	case reply.Type == "not implemented":
		return nil, &SQLError{Message: "only a SELECT can be run here", SQL: sql, Hint: "write one SELECT (or WITH … SELECT) statement"}
	case reply.Error:
		return nil, sqlError(&duckError{Kind: "Parser", Message: reply.Message, Position: reply.Position}, sql, same)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // locations use all 64 bits
	var tree struct{ Statements []node }
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("duckdb: statement as JSON: %w", err)
	}
	switch len(tree.Statements) {
	case 0:
		return nil, &SQLError{Message: "the SQL is empty", SQL: sql}
	case 1:
	default:
		return nil, &SQLError{Message: fmt.Sprintf("%d statements, want one SELECT", len(tree.Statements)), SQL: sql}
	}
	if params := list(tree.Statements[0], "named_param_map"); len(params) > 0 {
		return nil, &SQLError{Message: "the SQL has parameters (? or $name), for which there are no values", SQL: sql}
	}
	return tree.Statements[0], nil
}

// unparse writes a statement as SQL and makes sure that DuckDB reads it back as the same statement. It
// changes constants of st to what DuckDB writes without loss.
func (c *conn) unparse(ctx context.Context, statement node) (string, error) {
	plainConstants(statement)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(node{"error": false, "statements": []any{statement}}); err != nil {
		return "", err
	}
	sql, err := c.text(ctx, "SELECT json_deserialize_sql("+literal(b.String())+"::JSON)")
	if err != nil {
		return "", err
	}
	back, err := c.parse(ctx, sql)
	if err != nil {
		return "", err
	}
	if !sameNode(statement, back) {
		return "", errors.New("duckdb writes the statement other than it reads it")
	}
	return sql, nil
}

// plainConstants makes CAST('1e10' AS DOUBLE) of 1e10, which DuckDB would write as the decimal number
// 10000000000.0, and CAST('t' AS BOOLEAN) of the TRUE in IS TRUE.
func plainConstants(v any) {
	each(v, func(n node) bool {
		value := sub(n, "value")
		id := str(sub(value, "type"), "id")
		if str(n, "class") != "CONSTANT" || value["is_null"] == true || id != "DOUBLE" && id != "BOOLEAN" {
			return true
		}
		text := fmt.Sprint(value["value"])
		if id == "BOOLEAN" {
			text = text[:1]
		}
		n["child"] = node{
			"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "query_location": n["query_location"],
			"value": node{"type": node{"id": "VARCHAR", "type_info": nil}, "is_null": false, "value": text},
		}
		n["class"], n["type"], n["cast_type"], n["try_cast"] = "CAST", "OPERATOR_CAST", value["type"], false
		delete(n, "value")
		return false
	})
}

// sameNode compares trees without the locations of their nodes.
func sameNode(a, b any) bool {
	switch a := a.(type) {
	case node:
		b, ok := b.(node)
		if str(a, "type") == "EXPRESSION_LIST" && str(b, "type") == "SUBQUERY" {
			b = sub(sub(sub(b, "subquery"), "node"), "from_table") // VALUES comes back in brackets
		}
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			w, ok := b[k]
			switch {
			case !ok:
				return false
			case k == "query_location":
			case k == "exclude_list", k == "qualified_exclude_list", k == "replace_list", k == "rename_list":
				if !sameSet(list(a, k), list(b, k)) { // DuckDB keeps them without order
					return false
				}
			case !sameNode(v, w):
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameNode)
	}
	return a == b
}

func sameSet(a, b []any) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(v any) bool {
		return !slices.ContainsFunc(b, func(w any) bool { return sameNode(v, w) })
	})
}

// clone copies a tree.
func clone(v any) any {
	switch v := v.(type) {
	case node:
		out := make(node, len(v))
		for k, w := range v {
			out[k] = clone(w)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, w := range v {
			out[i] = clone(w)
		}
		return out
	}
	return v
}

func str(n node, key string) string { s, _ := n[key].(string); return s }
func sub(n node, key string) node   { s, _ := n[key].(node); return s }
func list(n node, key string) []any { l, _ := n[key].([]any); return l }

// location is the offset of a node in the bytes of the statement, or -1.
func location(n node) int {
	if num, ok := n["query_location"].(json.Number); ok {
		if i, err := num.Int64(); err == nil {
			return int(i)
		}
	}
	return -1
}

// step is a named query of a WITH clause and the steps that it can see.
type step struct {
	name  string // folded
	query node   // a SELECT_NODE, SET_OPERATION_NODE, ...
	entry node   // its object in cte_map
	scope *scope
}

// scope is what table names mean at a place: the innermost WITH first.
type scope struct {
	step  *step
	outer *scope
}

func (s *scope) find(name string) *step {
	folded := schema.Fold(name)
	for ; s != nil; s = s.outer {
		if s.step.name == folded {
			return s.step
		}
	}
	return nil
}

// with returns the scope inside a query: its own WITH steps in front of those around it. A step sees
// the ones before it and, when it is recursive, itself.
func (s *scope) with(query node) *scope {
	for _, e := range list(sub(query, "cte_map"), "map") {
		e, _ := e.(node)
		st := &step{name: schema.Fold(str(e, "key")), query: sub(sub(sub(e, "value"), "query"), "node"), entry: e, scope: s}
		s = &scope{st, s}
		if str(st.query, "type") == "RECURSIVE_CTE_NODE" {
			st.scope = s
		}
	}
	return s
}

// isQuery reports whether a node is a query, which can have a WITH.
func isQuery(n node) bool { _, ok := n["cte_map"]; return ok }

// tables calls f for each table in v that is not a step of a WITH, once for each way that leads to it:
// a table below a step that is used twice comes twice. It does not look at steps that nobody uses.
func tables(v any, s *scope, f func(table node)) {
	visitTables(v, s, f, map[*step]bool{})
}

func visitTables(v any, s *scope, f func(node), inside map[*step]bool) {
	switch v := v.(type) {
	case []any:
		for _, w := range v {
			visitTables(w, s, f, inside)
		}
	case node:
		if str(v, "type") == "BASE_TABLE" {
			if st := stepOf(v, s); st == nil {
				f(v)
			} else if !inside[st] { // a recursive step is in itself
				inside[st] = true
				visitTables(st.query, st.scope, f, inside)
				delete(inside, st)
			}
		}
		if isQuery(v) {
			s = s.with(v)
		}
		for _, k := range sortedKeys(v) {
			if k != "cte_map" {
				visitTables(v[k], s, f, inside)
			}
		}
	}
}

func stepOf(table node, s *scope) *step {
	if str(table, "schema_name") != "" || str(table, "catalog_name") != "" {
		return nil
	}
	return s.find(str(table, "table_name"))
}

// each calls f for every node of a tree until f says not to go below one.
func each(v any, f func(node) (below bool)) {
	switch v := v.(type) {
	case []any:
		for _, w := range v {
			each(w, f)
		}
	case node:
		if f(v) {
			for _, k := range sortedKeys(v) {
				each(v[k], f)
			}
		}
	}
}

func sortedKeys(n node) []string {
	keys := make([]string, 0, len(n))
	for k := range n {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// refused are table functions that reach behind the tables of a query: at memory, at settings, at text
// that is run as SQL without being looked at.
var refused = map[string]bool{
	feedFunction: true, "arrow_scan": true, "arrow_scan_dumb": true, "seq_scan": true, "query": true, "query_table": true,
	"json_execute_serialized_sql": true, "checkpoint": true, "force_checkpoint": true,
	"enable_logging": true, "disable_logging": true, "truncate_duckdb_logs": true,
	"enable_profiling": true, "disable_profiling": true, "enable_peg_parser": true, "disable_peg_parser": true,
}

// refuse fails for SQL that uses one of the refused functions.
func refuse(statement node, sql string) error {
	var found *SQLError
	each(statement, func(n node) bool {
		if fn := sub(n, "function"); str(n, "type") == "TABLE_FUNCTION" && refused[strings.ToLower(str(fn, "function_name"))] {
			found = &SQLError{Message: str(fn, "function_name") + "() is not allowed here", SQL: sql}
			found.place(location(fn))
		}
		return found == nil
	})
	if found != nil {
		return found
	}
	return nil
}

// literal is text as a string of SQL.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// ident is name as a quoted identifier.
func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func same(pos int) int { return pos }
