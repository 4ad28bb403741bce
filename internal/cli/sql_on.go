//go:build cgo && duckdb_arrow && !nosql

package cli

// hasSQL says whether this binary was built with the SQL engine.
const hasSQL = true
