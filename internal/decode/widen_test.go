package decode

import (
	"maps"
	"slices"
	"testing"
)

func TestDemands(t *testing.T) {
	s := ddl(t, "i INT, l BIGINT, f FLOAT, d DECIMAL(2,1), v ARRAY<INT>, m MAP<STRING, DECIMAL(2,1)>, s STRUCT<x: INT>, o ARRAY<STRUCT<x: INT>>, b BOOLEAN")
	for _, test := range []struct{ name, text, want string }{
		{"numbers_that_fit_demand_nothing", `{"i":1,"l":5,"f":1.5,"d":1.5,"v":[1],"m":{"a":1.5},"s":{"x":1}}`, ""},
		{"an_integer_beyond_its_column", `{"i":3000000000}`, "i BIGINT"},
		{"a_fraction", `{"l":1.5,"i":0.25}`, "i DECIMAL(2,2),l DECIMAL(2,1)"},
		{"a_decimal_that_would_be_rounded", `{"d":1.25}`, "d DECIMAL(3,2)"},
		{"a_decimal_in_a_string", `{"d":"100.25"}`, "d DECIMAL(5,2)"},
		{"a_float_out_of_range", `{"f":1e300}`, "f DOUBLE"},
		{"inside_containers", `{"v":[1,3000000000,"x"],"m":{"a":1,"b":1.75},"s":{"x":3000000000},"o":[{"x":1},{"x":1.5}]}`,
			"m.value DECIMAL(3,2),o.element.x DECIMAL(2,1),s.x BIGINT,v.element BIGINT"},
		{"what_is_no_number_demands_nothing", `{"i":"1","l":true,"d":"x","b":1,"v":{"k":3000000000},"s":5}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			opts := Options{Schema: s, Framing: "lines", Rescue: "_r", Compat: true, Observe: true, Widen: true, PrefersDecimal: true}
			demands := decodeFiles(t, opts, file("f", test.text+"\n")).reader.Demands()
			got := ""
			for _, at := range slices.Sorted(maps.Keys(demands)) {
				if got != "" {
					got += ","
				}
				got += at + " " + demands[at].Type().String()
			}
			if got != test.want {
				t.Errorf("demands %s, want %s", got, test.want)
			}
		})
	}
}
