package schema

import "github.com/apache/arrow-go/v18/arrow"

// extensionName is the key of a field's metadata that says what its values mean, jsonExtension its value for
// text that is JSON. Source: Arrow, "Canonical extension types", JSON.
const (
	extensionName = "ARROW:extension:name"
	jsonExtension = "arrow.json"
)

// JSONField is f with text that is JSON as its values.
func JSONField(f arrow.Field) arrow.Field {
	f.Type, f.Metadata = arrow.BinaryTypes.String, arrow.NewMetadata([]string{extensionName}, []string{jsonExtension})
	return f
}

// HoldsJSON reports whether the values of f are text that is JSON.
func HoldsJSON(f arrow.Field) bool {
	name, ok := f.Metadata.GetValue(extensionName)
	return ok && name == jsonExtension && f.Type.ID() == arrow.STRING
}
