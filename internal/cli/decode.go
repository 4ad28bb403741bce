package cli

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder fills the types of the pipeline file from values and notes every mistake on the way. The
// types are those of file.go; the JSON Schema is made from the same.
type decoder struct{ faults []fault }

// withLater is a type of the pipeline file whose keys include some that this version knows and does not
// support yet.
type withLater interface{ later() []string }

// selfDecoder is a type of the pipeline file that can be written in more than one way.
type selfDecoder interface {
	decode(d *decoder, v *value, path []string)
}

func (d *decoder) fault(at place, path []string, code, hint, format string, args ...any) {
	d.faults = append(d.faults, fault{code, fmt.Sprintf(format, args...), hint, at, strings.Join(path, ".")})
}

// into decodes v into dst. A key without a value leaves dst as it is.
func (d *decoder) into(v *value, dst reflect.Value, path []string) {
	if v == nil || v.kind == null {
		return
	}
	if s, ok := dst.Addr().Interface().(selfDecoder); ok {
		s.decode(d, v, path)
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		d.structure(v, dst, path)
	case reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		d.into(v, dst.Elem(), path)
	case reflect.Map:
		d.mapping(v, dst, path)
	case reflect.Slice:
		d.list(v, dst, path)
	case reflect.String:
		if d.scalar(v, path) {
			dst.SetString(v.text)
		}
	case reflect.Bool:
		if v.kind != boolean {
			hint := "write true or false"
			if w := strings.ToLower(v.text); w == "yes" || w == "on" || w == "no" || w == "off" {
				hint = "write true or false; " + w + " is text in YAML 1.2"
			}
			d.wrongKind(v, path, "true or false", hint)
			return
		}
		dst.SetBool(v.text == "true")
	case reflect.Int:
		n, err := strconv.Atoi(v.text)
		if v.kind != number || err != nil {
			d.wrongKind(v, path, "a whole number", "")
			return
		}
		dst.SetInt(int64(n))
	default:
		panic("cli: no rule for " + dst.Type().String())
	}
}

func (d *decoder) wrongKind(v *value, path []string, want, hint string) {
	is := v.kind.String()
	if v.kind <= text && v.text != "" && !v.secret {
		is = strconv.Quote(cut(v.text, 60))
	}
	name := "the file"
	if len(path) > 0 {
		name = path[len(path)-1]
	}
	d.fault(v.at, path, codeKind, hint, "%s is %s; it takes %s", name, is, want)
}

func (d *decoder) scalar(v *value, path []string) bool {
	if v.kind > text {
		hint := ""
		if v.kind == list {
			hint = "write it as text, with commas"
		}
		d.wrongKind(v, path, "text", hint)
		return false
	}
	return true
}

func (d *decoder) structure(v *value, dst reflect.Value, path []string) {
	if v.kind != mapping {
		d.wrongKind(v, path, "a mapping", "")
		return
	}
	fields := map[string]reflect.Value{}
	var known, later []string
	for i := range dst.NumField() {
		name, _, _ := strings.Cut(dst.Type().Field(i).Tag.Get("json"), ",")
		fields[name] = dst.Field(i)
		known = append(known, name)
	}
	if l, ok := dst.Addr().Interface().(withLater); ok {
		later = l.later()
	}
	for _, e := range v.entries {
		path := append(slices.Clip(path), e.key)
		switch field, ok := fields[e.key]; {
		case ok:
			d.into(e.value, field, path)
		case slices.Contains(later, e.key):
			d.fault(e.at, path, codeUnsupported, "remove it, or use a later version of silt", "%s is not supported yet", e.key)
		default:
			hint := "it takes " + strings.Join(known, ", ")
			if n := nearest(e.key, slices.Concat(known, later)); n != "" {
				hint = "did you mean " + n + "?"
			} else if slices.ContainsFunc(optionNames(), func(o string) bool { return plainName(o) == plainName(e.key) }) {
				hint = "it is an option: write it under options:"
			}
			d.fault(e.at, path, codeKey, hint, "there is no key %q", e.key)
		}
	}
}

func (d *decoder) mapping(v *value, dst reflect.Value, path []string) {
	if v.kind != mapping {
		d.wrongKind(v, path, "a mapping", "")
		return
	}
	dst.Set(reflect.MakeMap(dst.Type()))
	for _, e := range v.entries {
		item := reflect.New(dst.Type().Elem()).Elem()
		d.into(e.value, item, append(slices.Clip(path), e.key))
		dst.SetMapIndex(reflect.ValueOf(e.key), item)
	}
}

// list takes a single text for a list of one.
func (d *decoder) list(v *value, dst reflect.Value, path []string) {
	items := v.items
	switch v.kind {
	case list:
	case mapping:
		d.wrongKind(v, path, "a list", "")
		return
	default:
		items = []*value{v}
	}
	dst.Set(reflect.MakeSlice(dst.Type(), 0, len(items)))
	for i, item := range items {
		e := reflect.New(dst.Type().Elem()).Elem()
		d.into(item, e, append(slices.Clip(path), strconv.Itoa(i)))
		dst.Set(reflect.Append(dst, e))
	}
}
