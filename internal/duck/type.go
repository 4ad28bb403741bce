//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	bindings "github.com/duckdb/duckdb-go-bindings"

	"github.com/siltlake/silt/schema"
)

// The types of a result become column types by this table. A type that has no line in it is an error
// that names the column. Where the third column is not "as it is", the SQL is wrapped in a CAST, which
// fails for the row whose value does not fit.
//
//	DuckDB                         column type        how
//	BOOLEAN                        BOOLEAN            as it is
//	TINYINT SMALLINT INTEGER       the same           as it is
//	BIGINT                         BIGINT             as it is
//	UTINYINT                       SMALLINT           cast
//	USMALLINT                      INT                cast
//	UINTEGER                       BIGINT             cast
//	UBIGINT                        DECIMAL(20,0)      cast
//	HUGEINT                        DECIMAL(38,0)      cast; 39 digits do not fit
//	FLOAT DOUBLE                   the same           as it is
//	DECIMAL(p,s)                   DECIMAL(p,s)       as it is
//	VARCHAR JSON                   STRING             as it is
//	UUID ENUM TIME TIMETZ INTERVAL STRING             cast to DuckDB's text
//	BLOB                           BINARY             as it is
//	DATE                           DATE               as it is
//	TIMESTAMPTZ                    TIMESTAMP          as it is, the moment in UTC
//	TIMESTAMP                      TIMESTAMP          cast: local time in Options.TimeZone
//	TIMESTAMP_S _MS _NS            TIMESTAMP          cast: the same, in microseconds
//	NULL                           STRING             cast, all NULL (INT in an ad-hoc query)
//	T[] T[n]                       ARRAY<T>           by element
//	STRUCT(a T, ...)               STRUCT<a: T, ...>  by field; a field without a name is an error
//	MAP(K, V)                      MAP<K, V>          by key and value
//
// There are two exceptions for TIMESTAMP without a zone. A column of the source whose type says
// TIMESTAMP_NTZ keeps it when it comes out under its name with its type unchanged; and an ad-hoc query,
// whose result is looked at and not kept, has TIMESTAMP_NTZ.
//
// Every column, element and value of a result can be NULL.

// Names of columns and fields are DuckDB's names too, but for two: it has no empty name, and a C string
// has no NUL. These stand for them, from Unicode's private use area.
const (
	emptyName = "\uf8fe"
	nulInName = "\uf8ff"
)

// duckName is what DuckDB calls a column or field.
func duckName(name string) string {
	if name == "" {
		return emptyName
	}
	return strings.ReplaceAll(name, "\x00", nulInName)
}

// siltName is the inverse of duckName.
func siltName(name string) string {
	if name == emptyName {
		return ""
	}
	return strings.ReplaceAll(name, nulInName, "\x00")
}

// jsonAlias is the name by which DuckDB knows a VARCHAR as JSON.
const jsonAlias = "JSON"

// duckType is a type of DuckDB, copied from its handle.
type duckType struct {
	id     bindings.Type
	parts  []*duckType // element; key and value; fields
	names  []string    // of fields
	decims schema.Decimal
	json   bool // text that is JSON
}

func newDuckType(l bindings.LogicalType) *duckType {
	t := &duckType{id: bindings.GetTypeId(l)}
	part := func(l bindings.LogicalType) {
		t.parts = append(t.parts, newDuckType(l))
		bindings.DestroyLogicalType(&l)
	}
	switch t.id {
	case bindings.TypeVarchar:
		t.json = bindings.LogicalTypeGetAlias(l) == jsonAlias
	case bindings.TypeDecimal:
		t.decims = schema.Decimal{Precision: int(bindings.DecimalWidth(l)), Scale: int(bindings.DecimalScale(l))}
	case bindings.TypeList:
		part(bindings.ListTypeChildType(l))
	case bindings.TypeArray:
		part(bindings.ArrayTypeChildType(l))
	case bindings.TypeMap:
		part(bindings.MapTypeKeyType(l))
		part(bindings.MapTypeValueType(l))
	case bindings.TypeStruct:
		for i := range bindings.StructTypeChildCount(l) {
			t.names = append(t.names, bindings.StructTypeChildName(l, i))
			part(bindings.StructTypeChildType(l, i))
		}
	}
	return t
}

