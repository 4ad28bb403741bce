package telemetry

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// Options say what [Generate] writes.
type Options struct {
	// Records is the number of records in all. When it is 0, it follows from Bytes, the size of all
	// files before compression, to about one in a hundred.
	Records int
	Bytes   int64
	// Files is the number of files; 0 is one.
	Files int
	Seed  uint64
	// Evolve gives the last 30 % of the files new fields at several depths, the last 10 % more of them.
	Evolve bool
	// Widen writes session.meter_start, a whole number, with a fraction in the last 10 % of the files.
	Widen bool
	// Dirty is the share of records that are no JSON or have values of another type, in per cent.
	Dirty float64
	Gzip  bool
}

// Generated is what was written.
type Generated struct {
	Files   int
	Records int
	Dirty   int
	Bytes   int64 // as stored
}

// Generate writes NDJSON files into dir, which it makes. Every file depends on the seed and its number
// alone.
func Generate(dir string, o Options) (Generated, error) {
	o.Files = cmp.Or(o.Files, 1)
	if o.Records == 0 {
		o.Records = int(o.Bytes / meanRecord())
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return Generated{}, err
	}
	files := make([]Generated, o.Files)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range files {
		g.Go(func() (err error) {
			files[i], err = o.file(dir, i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Generated{}, err
	}
	var sum Generated
	for _, f := range files {
		sum.Files, sum.Records, sum.Dirty, sum.Bytes = sum.Files+1, sum.Records+f.Records, sum.Dirty+f.Dirty, sum.Bytes+f.Bytes
	}
	return sum, nil
}

// meanRecord is the length of a record without new fields, in bytes.
func meanRecord() int64 {
	const sample = 1000
	w := &event{writer: writer{Rand: rand.New(rand.NewPCG(0, 7))}}
	for i := range sample {
		w.record(int64(i), i%100)
	}
	return int64(len(w.buf)) / sample
}

// file writes file i.
func (o Options) file(dir string, i int) (Generated, error) {
	first, end := o.Records*i/o.Files, o.Records*(i+1)/o.Files
	w := &event{writer: writer{Rand: rand.New(rand.NewPCG(o.Seed, uint64(i)))}}
	late := float64(i) / float64(o.Files)
	switch {
	case o.Evolve && late >= 0.9:
		w.wave = 2
	case o.Evolve && late >= 0.7:
		w.wave = 1
	}
	w.widen = o.Widen && late >= 0.9
	made := Generated{Files: 1, Records: end - first}
	for n := first; n < end; n++ {
		start := len(w.buf)
		w.record(int64(n), i)
		if o.Dirty > 0 && w.Float64()*100 < o.Dirty {
			w.spoil(start)
			made.Dirty++
		}
	}
	name, data := fmt.Sprintf("ev-%06d.json", i), w.buf
	if o.Gzip {
		name, data = name+".gz", gzipped(data)
	}
	made.Bytes = int64(len(data))
	return made, os.WriteFile(filepath.Join(dir, name), data, 0o666)
}

func gzipped(data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out) // its header has no time: the same bytes each time
	z.Write(data)
	z.Close()
	return out.Bytes()
}

var (
	measures  = []string{"voltage_l1", "voltage_l2", "current_l1", "power_active", "energy_import", "frequency", "rpm_fan", "temp_cabinet", "cp_duty", "rssi"}
	units     = []string{"V", "V", "A", "W", "Wh", "Hz", "rpm", "Cel", "%", "dBm"}
	qualities = []string{"good", "good", "good", "uncertain", "bad"}
	cities    = [][2]string{
		{"Aachen", "DE"}, {"Köln", "DE"}, {"São Paulo", "BR"}, {"東京", "JP"}, {"Kraków", "PL"},
		{"Lisboa", "PT"}, {"New York", "US"}, {"Київ", "UA"}, {"İzmir", "TR"}, {"Utrecht", "NL"},
	}
	streets  = []string{"Hauptstraße", "Main St", "Rua Direita", "Nowy Świat", "Kerkstraat"}
	labels   = []string{"fleet", "vip", "roaming", "home", "night", "green", "test", "b2b"}
	channels = []string{"stable", "beta", "lts"}
	states   = []string{"charging", "suspended_ev", "suspended_evse", "finishing", "idle"}
	remarks  = []string{
		"connector latched after retry", "driver reported slow ramp-up; see ticket", "cable \"B\" replaced\nserial taped on\tback",
		`path C:\evse\log\2026`, "café parking – bay 7", "充電済み ✅", "🔌 plugged 🚗 waiting", "RFID тест",
		"a/b </script> \u2028 line sep", "null", `{"not":"json"}`,
	}
)

// quote writes s as a JSON string; with ascii, everything beyond ASCII, and each slash, is escaped.
func quote(s string, ascii bool) string {
	out := []byte{'"'}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\' || r == '/' && ascii:
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r < 0x80 || !ascii:
			out = append(out, string(r)...)
		default:
			for _, u := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, `\u%04x`, u)
			}
		}
	}
	return string(append(out, '"'))
}

