//go:build !cgo || !duckdb_arrow || nosql

package duck

import (
	"errors"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	e, err := Open(t.Context(), Options{})
	if e != nil || !errors.Is(err, ErrNoSQL) {
		t.Errorf("got %v, %v, want ErrNoSQL", e, err)
	}
	for _, want := range []string{"make build", "duckdb_arrow"} {
		if !strings.Contains(ErrNoSQL.Error(), want) {
			t.Errorf("%q does not say %q", ErrNoSQL, want)
		}
	}
}