// markNulls finds the columns and parts of columns whose type is NULL. A statement's own result has
// INTEGER in their place; typeof tells them apart, of which one row is asked for.
func (c *conn) markNulls(ctx context.Context, sql string, columns []column) error {
	if !slices.ContainsFunc(columns, func(c column) bool { return c.typ.has(bindings.TypeInteger) }) {
		return nil
	}
	var types, names []string
	for i := range columns {
		names = append(names, fmt.Sprintf("c%d", i))
		types = append(types, fmt.Sprintf("typeof(q.c%d)", i))
	}
	return c.each(ctx, "SELECT "+strings.Join(types, ", ")+" FROM (SELECT 1) LEFT JOIN (SELECT * FROM ("+
		statement(sql)+"\n) LIMIT 0) AS q("+strings.Join(names, ", ")+") ON true", func(rec arrow.RecordBatch) error {
		for i, col := range columns {
			if text, ok := rec.Column(i).(*array.String); ok && text.Len() == 1 {
				col.typ.mark(text.Value(0))
			}
		}
		return nil
	})
}

func (t *duckType) has(id bindings.Type) bool {
	return t.id == id || slices.ContainsFunc(t.parts, func(p *duckType) bool { return p.has(id) })
}

// mark sets the type NULL where text, which is t as DuckDB writes it, has it, and returns what follows
// the type in the text.
func (t *duckType) mark(text string) string {
	switch t.id {
	case bindings.TypeList, bindings.TypeArray:
		_, rest, _ := strings.Cut(t.parts[0].mark(text), "]")
		return rest
	case bindings.TypeStruct, bindings.TypeMap:
		_, text, _ = strings.Cut(text, "(")
		for i, p := range t.parts {
			if t.id == bindings.TypeStruct {
				name := t.names[i]
				if strings.HasPrefix(text, `"`) {
					name = ident(name)
				}
				text = strings.TrimPrefix(text, name)
			}
			rest := p.mark(strings.TrimPrefix(text, " "))
			text = strings.TrimPrefix(rest[min(1, len(rest)):], " ") // after the comma or the bracket
		}
		return text
	}
	if strings.HasPrefix(text, `"NULL"`) {
		t.id = bindings.TypeSQLNull
	}
	depth, i := 0, 0
	for i < len(text) {
		c := text[i]
		if depth == 0 && (c == ',' || c == ')' || c == '[') {
			break
		}
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		i, _ = token(text, i)
	}
	return text[i:]
}

// target is what a type of DuckDB becomes.
type target struct {
	typ   schema.Type
	sql   string // DuckDB's name of the type that typ is exported from
	exact bool   // DuckDB's type is that type already
}

var scalars = map[bindings.Type]target{
	bindings.TypeBoolean:     {schema.Boolean, "BOOLEAN", true},
	bindings.TypeTinyInt:     {schema.Byte, "TINYINT", true},
	bindings.TypeSmallInt:    {schema.Short, "SMALLINT", true},
	bindings.TypeInteger:     {schema.Integer, "INTEGER", true},
	bindings.TypeBigInt:      {schema.Long, "BIGINT", true},
	bindings.TypeUTinyInt:    {schema.Short, "SMALLINT", false},
	bindings.TypeUSmallInt:   {schema.Integer, "INTEGER", false},
	bindings.TypeUInteger:    {schema.Long, "BIGINT", false},
	bindings.TypeUBigInt:     {schema.Decimal{Precision: 20}, "DECIMAL(20,0)", false},
	bindings.TypeHugeInt:     {schema.Decimal{Precision: 38}, "DECIMAL(38,0)", false},
	bindings.TypeFloat:       {schema.Float, "FLOAT", true},
	bindings.TypeDouble:      {schema.Double, "DOUBLE", true},
	bindings.TypeVarchar:     {schema.String, "VARCHAR", true},
	bindings.TypeUUID:        {schema.String, "VARCHAR", false},
	bindings.TypeEnum:        {schema.String, "VARCHAR", false},
	bindings.TypeTime:        {schema.String, "VARCHAR", false},
	bindings.TypeTimeTZ:      {schema.String, "VARCHAR", false},
	bindings.TypeTimeNS:      {schema.String, "VARCHAR", false},
	bindings.TypeInterval:    {schema.String, "VARCHAR", false},
	bindings.TypeSQLNull:     {schema.String, "VARCHAR", false},
	bindings.TypeBlob:        {schema.Binary, "BLOB", true},
	bindings.TypeDate:        {schema.Date, "DATE", true},
	bindings.TypeTimestampTZ: {schema.Timestamp, "TIMESTAMPTZ", true},
	bindings.TypeTimestamp:   {schema.Timestamp, "TIMESTAMPTZ", false},
	bindings.TypeTimestampS:  {schema.Timestamp, "TIMESTAMPTZ", false},
	bindings.TypeTimestampMS: {schema.Timestamp, "TIMESTAMPTZ", false},
	bindings.TypeTimestampNS: {schema.Timestamp, "TIMESTAMPTZ", false},
}