// event writes records of charging stations.
type event struct {
	writer
	wave  int // 0 to 2: how many times the format has grown
	widen bool
}

// record appends the record of a sequence number, made in the ten minutes of a file.
func (w *event) record(seq int64, file int) {
	at := epoch.Add(time.Duration(file)*10*time.Minute + time.Duration(w.bits(20)%600_000)*time.Millisecond)
	device := w.bits(14)
	w.raw(`{"event_id":`)
	w.id()
	w.raw(`,"recorded_at":`)
	w.time(at)
	w.raw(`,"seq":`)
	w.int(seq)
	w.device(device)
	w.battery()
	w.signals(device)
	w.user()
	w.session(at)
	w.raw(`,"note":`)
	w.note()
	if w.wave >= 1 {
		w.raw(`,"grid":{"frequency_hz":`)
		w.float(w.between(49.9, 50.1), 3)
		w.raw(`,"phases":[{"name":"L1","amps":`)
		w.float(w.between(0, 32), 2)
		w.raw(`},{"name":"L2","amps":`)
		w.float(w.between(0, 32), 2)
		w.raw(`}]},"tariff":"T`)
		w.int(int64(w.bits(3)))
		w.raw(`"`)
	}
	if w.wave >= 2 {
		w.raw(`,"v2g":{"enabled":`)
		w.bool()
		w.raw(`,"limits":{"max_kw":`)
		w.int(int64(w.bits(5)))
		w.raw(`,"min_soc":`)
		w.float(w.between(0, 50), 1)
		w.raw(`}}`)
	}
	w.raw("}\n")
}

func (w *event) device(n uint64) {
	city := cities[n%10]
	w.raw(`,"device":{"id":"EVSE-`)
	w.padded(n, 10, 5)
	w.raw(`","firmware":{"version":"`)
	w.int(int64(1 + n%3))
	w.raw(".")
	w.int(int64(w.bits(3)))
	w.raw(".")
	w.int(int64(w.bits(4)))
	w.raw(`","channel":"`, channels[n%3], `"`)
	if w.wave >= 1 {
		w.raw(`,"build":"b`)
		w.padded(w.bits(20), 16, 5)
		w.raw(`"`)
	}
	w.raw(`},"location":{"lat":`)
	w.float(w.between(-90, 90), 6)
	w.raw(`,"lon":`)
	w.float(w.between(-180, 180), 6)
	w.raw(`,"address":{"street":"`, streets[n%5], " ")
	w.int(int64(1 + w.bits(7)))
	w.raw(`","city":"`, city[0], `","country":"`, city[1], `"`)
	if w.wave >= 2 {
		w.raw(`,"postal_code":"`)
		w.padded(w.bits(16), 10, 5)
		w.raw(`"`)
	}
	w.raw(`}}}`)
}

func (w *event) battery() {
	w.raw(`,"battery":{"soc":`)
	w.float(w.between(0, 100), 1)
	w.raw(`,"temperature_celsius":`)
	w.orNull(8, func() { w.float(w.between(0, 45), 2) })
	w.raw(`,"cells":[`)
	for c := range 8 {
		if c > 0 {
			w.raw(",")
		}
		w.raw(`{"id":"c0`)
		w.int(int64(c))
		w.raw(`","voltage":`)
		w.float(w.between(3.2, 4.2), 4)
		w.raw(`,"temps":[`)
		w.float(w.between(18, 38), 1)
		w.raw(",")
		w.float(w.between(18, 38), 1)
		w.raw(",")
		w.orNull(6, func() { w.float(w.between(18, 38), 1) })
		w.raw("]")
		if w.wave >= 1 {
			w.raw(`,"soh":`)
			w.float(w.between(0.8, 1), 3)
		}
		w.raw("}")
	}
	w.raw("]}")
}

// orNull lets write append a value, or appends null, once in two to the power of bits times.
func (w *event) orNull(bits int, write func()) {
	if w.bits(bits) == 0 {
		w.raw("null")
		return
	}
	write()
}

