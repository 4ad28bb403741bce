package duck

// Filter is what a condition on the rows of a table asks for, as far as it can be told without running it.
type Filter struct {
	// Columns are the first names of the columns that it may look at; nil: all there are.
	Columns []string
	// Terms are all true of a row for which the condition is.
	Terms []Term
}

// Term compares a column with constants.
type Term struct {
	Column []string // a path of names
	Op     string   // =, <>, <, <=, > or >=; IN for one of several
	Values []Constant
}

// Constant is one in SQL.
type Constant struct {
	// Type is that of DuckDB: DECIMAL for all numbers that are exact, VARCHAR, DATE, TIMESTAMP.
	Type string
	Text string
}