// noColumn names the types that have no line in the table.
var noColumn = map[bindings.Type]string{
	bindings.TypeUHugeInt: "UHUGEINT", bindings.TypeBit: "BIT", bindings.TypeUnion: "UNION",
	bindings.TypeBigNum: "BIGNUM", bindings.TypeGeometry: "GEOMETRY", bindings.TypeVariant: "VARIANT",
}

// zone says what a TIMESTAMP without a zone becomes.
type zone bool

const (
	local zone = false // a moment, read in the zone of the session
	none  zone = true  // TIMESTAMP_NTZ
)

// column returns what t becomes, by the table above.
func (t *duckType) column(z zone) (target, error) {
	switch t.id {
	case bindings.TypeDecimal:
		return target{t.decims, t.decims.String(), true}, nil
	case bindings.TypeTimestamp, bindings.TypeTimestampS, bindings.TypeTimestampMS, bindings.TypeTimestampNS:
		if z == none {
			return target{schema.TimestampNTZ, "TIMESTAMP", t.id == bindings.TypeTimestamp}, nil
		}
	case bindings.TypeList, bindings.TypeArray:
		e, err := t.parts[0].column(z)
		return target{&schema.Array{Element: e.typ, ContainsNull: true}, e.sql + "[]", e.exact && t.id == bindings.TypeList}, err
	case bindings.TypeMap:
		k, err := t.parts[0].column(z)
		if err != nil {
			return target{}, err
		}
		v, err := t.parts[1].column(z)
		return target{
			&schema.Map{Key: k.typ, Value: v.typ, ValueContainsNull: true},
			"MAP(" + k.sql + ", " + v.sql + ")", k.exact && v.exact,
		}, err
	case bindings.TypeStruct:
		return t.structColumn(z)
	}
	if to, ok := scalars[t.id]; ok {
		return to, nil
	}
	if name, ok := noColumn[t.id]; ok {
		return target{}, fmt.Errorf("no column of a table can hold DuckDB's type %s", name)
	}
	return target{}, fmt.Errorf("no column of a table can hold DuckDB's type %d", t.id)
}

func (t *duckType) structColumn(z zone) (target, error) {
	out := target{exact: true}
	fields, texts := make([]schema.Field, len(t.parts)), make([]string, len(t.parts))
	for i, p := range t.parts {
		if t.names[i] == "" {
			return target{}, fmt.Errorf("a struct has a field without a name: write {'name': value} and not row(value)")
		}
		f, err := p.column(z)
		if err != nil {
			return target{}, err
		}
		fields[i], texts[i] = schema.Nullable(siltName(t.names[i]), f.typ), ident(t.names[i])+" "+f.sql
		out.exact = out.exact && f.exact
	}
	out.typ, out.sql = schema.NewStruct(fields...), "STRUCT("+strings.Join(texts, ", ")+")"
	return out, nil
}

// output is the result of a SELECT as silt takes it.
type output struct {
	schema *schema.Struct
	casts  []string // per column the expression to take in its place, in which column0 is the column; empty: as it is
}

// column0 stands for a column in an expression. No name has a NUL; see duckName.
const column0 = "\x00"

