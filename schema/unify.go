package schema

// Unify returns the smallest type that holds every value of a and of b: the rule by which two values
// seen under one key get one type. Void is its bottom and STRING its top.
//
// It is commutative, associative, idempotent and monotone, so the order in which files are read does
// not show in a schema. The fields of a struct come out sorted by [CompareNames]; names that differ
// only by case are one field, spelled as the first of them in that order. Nullability is always true.
//
// Source: Spark's JsonInferSchema; Auto Loader, "Schema inference".
func Unify(a, b Type) Type {
	switch {
	case a == Void:
		return normal(b)
	case b == Void:
		return normal(a)
	}
	if na, ok := numberOf(a); ok {
		if nb, ok := numberOf(b); ok {
			return na.unify(nb)
		}
	}
	switch a := a.(type) {
	case Primitive:
		if a == b {
			return a
		}
	case *Array:
		if b, ok := b.(*Array); ok {
			return &Array{Element: Unify(a.Element, b.Element), ContainsNull: true}
		}
	case *Map:
		if b, ok := b.(*Map); ok {
			return &Map{Key: Unify(a.Key, b.Key), Value: Unify(a.Value, b.Value), ValueContainsNull: true}
		}
	case *Struct:
		if b, ok := b.(*Struct); ok {
			return unifyStructs(a, b)
		}
	}
	return String
}

// normal brings a type into the form that Unify returns.
func normal(t Type) Type {
	switch t := t.(type) {
	case *Array:
		return &Array{Element: normal(t.Element), ContainsNull: true}
	case *Map:
		return &Map{Key: normal(t.Key), Value: normal(t.Value), ValueContainsNull: true}
	case *Struct:
		return unifyStructs(t, &Struct{})
	}
	return t
}

func unifyStructs(a, b *Struct) *Struct {
	byName := make(map[string]int, len(a.Fields)+len(b.Fields))
	out := make([]Field, 0, len(a.Fields)+len(b.Fields))
	for _, fields := range [...][]Field{a.Fields, b.Fields} {
		for _, f := range fields {
			key := Fold(f.Name)
			i, ok := byName[key]
			if !ok {
				byName[key] = len(out)
				out = append(out, Nullable(f.Name, normal(f.Type)))
				continue
			}
			if CompareNames(f.Name, out[i].Name) < 0 {
				out[i].Name = f.Name
			}
			out[i].Type = Unify(out[i].Type, f.Type)
		}
	}
	SortFields(out)
	return &Struct{Fields: out}
}

// number places a numeric type in the lattice integers < decimals < DOUBLE.
type number struct {
	kind    numberKind
	integer int // digits before the point, for decimals
	scale   int // digits after it
	fixed   Primitive
}

type numberKind uint8

const (
	fixedNumber numberKind = iota
	decimalNumber
	doubleNumber
)

func numberOf(t Type) (number, bool) {
	switch t := t.(type) {
	case Decimal:
		return number{kind: decimalNumber, integer: t.Precision - t.Scale, scale: t.Scale}, true
	case Primitive:
		switch t {
		case Byte, Short, Integer, Long:
			return number{kind: fixedNumber, integer: integerDigits(t), fixed: t}, true
		case Float, Double:
			return number{kind: doubleNumber, fixed: t}, true
		}
	}
	return number{}, false
}

// integerDigits is the precision an integer type counts for beside a decimal: 20 for BIGINT, as in
// Spark's inference, and 10 for the narrower ones.
func integerDigits(p Primitive) int {
	if p == Long {
		return 20
	}
	return 10
}

func (n number) unify(m number) Type {
	if n.kind < m.kind {
		n, m = m, n
	}
	switch {
	case n.kind == doubleNumber && m.kind == doubleNumber, n.kind == fixedNumber && m.kind == fixedNumber:
		return max(n.fixed, m.fixed)
	case n.kind == doubleNumber:
		return Double
	}
	integer, scale := max(n.integer, m.integer), max(n.scale, m.scale)
	if integer+scale > MaxPrecision {
		return Double
	}
	return Decimal{Precision: integer + scale, Scale: scale}
}
