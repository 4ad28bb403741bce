package silt_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

var update = flag.Bool("update", false, "write the generated pages again")

// optionPage is docs/options.md.
func optionPage() string {
	var b strings.Builder
	b.WriteString(`# Options

Options have the names that Auto Loader, Spark's JSON source and Delta give them, in any case; the prefix
` + "`cloudFiles.`" + ` may be left out. On the command line: ` + "`--option name=value`" + `. This page is made from the table in
` + "`options.go`" + ` by ` + "`make golden`" + `.

## Honoured

| option | type | default | under compat: autoloader | meaning |
|---|---|---|---|---|
`)
	for _, o := range silt.OptionTable() {
		if o.Class != silt.OptionHonoured {
			continue
		}
		kind := o.Type
		if o.Type == "enum" {
			kind = strings.Join(o.Values, ", ")
		}
		compat := o.CompatDefault
		if compat == "" {
			compat = o.Default
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", o.Name, kind, o.Default, compat, o.Doc)
	}
	for _, class := range []struct {
		class silt.OptionClass
		title string
	}{{silt.OptionNoEffect, "Accepted, without effect"}, {silt.OptionRefused, "Refused"}} {
		fmt.Fprintf(&b, "\n## %s\n\n| option | why |\n|---|---|\n", class.title)
		for _, o := range silt.OptionTable() {
			if o.Class == class.class {
				fmt.Fprintf(&b, "| `%s` | %s |\n", o.Name, o.Reason)
			}
		}
	}
	b.WriteString("\nAn option of any other name is an error that names the nearest one; with `cloudFiles.validateOptions=false` it is a\nwarning.\n")
	return b.String()
}

func TestOptionPageIsUpToDate(t *testing.T) {
	const page = "docs/options.md"
	want := optionPage()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the option table says (%v); run make golden", page, err)
	}
}

func TestEachOptionIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range silt.OptionTable() {
		key := strings.ToLower(o.Name)
		switch {
		case seen[key]:
			t.Errorf("%s is there twice", o.Name)
		case o.Class == silt.OptionHonoured && (o.Doc == "" || o.Type == ""):
			t.Errorf("%s has no meaning or no type", o.Name)
		case o.Class != silt.OptionHonoured && o.Reason == "":
			t.Errorf("%s has no reason", o.Name)
		case o.Type == "enum" && len(o.Values) == 0:
			t.Errorf("%s has no values", o.Name)
		}
		seen[key] = true
	}
}

func TestOpen(t *testing.T) {
	const dir = "testdata"
	tests := []struct {
		name string
		cfg  func(*silt.Config)
		want []string // code and key of each fault
	}{
		{"all_mistakes_are_told_at_once", func(c *silt.Config) {
			c.Source, c.Lineage = "", []string{"when"}
			c.Options = map[string]string{"maxFilesPerTrigger": "many", "schemaEvolutionMod": "rescue", "cleanSource": "MOVE"}
		}, []string{"SILT-1101 source", "SILT-1102 lineage", "SILT-1102 options.cleanSource", "SILT-1102 options.maxFilesPerTrigger", "SILT-1104 options.schemaEvolutionMod"}},
		{"an_option_under_two_spellings", func(c *silt.Config) {
			c.Options = map[string]string{"cloudFiles.schemaHints": "a int", "schemahints": "b int"}
		}, []string{"SILT-1103 options"}},
		{"hints_and_a_schema", func(c *silt.Config) {
			c.Options = map[string]string{"schema": "a int", "schemaHints": "b int"}
		}, []string{"SILT-1103 options.schemaHints"}},
		{"hints_that_are_no_DDL", func(c *silt.Config) {
			c.Options = map[string]string{"schemaHints": "a int, b nope"}
		}, []string{"SILT-1102 options.schemaHints"}},
		{"a_name_that_never_existed", func(c *silt.Config) {
			c.Options = map[string]string{"cloudFiles.startAfter": "2024"}
		}, []string{"SILT-1104 options.cloudFiles.startAfter"}},
		{"other_object_storage_is_not_there_yet", func(c *silt.Config) { c.Source = "gs://bucket/in" }, []string{"SILT-1105 source"}},
		{"a_table_inside_the_source", func(c *silt.Config) { c.Target = silt.Path(dir + "/in/table") }, []string{"SILT-1103 target"}},
		{"a_name_of_two_parts", func(c *silt.Config) { c.Target = silt.Table("demo.events") }, []string{"SILT-1102 target"}},
		{"no_mistake", func(c *silt.Config) {
			c.Options = map[string]string{"CLOUDFILES.schemaevolutionmode": "RESCUE", "maxBytesPerTrigger": "10g", "modifiedAfter": "2021-01-01 00:00:00.000000 UTC+0"}
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := silt.Config{Source: dir + "/in", Target: silt.Path(dir + "/table")}
			test.cfg(&cfg)
			p, err := silt.Open(t.Context(), cfg)
			if err == nil {
				p.Close()
			}
			var faults *silt.ConfigError
			if errors.As(err, &faults) != (test.want != nil) {
				t.Fatalf("error %v", err)
			}
			if faults == nil {
				return
			}
			var got []string
			for _, f := range faults.Faults {
				got = append(got, f.Code+" "+strings.Join(f.Key, "."))
			}
			for _, want := range test.want {
				if !strings.Contains(strings.Join(got, "\n"), want) {
					t.Errorf("faults %q, want %q", got, want)
				}
			}
			if len(got) > len(test.want)+1 {
				t.Errorf("faults %q, want %q", got, test.want)
			}
		})
	}
	t.Run("an_unknown_option_is_a_warning_when_asked_for", func(t *testing.T) {
		l := newLab(t)
		l.file("a.json", `{"a":1}`)
		l.cfg.Options = map[string]string{"validateOptions": "false", "nope": "1"}
		if s := l.run(); len(s.Warnings) != 1 || s.Warnings[0].Code != "SILT-1104" {
			t.Errorf("warnings %+v", s.Warnings)
		}
	})
	t.Run("the_nearest_name_is_suggested", func(t *testing.T) {
		_, err := silt.Open(t.Context(), silt.Config{Source: dir, Target: silt.Path("x"), Options: map[string]string{"schemaEvolutionMod": "rescue"}})
		var faults *silt.ConfigError
		if !errors.As(err, &faults) || !strings.Contains(faults.Faults[0].Hint, "cloudFiles.schemaEvolutionMode") {
			t.Errorf("error %v", err)
		}
	})
}
