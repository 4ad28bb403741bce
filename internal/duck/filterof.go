//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// FilterOf reads a condition on the rows of a table, which may be named in it.
func (e *Engine) FilterOf(ctx context.Context, condition, table string) (*Filter, error) {
	tree, err := e.c.parse(ctx, "SELECT 1 FROM t WHERE ("+condition+"\n)")
	if err != nil {
		return nil, err
	}
	where := sub(sub(tree, "node"), "where_clause")
	f := &Filter{Columns: columnsOf(where, table)}
	f.add(where)
	return f, nil
}

// columnsOf are the columns that an expression may look at; nil is all.
func columnsOf(expression node, table string) []string {
	out, all := []string{}, false
	each(expression, func(n node) bool {
		switch str(n, "class") {
		case "STAR", "SUBQUERY", "LAMBDA", "POSITIONAL_REFERENCE":
			all = true
		case "COLUMN_REF":
			names := pathOf(n)
			if len(names) > 1 && strings.EqualFold(names[0], table) {
				out = append(out, names[1])
			}
			if len(names) == 1 && strings.EqualFold(names[0], table) {
				all = true // the whole row
			}
			out = append(out, names[0])
		}
		return true
	})
	if all {
		return nil
	}
	return out
}

func pathOf(n node) (names []string) {
	for _, name := range list(n, "column_names") {
		names = append(names, fmt.Sprint(name))
	}
	return names
}

// comparisons are those of DuckDB, and what they are with their sides changed.
var comparisons = map[string][2]string{
	"COMPARE_EQUAL": {"=", "="}, "COMPARE_NOTEQUAL": {"<>", "<>"}, "COMPARE_LESSTHAN": {"<", ">"}, "COMPARE_GREATERTHAN": {">", "<"},
	"COMPARE_LESSTHANOREQUALTO": {"<=", ">="}, "COMPARE_GREATERTHANOREQUALTO": {">=", "<="},
}

// add takes the terms of an expression that must be true.
func (f *Filter) add(n node) {
	switch class, typ := str(n, "class"), str(n, "type"); {
	case typ == "CONJUNCTION_AND":
		for _, kid := range list(n, "children") {
			if kid, ok := kid.(node); ok {
				f.add(kid)
			}
		}
	case class == "COMPARISON":
		op, ok := comparisons[typ]
		left, right := sub(n, "left"), sub(n, "right")
		if ok && !f.term(left, op[0], right) {
			f.term(right, op[1], left)
		}
	case typ == "COMPARE_BETWEEN":
		f.term(sub(n, "input"), ">=", sub(n, "lower"))
		f.term(sub(n, "input"), "<=", sub(n, "upper"))
	case typ == "COMPARE_IN":
		kids := list(n, "children")
		values := make([]node, len(kids))
		for i, kid := range kids {
			values[i], _ = kid.(node)
		}
		if len(values) > 1 {
			f.term(values[0], "IN", values[1:]...)
		}
	}
}

func (f *Filter) term(column node, op string, values ...node) bool {
	if str(column, "class") != "COLUMN_REF" {
		return false
	}
	t := Term{Column: pathOf(column), Op: op}
	for _, v := range values {
		c, ok := constantOf(v)
		if !ok {
			return false
		}
		t.Values = append(t.Values, c)
	}
	f.Terms = append(f.Terms, t)
	return true
}

func constantOf(n node) (Constant, bool) {
	if to := str(sub(n, "cast_type"), "id"); str(n, "type") == "OPERATOR_CAST" && n["try_cast"] != true && (to == "DATE" || to == "TIMESTAMP") {
		c, ok := constantOf(sub(n, "child"))
		return Constant{to, c.Text}, ok && c.Type == "VARCHAR"
	}
	value := sub(n, "value")
	if str(n, "class") != "CONSTANT" || value["is_null"] == true {
		return Constant{}, false
	}
	text := fmt.Sprint(value["value"])
	switch id := str(sub(value, "type"), "id"); {
	case id == "VARCHAR":
		return Constant{"VARCHAR", text}, true
	case slices.Contains([]string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}, id):
		return Constant{"DECIMAL", text}, true
	case id == "DECIMAL":
		if digits, ok := new(big.Int).SetString(text, 10); ok {
			return decimalConstant(digits, sub(sub(value, "type"), "type_info"))
		}
	}
	return Constant{}, false
}

// decimalConstant is a number that is given without its point.
func decimalConstant(digits *big.Int, info node) (Constant, bool) {
	var scale int64
	if _, err := fmt.Sscan(fmt.Sprint(info["scale"]), &scale); err != nil || scale < 0 || scale > 38 {
		return Constant{}, false
	}
	r := new(big.Rat).SetFrac(digits, new(big.Int).Exp(big.NewInt(10), big.NewInt(scale), nil))
	return Constant{"DECIMAL", r.FloatString(int(scale))}, true
}
