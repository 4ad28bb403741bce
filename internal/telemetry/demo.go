package telemetry

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/klauspost/compress/zstd"
)

// DemoSummary is what [WriteDemo] wrote, and what to do with it.
type DemoSummary struct {
	Dir   string // as it was given
	Waves []Wave
	Next  []Step
}

// Wave is a folder of files that arrive together.
type Wave struct {
	Name    string // of the folder
	Files   int
	Records int
	Bytes   int64 // as stored
	About   string
}

// Step is commands to try, in a shell in the working directory.
type Step struct {
	About    string
	Commands []string
}

// WriteDemo writes a folder with three waves of telemetry, a configuration and a page of commands. An
// error that is fs.ErrExist means that dir is there and not empty; nothing was written then.
func WriteDemo(dir string) (DemoSummary, error) {
	if old, err := os.ReadDir(dir); err == nil && len(old) > 0 {
		return DemoSummary{}, &fs.PathError{Op: "demo", Path: dir, Err: fs.ErrExist}
	}
	sum := DemoSummary{Dir: dir, Next: steps(dir)}
	for day := range dayAbout {
		wave, err := writeDay(dir, day)
		if err != nil {
			return sum, err
		}
		sum.Waves = append(sum.Waves, wave)
	}
	if err := os.MkdirAll(filepath.Join(dir, "landing"), 0o777); err != nil {
		return sum, err
	}
	for _, name := range []string{"silt.yml", "README.md"} {
		if err := writePage(dir, name, sum); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

//go:embed pages
var pages embed.FS

var pageTemplates = template.Must(template.ParseFS(pages, "pages/*"))

func writePage(dir, name string, sum DemoSummary) error {
	var text bytes.Buffer
	data := struct {
		DemoSummary
		Lake string
	}{sum, lake(dir)}
	if err := pageTemplates.ExecuteTemplate(&text, name, data); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text.Bytes(), 0o666)
}

// lake is the folder of tables in the working directory, as the configuration in dir has to call it.
func lake(dir string) string {
	from, err := filepath.Abs(dir)
	to, err2 := filepath.Abs("lake")
	if err != nil || err2 != nil {
		return "../lake"
	}
	rel, err := filepath.Rel(from, to)
	if err != nil {
		return to
	}
	return filepath.ToSlash(rel)
}

func steps(dir string) []Step {
	d := filepath.ToSlash(dir)
	if !filepath.IsAbs(dir) && !strings.HasPrefix(d, ".") {
		d = "./" + d
	}
	run := "silt run -c " + d + "/silt.yml"
	return []Step{
		{"Load the first day. The table is made from what is in the files.", []string{
			"silt load " + d + "/day1 main.demo.events",
		}},
		{"Look at it: nested fields are columns.", []string{
			`silt query "select station.location.city as city, count(*) as events, round(avg(vehicle.battery.soc), 1) as soc from main.demo.events group by 1 order by 1"`,
		}},
		{"The second day arrives, with fields nobody announced. The table grows, and what does not fit is kept.", []string{
			"cp " + d + "/day2/* " + d + "/landing/",
			run,
		}},
		{"See what was new, and where it came from.", []string{
			"silt schema history -c " + d + "/silt.yml",
			"silt table history main.demo.events",
			`silt query "select _rescued_data->'station'->>'connector' as connector, count(*) as events from main.demo.events where _rescued_data like '%connector%' group by 1 order by 1"`,
		}},
		{"The third day has a broken file, torn records and an object with ids for keys. The rest is loaded.", []string{
			"cp " + d + "/day3/* " + d + "/landing/",
			run,
			"silt quarantine list -c " + d + "/silt.yml",
			"silt files list --status failed -c " + d + "/silt.yml",
		}},
	}
}

// dayAbout says what is in a wave.
var dayAbout = []string{
	"clean records",
	"new fields at several depths, a whole number that becomes text, a new list, fractions where whole numbers were",
	"a truncated gzip file, torn records, an object with ids for keys, good gzip and zstd files",
}

// dayFiles is the number of files of a wave.
var dayFiles = []int{120, 120, 60}

const recordsPerFile = 8

func writeDay(dir string, day int) (Wave, error) {
	wave := Wave{Name: fmt.Sprintf("day%d", day+1), About: dayAbout[day]}
	folder := filepath.Join(dir, wave.Name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return wave, err
	}
	for i := range dayFiles[day] {
		name, data := demoFile(day, i)
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o666); err != nil {
			return wave, err
		}
		wave.Files++
		wave.Records += recordsPerFile
		wave.Bytes += int64(len(data))
	}
	return wave, nil
}