func (w *event) signals(device uint64) {
	w.raw(`,"signals":[`)
	for s := range uint64(4) {
		if s > 0 {
			w.raw(",")
		}
		k := (device + s*3) % 10
		w.raw(`{"name":"`, measures[k], `","value":`)
		w.orNull(7, func() { w.float(w.between(0, 400), 3) })
		w.raw(`,"unit":"`, units[k], `","body":{"capacity":`)
		w.int(int64(w.bits(12)))
		w.raw(`,"quality":"`, qualities[w.IntN(5)], `"`)
		if w.wave >= 1 {
			w.raw(`,"scale":1`, "000"[:w.bits(2)])
		}
		w.raw(`}}`)
	}
	w.raw("]")
}

func (w *event) user() {
	n := w.bits(20)
	w.raw(`,"user":{"id":`)
	w.int(int64(n))
	w.raw(`,"dob":`)
	if n%13 == 0 {
		w.raw("null")
	} else {
		w.raw(`"19`)
		w.padded(40+n%60, 10, 2)
		w.raw("-")
		w.padded(1+n%12, 10, 2)
		w.raw("-")
		w.padded(1+n%28, 10, 2)
		w.raw(`"`)
	}
	w.raw(`,"tags":[`)
	for i := range w.bits(2) {
		if i > 0 {
			w.raw(",")
		}
		w.raw(`"`, labels[w.bits(3)], `"`)
	}
	w.raw("]}")
}

func (w *event) session(at time.Time) {
	energy := w.between(0, 80)
	w.raw(`,"session":{"id":"S`)
	w.padded(w.bits(33), 10, 10)
	w.raw(`","started_at":`)
	w.time(at.Add(-time.Duration(w.bits(22)) * time.Millisecond))
	w.raw(`,"state":"`, states[w.IntN(5)], `","meter_start":`)
	w.int(int64(w.bits(24)))
	if w.widen {
		w.raw(".")
		w.padded(w.bits(10)%1000, 10, 3)
	}
	w.raw(`,"energy_kwh":`)
	w.float(energy, 3)
	w.raw(`,"authorised":`)
	w.bool()
	w.raw(`,"price":`)
	w.orNull(4, func() { w.float(energy*0.41, 2) })
	w.raw("}")
}

func (w *event) note() {
	n := w.bits(8)
	switch remark := remarks[n%uint64(len(remarks))]; {
	case n < 64:
		w.raw(quote(remark, false))
	case n < 96:
		w.raw(quote(remark, true))
	case n < 128:
		text := "ops remark " + strconv.Itoa(int(w.bits(16))) + " about bay " + strconv.Itoa(int(w.bits(6))) + "; "
		w.raw(`"`)
		for range 1 + w.bits(2) {
			w.raw(text)
		}
		w.raw(`"`)
	default:
		w.raw("null")
	}
}

// spoil damages the record that begins at start and ends the buffer.
func (w *event) spoil(start int) {
	line := string(w.buf[start : len(w.buf)-1])
	w.buf = append(w.buf[:start], w.spoiled(line)...)
	w.raw("\n")
}

func (w *event) spoiled(line string) string {
	before := func(key, insert string) string { // puts text where the value of the key stands
		text := []byte(line)
		i := bytes.Index(text, []byte(`"`+key+`":`)) + len(key) + 3
		return line[:i] + insert + line[i:]
	}
	instead := func(key, next, value string) string { // replaces all from the key up to the next
		text := []byte(line)
		i := bytes.Index(text, []byte(`"`+key+`":`)) + len(key) + 3
		j := bytes.Index(text, []byte(`,"`+next+`":`))
		return line[:i] + value + line[j:]
	}
	switch w.IntN(9) {
	case 0: // torn
		return line[:int(float64(len(line))*w.between(0.2, 0.9))]
	case 1: // no JSON at all
		return "\x00\x7f garbage " + strconv.Itoa(int(w.bits(30))) + " ]}"
	case 2: // text for a number
		return before("temperature_celsius", `"hot","_t":`)
	case 3: // an object for an array
		return instead("battery", "signals", `{"soc":50.0,"cells":{"0":"object-not-array"}}`)
	case 4: // text for an object
		return instead("device", "battery", `"EVSE-00000"`)
	case 5: // text for a whole number
		return before("seq", `"n/a","_s":`)
	case 6: // no time
		return before("recorded_at", `"not a time","_r":`)
	case 7: // two on a line
		return line + line
	default: // a number that JSON does not have
		return before("soc", `NaN,"_n":`)
	}
}
