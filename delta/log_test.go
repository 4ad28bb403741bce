package delta

import "testing"

// Source: protocol, "JSON checksum".
func TestJSONChecksum(t *testing.T) {
	const text = `{"k0":"'v 0'", "checksum": "adsaskfljadfkjadfkj", "k1":{"k2": 2, "k3": ["v3", [1, 2], {"k4": "v4", "k5": ["v5", "v6", "v7"]}]}}`
	if got, err := jsonChecksum([]byte(text)); err != nil || got != "6a92d155a59bf2eecbd4b4ec7fd1f875" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestInterval(t *testing.T) {
	for text, want := range map[string]string{"interval 1 week": "168h0m0s", "2 days": "48h0m0s", "INTERVAL 1 day 2 hours": "26h0m0s",
		"interval 99999999999999 weeks": "", "interval -1 days": "", "week": "", "": "", "interval 1 fortnight": ""} {
		d, err := parseInterval(text)
		if want == "" && err == nil || want != "" && (err != nil || d.String() != want) {
			t.Errorf("%q: got %s, %v, want %q", text, d, err, want)
		}
	}
}