// demoFile is file i of a day. Most are NDJSON; some are arrays or pretty-printed, as exports are.
func demoFile(day, i int) (name string, data []byte) {
	r := rand.New(rand.NewPCG(uint64(day), uint64(i)))
	at := epoch.AddDate(0, 0, day).Add(time.Duration(i) * 5 * time.Minute)
	records := make([][]byte, recordsPerFile)
	for n := range records {
		w := &demoEvent{writer: writer{Rand: r}, day: day, file: i}
		w.record(at.Add(time.Duration(n*37) * time.Second))
		records[n] = w.buf
	}
	name = "charging-" + at.Format("20060102T1504") + ".json"
	switch {
	case i%24 == 7:
		return name, array(records)
	case i%24 == 19:
		return name, indented(records)
	case day < 2:
		return name, lines(records)
	case i == 12 || i == 33: // the logger lost power while it wrote
		records[3] = records[3][:len(records[3])*2/3]
		return name, lines(records)
	case i == 20:
		return name + ".gz", gzipped(lines(records))
	case i == 40:
		all := gzipped(lines(records))
		return name + ".gz", all[:len(all)*3/5]
	case i == 45:
		z, _ := zstd.NewWriter(nil) // fails for wrong options only
		return name + ".zst", z.EncodeAll(lines(records), nil)
	}
	return name, lines(records)
}

func lines(records [][]byte) []byte {
	return append(bytes.Join(records, []byte("\n")), '\n')
}

func array(records [][]byte) []byte {
	return append(append([]byte("[\n  "), bytes.Join(records, []byte(",\n  "))...), "\n]\n"...)
}

// indented breaks records over lines at their top-level members.
func indented(records [][]byte) []byte {
	var out []byte
	for _, record := range records {
		depth, quoted := 0, false
		for i, c := range record {
			switch {
			case c == '"' && record[i-1] != '\\':
				quoted = !quoted
			case quoted:
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				depth--
			}
			switch {
			case c == '}' && depth == 0:
				out = append(out, "\n}\n"...)
			case !quoted && depth == 1 && (c == '{' && i == 0 || c == ','):
				out = append(out, c, '\n', ' ', ' ')
			default:
				out = append(out, c)
			}
		}
	}
	return out
}

// demoEvent writes the records of the demo.
type demoEvent struct {
	writer
	day, file int
}

var (
	models = []struct {
		name     string
		capacity int64
	}{{"ID.4", 77}, {"Model 3", 60}, {"Ioniq 5", 73}, {"Zoe", 52}, {"i3", 42}}
	demoSignals = []struct {
		name, unit string
		low, high  float64
		digits     int
	}{{"power_active", "kW", 3, 150, 2}, {"voltage", "V", 380, 420, 1}, {"current", "A", 8, 250, 1}}
	positions = [][2]float64{ // of cities
		{50.775346, 6.083887}, {50.937531, 6.960279}, {-23.55052, -46.633308}, {35.689487, 139.691711}, {50.064651, 19.944981},
		{38.722252, -9.139337}, {40.712776, -74.005974}, {50.45008, 30.523333}, {38.423733, 27.142826}, {52.090736, 5.12142},
	}
)