// newOutput finds the types of columns; source may be nil. The error is a *SQLError without SQL.
func newOutput(columns []column, source *schema.Struct, z zone) (*output, error) {
	out := &output{&schema.Struct{}, make([]string, len(columns))}
	for i, c := range columns {
		c.name = siltName(c.name)
		z := z
		if source != nil && keepsZone(c, source) {
			z = none
		}
		to, err := c.typ.column(z)
		if err != nil {
			return nil, &SQLError{
				Message: fmt.Sprintf("column %s: %s", schema.Quote(c.name), err),
				Hint:    "cast it in the SQL, for example CAST(… AS VARCHAR)",
			}
		}
		out.schema.Fields = append(out.schema.Fields, schema.Nullable(c.name, to.typ))
		if !to.exact {
			out.casts[i] = "CAST(" + column0 + " AS " + to.sql + ")"
		}
	}
	return out, nil
}

// keepsZone reports whether a column is one of the source, unchanged, that holds local times.
func keepsZone(c column, source *schema.Struct) bool {
	i := source.IndexFold(c.name)
	if i < 0 || !hasLocalTime(source.Fields[i].Type) {
		return false
	}
	to, err := c.typ.column(none)
	return err == nil && to.exact && schema.Equal(to.typ, nullable(source.Fields[i].Type))
}

func hasLocalTime(t schema.Type) bool {
	switch t := t.(type) {
	case *schema.Array:
		return hasLocalTime(t.Element)
	case *schema.Map:
		return hasLocalTime(t.Key) || hasLocalTime(t.Value)
	case *schema.Struct:
		for _, f := range t.Fields {
			if hasLocalTime(f.Type) {
				return true
			}
		}
	}
	return t == schema.TimestampNTZ
}

// nullable returns t with NULL allowed in every part.
func nullable(t schema.Type) schema.Type {
	switch t := t.(type) {
	case *schema.Array:
		return &schema.Array{Element: nullable(t.Element), ContainsNull: true}
	case *schema.Map:
		return &schema.Map{Key: nullable(t.Key), Value: nullable(t.Value), ValueContainsNull: true}
	case *schema.Struct:
		out := &schema.Struct{Fields: make([]schema.Field, len(t.Fields))}
		for i, f := range t.Fields {
			out.Fields[i] = schema.Nullable(f.Name, nullable(f.Type))
		}
		return out
	}
	return t
}

// as gives columns the types that they must have.
func (o *output) as(types *schema.Struct, columns []column) error {
	for i, f := range o.schema.Fields {
		k := types.IndexFold(f.Name)
		if k < 0 {
			continue
		}
		to := nullable(types.Fields[k].Type)
		if schema.Equal(to, f.Type) {
			continue
		}
		sql, err := sqlType(to)
		if err != nil || schema.IsScalar(to) != schema.IsScalar(f.Type) && to != schema.String {
			return &SQLError{
				Message: fmt.Sprintf("column %s is %s in the SQL and %s in the table", schema.Quote(f.Name), f.Type, types.Fields[k].Type),
				Hint:    "give it another name with AS",
			}
		}
		o.schema.Fields[i].Type = to
		o.casts[i] = exactCast(columns[i].typ.id, f.Type, to, sql)
	}
	return nil
}

// exactCast is a cast of column0 that fails where DuckDB would round.
func exactCast(id bindings.Type, from, to schema.Type, sql string) string {
	cast := "CAST(" + column0 + " AS " + sql + ")"
	var same string
	switch {
	case !isWhole(to) && !isDecimal(to):
		return cast
	case from == schema.Double || from == schema.Float || isDecimal(from):
		same = cast + " = " + column0
	case id == bindings.TypeVarchar && isWhole(to):
		same = cast + " = CAST(" + column0 + " AS DOUBLE)"
	default:
		return cast
	}
	return "CASE WHEN " + column0 + " IS NULL OR " + same + " THEN " + cast +
		" ELSE error(" + column0 + " || ' does not fit the type " + sql + " exactly') END"
}

func isWhole(t schema.Type) bool {
	return t == schema.Byte || t == schema.Short || t == schema.Integer || t == schema.Long
}

