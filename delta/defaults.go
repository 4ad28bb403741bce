package delta

import (
	"regexp"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/scalar"

	"github.com/siltlake/silt/schema"
)

// metaDefault is the metadata key of the value, as SQL, that a column has in rows which do not give one.
// Source: protocol, "Default Columns".
const metaDefault = "CURRENT_DEFAULT"

var numberLiteral = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)

// columnDefault returns the default of a column: nil is null. It is not ok when the SQL is more than a
// literal of the column's type.
func columnDefault(f schema.Field) (value scalar.Scalar, ok bool) {
	sql, has := f.MetadataString(metaDefault)
	if !has {
		return nil, f.Metadata[metaDefault] == nil
	}
	sql = strings.TrimSpace(sql)
	text, quoted := unquoteSQL(sql)
	switch {
	case strings.EqualFold(sql, "null"):
		return nil, true
	case quoted && f.Type == schema.String:
		return scalar.NewStringScalar(text), true
	case f.Type == schema.Boolean && (strings.EqualFold(sql, "true") || strings.EqualFold(sql, "false")):
		return scalar.NewBooleanScalar(strings.EqualFold(sql, "true")), true
	case f.Type == schema.Date && len(sql) > 4 && strings.EqualFold(sql[:4], "date"):
		text, quoted = unquoteSQL(strings.TrimSpace(sql[4:]))
	case numberLiteral.MatchString(sql) && isNumber(f.Type):
		text, quoted = sql, true
	default:
		return nil, false
	}
	if !quoted {
		return nil, false
	}
	value, err := parseScalar(f.Type, text)
	return value, err == nil
}

func isNumber(t schema.Type) bool {
	switch t {
	case schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Float, schema.Double:
		return true
	}
	_, ok := t.(schema.Decimal)
	return ok
}

// unquoteSQL reads a text literal without escapes, on which dialects differ.
func unquoteSQL(sql string) (text string, ok bool) {
	if len(sql) < 2 || sql[0] != sql[len(sql)-1] || sql[0] != '\'' && sql[0] != '"' || strings.Contains(sql, `\`) {
		return "", false
	}
	inner := sql[1 : len(sql)-1]
	return inner, !strings.Contains(inner, sql[:1])
}

// unknownDefault names a column whose default is not understood.
func unknownDefault(_ *Metadata, s *schema.Struct) (use string) {
	walkFields(nil, s, func(path []string, f schema.Field) {
		_, ok := columnDefault(f)
		if nested := len(path) > 1 && f.Metadata[metaDefault] != nil; (!ok || nested) && use == "" {
			use = "column " + schema.Path(path...)
		}
	})
	return use
}
