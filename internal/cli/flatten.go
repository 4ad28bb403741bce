package cli

import (
	"reflect"
	"slices"
	"strconv"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/siltlake/silt"
)

// flattenDoc is one rule of flattening, or a list of them.
type flattenDoc []flattenRule

type flattenRule struct {
	Columns   []string `json:"columns" jsonschema:"The columns that hold objects; '*' is all of them."`
	Separator string   `json:"separator,omitempty" jsonschema:"What stands between the names on the way to a field. Default: _"`
	Prefix    *string  `json:"prefix,omitempty" jsonschema:"What stands before the names of fields. Default: the name of the column and the separator."`
	Depth     int      `json:"depth,omitempty" jsonschema:"How many levels of objects are flattened. Default: all."`
}

func (f *flattenDoc) decode(d *decoder, v *value, path []string) {
	items := []*value{v}
	if v.kind == list {
		items = v.items
	}
	for i, item := range items {
		at := path
		if v.kind == list {
			at = append(slices.Clip(path), strconv.Itoa(i))
		}
		if item.kind != mapping {
			d.wrongKind(item, at, "a mapping with columns", "write { columns: [vehicle] }")
			continue
		}
		var rule flattenRule
		d.into(item, reflect.ValueOf(&rule).Elem(), at)
		if e := item.get("depth"); e != nil && e.value.kind == number && rule.Depth < 1 {
			d.fault(e.value.at, append(slices.Clip(at), "depth"), codeValue, "leave it out for all levels", "depth is %s; it takes whole numbers above 0", e.value.text)
		}
		*f = append(*f, rule)
	}
}

func (f flattenDoc) config() (rules []silt.Flatten) {
	for _, r := range f {
		rules = append(rules, silt.Flatten(r))
	}
	return rules
}

// flattenSchema is the JSON Schema of a flattenDoc.
func flattenSchema() *jsonschema.Schema {
	rule, err := jsonschema.For[flattenRule](nil)
	if err != nil {
		panic(err) // of the type above
	}
	rule.Properties["depth"].Minimum = jsonschema.Ptr(1.0)
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{rule, {Type: "array", Items: rule.CloneSchemas()}}}
}
