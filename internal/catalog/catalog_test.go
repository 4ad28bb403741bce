package catalog_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/siltlake/silt/internal/catalog"
)

func TestParseName(t *testing.T) {
	for _, text := range []string{"main.demo.events", "main.`my schema`.`a.b`"} {
		t.Run(text+"_is_a_name", func(t *testing.T) {
			n, err := catalog.ParseName(text)
			if err != nil || n.String() != text {
				t.Errorf("got %s, %v", n, err)
			}
		})
	}
	for _, text := range []string{"", "events", "a.b", "a.b.c.d", "a..c", "a.`..`.c", "a.b.`c/d`", "a.b.`c\\d`", "a.b.`.`", "_silt.b.c", "a.b.`c\n`"} {
		t.Run(text+"_is_none", func(t *testing.T) {
			if n, err := catalog.ParseName(text); err == nil {
				t.Errorf("got %s, want an error", n)
			}
		})
	}
}

func TestLocal(t *testing.T) {
	lake := t.TempDir()
	local := catalog.Local{Lake: lake}
	for _, folder := range []string{"main/demo/events/_delta_log", "main/demo/events_quarantine/_delta_log", "main/demo/no_table", "_silt/main.demo.events"} {
		if err := os.MkdirAll(filepath.Join(lake, folder), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a_table_is_a_folder_and_its_state_is_beside_the_catalogs", func(t *testing.T) {
		p := local.Place(catalog.Name{Catalog: "main", Schema: "demo", Table: "events"})
		want := catalog.Place{Table: "main.demo.events", Path: lake + "/main/demo/events",
			Quarantine: lake + "/main/demo/events_quarantine", State: lake + "/_silt/main.demo.events"}
		if p != want {
			t.Errorf("got %+v, want %+v", p, want)
		}
	})
	t.Run("a_path_has_its_state_inside", func(t *testing.T) {
		want := catalog.Place{Table: "lake/t", Path: "lake/t", Quarantine: "lake/t_quarantine", State: "lake/t/_silt"}
		if p := catalog.AtPath("lake/t/"); p != want {
			t.Errorf("got %+v, want %+v", p, want)
		}
	})
	t.Run("folders_with_a_log_are_tables", func(t *testing.T) {
		names, err := local.Tables("main")
		if err != nil || len(names) != 2 || names[0].Table != "events" {
			t.Errorf("got %v, %v", names, err)
		}
		if names, err := local.Tables("other"); err != nil || len(names) != 0 {
			t.Errorf("a catalog that is not there has %v, %v", names, err)
		}
		if catalogs, err := local.Catalogs(); err != nil || !slices.Equal(catalogs, []string{"main"}) {
			t.Errorf("catalogs %v, %v", catalogs, err)
		}
	})
}