func (w *demoEvent) record(at time.Time) {
	w.raw(`{"event_id":`)
	w.id()
	w.raw(`,"recorded_at":`)
	w.time(at)
	w.station()
	w.vehicle()
	w.signals()
	w.raw(`,"session":{"id":"S`)
	w.padded(w.bits(16), 10, 6)
	w.raw(`","energy_wh":`)
	w.int(int64(w.bits(15)))
	w.raw(`,"price":`)
	if w.bits(3) == 0 {
		w.raw("null")
	} else {
		w.float(w.between(1, 40), 2)
	}
	w.raw(`,"authorised":`)
	w.bool()
	w.raw(`},"tags":[`)
	if w.bits(1) == 1 {
		w.raw(`"`, labels[w.bits(3)], `"`)
	}
	w.raw("]")
	if w.day >= 1 {
		w.grown(at)
	}
	w.raw("}")
}

// grown appends the top-level fields that later days have.
func (w *demoEvent) grown(at time.Time) {
	w.raw(`,"firmware":"2.`)
	w.int(int64(w.bits(2)))
	w.raw(`.1"`)
	if w.bits(2) == 0 {
		w.raw(`,"alarms":[{"code":"E`)
		w.int(10 + int64(w.bits(4)))
		w.raw(`","since":`)
		w.time(at.Add(-time.Duration(w.bits(11)) * time.Second))
		w.raw(`}]`)
	}
	if w.day == 2 && w.file%10 == 3 {
		w.raw(`,"readings":{"cell-4f1a":`)
		w.float(w.between(3.2, 4.2), 3)
		w.raw(`,"cell-`)
		w.padded(0x5000+w.bits(3), 16, 4)
		w.raw(`":`)
		w.float(w.between(3.2, 4.2), 3)
		w.raw("}")
	}
}

func (w *demoEvent) station() {
	n := w.bits(5)
	city := n % uint64(len(cities))
	w.raw(`,"station":{"id":"EVSE-`)
	w.padded(n, 10, 4)
	w.raw(`","connector":`)
	if w.day >= 1 && w.bits(3) == 0 {
		w.raw(`"CCS-`)
		w.int(1 + int64(w.bits(1)))
		w.raw(`"`)
	} else {
		w.int(1 + int64(w.bits(1)))
	}
	w.raw(`,"location":{"city":"`, cities[city][0], `","country":"`, cities[city][1], `","lat":`)
	w.float(positions[city][0], 6)
	w.raw(`,"lon":`)
	w.float(positions[city][1], 6)
	w.raw("}}")
}

func (w *demoEvent) vehicle() {
	n := w.bits(6)
	model := models[n%uint64(len(models))]
	w.raw(`,"vehicle":{"vin":"WSILT00000DEMO`)
	w.padded(n, 10, 3)
	w.raw(`","model":"`, model.name, `","odometer_km":`)
	w.int(10_000 + int64(w.bits(15)))
	w.raw(`,"battery":{"soc":`)
	w.int(5 + int64(w.bits(6)))
	if w.day >= 1 && w.bits(3) == 0 {
		w.raw(".5")
	}
	w.raw(`,"capacity_kwh":`)
	w.int(model.capacity)
	w.raw(`,"voltage":`)
	w.float(w.between(340, 420), 1)
	if w.day >= 1 {
		w.raw(`,"temp_c":`)
		w.float(w.between(-5, 42), 1)
	}
	w.raw("}}")
}

func (w *demoEvent) signals() {
	w.raw(`,"signals":[`)
	for i, s := range demoSignals {
		if i > 0 {
			w.raw(",")
		}
		w.raw(`{"name":"`, s.name, `","value":`)
		w.float(w.between(s.low, s.high), s.digits)
		w.raw(`,"unit":"`, s.unit, `","body":{"quality":"`, qualities[w.IntN(len(qualities))], `"`)
		if w.day >= 1 {
			w.raw(`,"capacity":`)
			w.int(int64(w.bits(12)))
		}
		w.raw("}}")
	}
	w.raw("]")
}
