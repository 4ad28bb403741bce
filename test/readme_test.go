package test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatHappensToYourData holds the table in the README: what becomes of a second file after
// {"id":1,"n":5,"in":{"a":1},"l":[{"x":1}]}, in each evolution mode.
func TestWhatHappensToYourData(t *testing.T) {
	const first = `{"id":1,"n":5,"in":{"a":1},"l":[{"x":1}]}` + "\n"
	for _, c := range []struct {
		name, second  string
		grows, rescue string // the row of the second file, in addNewColumns and in rescue
		stops         bool   // failOnNewColumns
	}{
		{"a_new_key", `{"id":2,"new":"x"}`, `{"id": 2, "new": "x"}`, `{"_rescued_data": {"new":"x"}, "id": 2}`, true},
		{"a_new_key_deep_inside", `{"id":2,"in":{"b":{"c":true}}}`, `{"id": 2, "in": {"b": {"c": true}}}`, `{"_rescued_data": {"in":{"b":{"c":true}}}, "id": 2, "in": {}}`, true},
		{"a_new_key_in_a_list", `{"id":2,"l":[{"x":1},{"y":2}]}`, `{"id": 2, "l": [{"x": 1}, {"y": 2}]}`, `{"_rescued_data": {"l":[null,{"y":2}]}, "id": 2, "l": [{"x": 1}, {}]}`, true},
		{"a_fraction_where_whole_numbers_were", `{"id":2,"n":5.5}`, `{"_rescued_data": {"n":5.5}, "id": 2}`, "", false},
		{"a_whole_number_with_a_point", `{"id":2,"n":6.0}`, `{"id": 2, "n": 6}`, "", false},
		{"text_for_a_number", `{"id":2,"n":"many"}`, `{"_rescued_data": {"n":"many"}, "id": 2}`, "", false},
		{"an_object_for_a_list", `{"id":2,"l":{"x":1}}`, `{"_rescued_data": {"l":{"x":1}}, "id": 2}`, "", false},
		{"a_key_in_another_case", `{"ID":2}`, `{"_rescued_data": {"ID":2}}`, "", false},
		{"a_key_twice", `{"id":2,"n":1,"n":2}`, `{"_rescued_data": {"n":1}, "id": 2, "n": 2}`, "", false},
		{"a_key_that_is_missing", `{"id":2}`, `{"id": 2}`, "", false},
		{"only_null_so_far", `{"id":2,"later":null}`, `{"id": 2}`, "", false},
		{"only_an_empty_list_so_far", `{"id":2,"later":[]}`, `{"_rescued_data": {"later":[]}, "id": 2}`, "", false},
		{"a_number_too_large", `{"id":2,"n":12345678901234567890}`, `{"_rescued_data": {"n":12345678901234567890}, "id": 2}`, "", false},
		{"torn_json", `{"id":2,"n":` + "\n" + `{"id":3}`, `{"id": 3}`, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.rescue == "" {
				c.rescue = c.grows
			}
			for mode, want := range map[string]string{"addNewColumns": c.grows, "rescue": c.rescue, "failOnNewColumns": c.grows} {
				dir, source := t.TempDir(), filepath.Join(t.TempDir(), "in")
				write(t, filepath.Join(source, "1.json"), []byte(first))
				load(t, dir, source, "main.readme.t", "--option", "schemaEvolutionMode="+mode)
				write(t, filepath.Join(source, "2.json"), []byte(c.second+"\n"))
				_, r := tryLoad(t, siltCommand(t, dir, "load", source, "main.readme.t", "--json", "--option", "schemaEvolutionMode="+mode))
				if mode == "failOnNewColumns" && c.stops {
					if r.code != 4 {
						t.Errorf("%s: want exit status 4, got %v", mode, r)
					}
					continue
				}
				if r.code != 0 {
					t.Errorf("%s: %v", mode, r)
					continue
				}
				if got := secondRow(t, rows(t, lake(dir, "main.readme.t"), "--without", "ingestion_timestamp,source_file")); got != want {
					t.Errorf("%s: got %s, want %s", mode, got, want)
				}
				if mode == "rescue" {
					conserved(t, lake(dir, "main.readme.t"), source)
				}
			}
		})
	}
}

// secondRow is the row that does not have the id 1, with its rescued data as JSON and without the path.
func secondRow(t testing.TB, text string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, `"id": 1,`) {
			continue
		}
		before, rest, ok := strings.Cut(line, `"_rescued_data": "`)
		if !ok {
			return line
		}
		rescued, after, _ := strings.Cut(rest, `,\"_file_path\":`)
		_, after, _ = strings.Cut(after, `}"`)
		return before + `"_rescued_data": ` + strings.ReplaceAll(rescued, `\"`, `"`) + "}" + after
	}
	return "no row"
}
