package silt

// OptionClass says what silt does with an option.
type OptionClass string

// The classes. Every option that Auto Loader, Spark's JSON source or Delta has is in exactly one.
const (
	OptionHonoured OptionClass = "honoured"  // means here what it means there
	OptionNoEffect OptionClass = "no effect" // accepted, and said once
	OptionRefused  OptionClass = "refused"   // not supported yet, or never; Reason says why
)

// OptionInfo describes an option.
type OptionInfo struct {
	// Name is the full name, such as cloudFiles.schemaHints; the prefix may be left out.
	Name  string
	Class OptionClass
	// Type is "boolean", "integer", "bytes", "interval", "timestamp", "string", "ddl", "enum".
	Type   string
	Values []string // of an enum
	// Default is silt's, CompatDefault the one under compat: autoloader where it differs.
	Default, CompatDefault string
	Doc                    string
	Reason                 string
}

// OptionTable returns all options, by name.
func OptionTable() []OptionInfo { panic("not yet") }
