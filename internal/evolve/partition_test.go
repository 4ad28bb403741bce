package evolve

import (
	"testing"

	"github.com/siltlake/silt/schema"
)

func TestPartitions(t *testing.T) {
	hints, err := schema.ParseHints("n STRING")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		keys []string
		want []string
		opts Options
		ddl  string
	}{
		{"folders_that_all_files_have", []string{"dt=2024-01-02/n=1/f", "dt=2024-01-03/n=3000000000/f"}, nil, Options{}, "dt DATE,n BIGINT"},
		{"types_that_differ_are_text", []string{"n=1/f", "n=x/f"}, nil, Options{}, "n STRING"},
		{"a_day_and_a_time_are_a_time", []string{"t=2024-01-02/f", "t=2024-01-02 01:02:03/f"}, nil, Options{}, "t TIMESTAMP"},
		{"folders_that_differ_make_none", []string{"n=1/f", "m=1/f"}, nil, Options{}, ""},
		{"those_that_are_wanted", []string{"y=2022/w=1/f", "y=2022/m=2/d=3/f"}, []string{"y", "m", "z"}, Options{}, "y INT,m INT,z STRING"},
		{"none_is_wanted", []string{"n=1/f"}, []string{}, Options{}, ""},
		{"strings_only", []string{"n=1/f"}, nil, Options{StringsOnly: true}, "n STRING"},
		{"hints_count", []string{"n=1/f"}, nil, Options{Hints: hints}, "n STRING"},
		{"a_given_schema_has_them", []string{"n=1/m=2/f"}, []string{"n"}, Options{Given: schema.NewStruct(schema.Nullable("n", schema.Short))}, "n SMALLINT"},
		{"a_given_schema_gets_none_unasked", []string{"n=1/f"}, nil, Options{Given: schema.NewStruct(schema.Nullable("a", schema.Short))}, ""},
		{"reserved_names", []string{"_rescued_data=1/f"}, nil, Options{Reserved: []string{"_rescued_data"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Partitions(test.keys, test.want, test.opts).DDL(); got != test.ddl {
				t.Errorf("got %s, want %s", got, test.ddl)
			}
		})
	}
}

func TestAColumnThatFoldersFillHasTheirType(t *testing.T) {
	v := Version{Schema: schema.NewStruct(schema.Nullable("b", schema.Long), schema.Nullable("k", schema.String)),
		Partitions: schema.NewStruct(schema.Nullable("k", schema.Integer), schema.Nullable("day", schema.Date))}
	if got := v.Data().DDL(); got != "b BIGINT,k INT" {
		t.Errorf("data %s", got)
	}
	if got := v.Read().DDL(); got != "b BIGINT,k INT,day DATE" {
		t.Errorf("read %s", got)
	}
	if got := v.Schema.DDL(); got != "b BIGINT,k STRING" {
		t.Errorf("the version was changed to %s", got)
	}
}