func isDecimal(t schema.Type) bool { _, ok := t.(schema.Decimal); return ok }

// sqlType is DuckDB's name for a column type.
func sqlType(t schema.Type) (string, error) {
	switch t := t.(type) {
	case schema.Decimal:
		return t.String(), nil
	case *schema.Array:
		e, err := sqlType(t.Element)
		return e + "[]", err
	case *schema.Map:
		k, err := sqlType(t.Key)
		if err != nil {
			return "", err
		}
		v, err := sqlType(t.Value)
		return "MAP(" + k + ", " + v + ")", err
	case *schema.Struct:
		fields := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			sql, err := sqlType(f.Type)
			if err != nil {
				return "", err
			}
			fields[i] = ident(duckName(f.Name)) + " " + sql
		}
		return "STRUCT(" + strings.Join(fields, ", ") + ")", nil
	case schema.Primitive:
		if t == schema.TimestampNTZ {
			return "TIMESTAMP", nil
		}
		for _, to := range scalars {
			if to.typ == t && to.exact {
				return to.sql, nil
			}
		}
	}
	return "", fmt.Errorf("DuckDB has no type %s", t)
}

// unique fails when two columns have one name, which a table cannot have.
func (o *output) unique() error {
	seen := map[string]bool{}
	for _, f := range o.schema.Fields {
		if folded := schema.Fold(f.Name); seen[folded] {
			return &SQLError{
				Message: fmt.Sprintf("two columns are called %s", schema.Quote(f.Name)),
				Hint:    "give one of them another name with AS",
			}
		} else {
			seen[folded] = true
		}
	}
	return nil
}

// wrap returns a SELECT of the columns of query, cast, under the names c0, c1, ...: names that are
// given twice in the query are no trouble, and the schema has the right ones. More columns that query
// has after those of o are kept as they are.
func (o *output) wrap(query string, more int) string {
	var list, names strings.Builder
	for i := range len(o.casts) + more {
		if i > 0 {
			list.WriteString(", ")
			names.WriteString(", ")
		}
		fmt.Fprintf(&names, "c%d", i)
		if i < len(o.casts) && o.casts[i] != "" {
			name := fmt.Sprintf("c%d", i)
			list.WriteString(strings.ReplaceAll(o.casts[i], column0, name) + " AS " + name)
		} else {
			fmt.Fprintf(&list, "c%d", i)
		}
	}
	return "SELECT " + list.String() + " FROM (" + query + "\n) AS q(" + names.String() + ")"
}

// exact reports whether no column needs a cast.
func (o *output) exact() bool {
	for _, c := range o.casts {
		if c != "" {
			return false
		}
	}
	return true
}

// arrowScalars are DuckDB's types for Arrow's, as DuckDB takes these in.
var arrowScalars = map[arrow.Type]bindings.Type{
	arrow.NULL: bindings.TypeSQLNull, arrow.BOOL: bindings.TypeBoolean,
	arrow.INT8: bindings.TypeTinyInt, arrow.INT16: bindings.TypeSmallInt, arrow.INT32: bindings.TypeInteger, arrow.INT64: bindings.TypeBigInt,
	arrow.UINT8: bindings.TypeUTinyInt, arrow.UINT16: bindings.TypeUSmallInt, arrow.UINT32: bindings.TypeUInteger, arrow.UINT64: bindings.TypeUBigInt,
	arrow.FLOAT32: bindings.TypeFloat, arrow.FLOAT64: bindings.TypeDouble,
	arrow.STRING: bindings.TypeVarchar, arrow.LARGE_STRING: bindings.TypeVarchar, arrow.STRING_VIEW: bindings.TypeVarchar,
	arrow.BINARY: bindings.TypeBlob, arrow.LARGE_BINARY: bindings.TypeBlob, arrow.DATE32: bindings.TypeDate,
}

// logicalType returns DuckDB's type for the values of a field; the caller destroys it.
func logicalType(f arrow.Field) (bindings.LogicalType, error) {
	switch t := f.Type.(type) {
	case *arrow.TimestampType:
		switch {
		case t.TimeZone != "":
			return bindings.CreateLogicalType(bindings.TypeTimestampTZ), nil
		case t.Unit == arrow.Microsecond:
			return bindings.CreateLogicalType(bindings.TypeTimestamp), nil
		}
	case *arrow.Decimal128Type:
		return bindings.CreateDecimalType(uint8(t.Precision), uint8(t.Scale)), nil
	case *arrow.ListType:
		e, err := logicalType(t.ElemField())
		if err != nil {
			return e, err
		}
		defer bindings.DestroyLogicalType(&e)
		return bindings.CreateListType(e), nil
	case *arrow.MapType:
		k, err := logicalType(t.KeyField())
		if err != nil {
			return k, err
		}
		defer bindings.DestroyLogicalType(&k)
		v, err := logicalType(t.ItemField())
		if err != nil {
			return v, err
		}
		defer bindings.DestroyLogicalType(&v)
		return bindings.CreateMapType(k, v), nil
	case *arrow.StructType:
		names, types := make([]string, t.NumFields()), make([]bindings.LogicalType, t.NumFields())
		for i, f := range t.Fields() {
			var err error
			if types[i], err = logicalType(f); err != nil {
				return types[i], err
			}
			names[i] = duckName(f.Name)
			defer bindings.DestroyLogicalType(&types[i])
		}
		if len(names) == 0 {
			return bindings.LogicalType{}, fmt.Errorf("SQL has no struct without fields")
		}
		return bindings.CreateStructType(types, names), nil
	}
	if d, ok := arrowScalars[f.Type.ID()]; ok {
		l := bindings.CreateLogicalType(d)
		if schema.HoldsJSON(f) {
			bindings.LogicalTypeSetAlias(l, jsonAlias)
		}
		return l, nil
	}
	return bindings.LogicalType{}, fmt.Errorf("SQL cannot read Arrow's %s", f.Type)
}

// markJSON is a field that holds values of DuckDB's type t, with the mark of JSON where t has it.
func markJSON(f arrow.Field, t *duckType) arrow.Field {
	if t.json {
		return schema.JSONField(f)
	}
	switch to := f.Type.(type) {
	case *arrow.ListType:
		f.Type = arrow.ListOfField(markJSON(to.ElemField(), t.parts[0]))
	case *arrow.MapType:
		f.Type = arrow.MapOfFields(to.KeyField(), markJSON(to.ItemField(), t.parts[1]))
	case *arrow.StructType:
		fields := to.Fields()
		for i := range fields {
			fields[i] = markJSON(fields[i], t.parts[i])
		}
		f.Type = arrow.StructOf(fields...)
	}
	return f
}

// retype returns data as an array of type t, which has the same layout: other names of children, other
// nullability, UTC for the session's zone. No value is copied.
func retype(data arrow.ArrayData, t arrow.DataType) (arrow.ArrayData, error) {
	if data.DataType().ID() != t.ID() {
		return nil, fmt.Errorf("duckdb gave %s, want %s", data.DataType(), t)
	}
	var want []arrow.DataType
	switch t := t.(type) {
	case *arrow.ListType:
		want = []arrow.DataType{t.Elem()}
	case *arrow.MapType:
		want = []arrow.DataType{t.Elem()}
	case *arrow.StructType:
		for _, f := range t.Fields() {
			want = append(want, f.Type)
		}
	}
	children := make([]arrow.ArrayData, len(want))
	for i, c := range data.Children() {
		child, err := retype(c, want[i])
		if err != nil {
			return nil, err
		}
		defer child.Release()
		children[i] = child
	}
	return array.NewData(t, data.Len(), data.Buffers(), children, data.NullN(), data.Offset()), nil
}

// batch returns the first columns of rec as a batch of the schema. It does not keep rec, which the
// caller still releases.
func batch(rec arrow.RecordBatch, s *arrow.Schema) (arrow.RecordBatch, error) {
	cols := make([]arrow.Array, 0, s.NumFields())
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for i, f := range s.Fields() {
		data, err := retype(rec.Column(i).Data(), f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", schema.Quote(f.Name), err)
		}
		cols = append(cols, array.MakeFromData(data))
		data.Release()
	}
	return array.NewRecordBatch(s, cols, rec.NumRows()), nil
}
