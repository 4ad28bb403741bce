package checkpoint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/objstore"
)

// options make what a log writes the same each time.
func options() checkpoint.Options {
	n := 0
	return checkpoint.Options{
		Clock:    func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) },
		NewID:    func() string { n++; return fmt.Sprintf("id-%d", n) },
		Owner:    goneOwner,
		Pipeline: "p",
	}
}

func open(t *testing.T, s objstore.Store, o checkpoint.Options) *checkpoint.Log {
	t.Helper()
	log, err := checkpoint.Open(t.Context(), s, "cp", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func newToy(s objstore.Store, log *checkpoint.Log) *toy {
	return &toy{store: s, log: log, batch: 2, keep: true, coin: rand.New(rand.NewPCG(1, 1))}
}

// loaded is a store whose files a and b are in batch 0, c in batch 1.
func loaded(t *testing.T) *objstore.Mem {
	t.Helper()
	s := new(objstore.Mem)
	for _, f := range []string{"a", "b", "c"} {
		putFile(s, "src/"+f, f+"1")
	}
	log := open(t, s, options())
	if _, err := newToy(s, log).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

func content(t *testing.T, s objstore.Store, key string) string {
	t.Helper()
	b, _, err := objstore.ReadAll(t.Context(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestObjects is what docs/format says.
func TestObjects(t *testing.T) {
	s := loaded(t)
	etag := func(key string) string {
		_, o, err := objstore.ReadAll(t.Context(), s, key)
		if err != nil {
			t.Fatal(err)
		}
		return o.ETag
	}
	for _, c := range []struct{ key, first string }{
		{"metadata", `{"format":1,"id":"id-2","created":"2026-05-01T12:00:00Z","pipeline":"p"}`},
		{"sources/0/0", `{"format":1,"batch":0,"nonce":"id-3","files":2}`},
		{"archive/1", `{"format":1,"batch":1,"nonce":"`},
		{"lease", `{"format":1,"epoch":1,"owner":"here:99999999","holder":"id-1","attempts":{"1":1}}`},
		{"offsets/0", `{"format":1,"batch":0,"nonce":"id-4","time":"2026-05-01T12:00:00Z","files":2,"filesDigest":"sha256:`},
		{"staged/0", `{"format":1,"batch":0,"nonce":"id-5","targets":[{"name":"quarantine","uri":"mem:quarantine","delta":`},
		{"commits/0", `{"format":1,"batch":0,"nonce":"id-6","time":"2026-05-01T12:00:00Z","targets":[{"name":"quarantine","uri":"mem:quarantine","version":0},{"name":"main","uri":"mem:main","version":0}]}`},
	} {
		t.Run(c.key, func(t *testing.T) {
			lines := strings.SplitAfter(content(t, s, "cp/"+c.key), "\n")
			if got := strings.TrimSuffix(lines[0], "\n"); !strings.HasPrefix(got, c.first) {
				t.Errorf("got %s, want %s", got, c.first)
			}
			last := lines[len(lines)-2]
			if want := fmt.Sprintf(`{"length":%d,"crc32c":"`, len(strings.Join(lines, ""))-len(last)); !strings.HasPrefix(last, want) {
				t.Errorf("trailer: got %s, want %s", last, want)
			}
		})
	}
	files := strings.Split(content(t, s, "cp/sources/0/1"), "\n")
	if got, want := files[1], `{"key":"src/c","size":2,"modTime":"`; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	outcomes := strings.Split(content(t, s, "cp/staged/1"), "\n")
	if got, want := outcomes[1], `{"key":"src/c","etag":"`+etag("src/c")+`","state":"loaded","records":1,"tries":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestALogIsOpenedAgain(t *testing.T) {
	s := loaded(t)
	log := open(t, s, options())
	if log.ID() != "id-2" {
		t.Errorf("got id %s", log.ID())
	}
	putFile(s, "src/d", "d1")
	out, err := newToy(s, log).run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 1 || out[0].Plan.Batch != 2 || out[0].Recovered {
		t.Errorf("got %+v", out)
	}
	if got := rows(s); !slices.Equal(got, []string{"a1", "b1", "c1", "d1"}) {
		t.Errorf("got %v", got)
	}
}

func TestReadOnly(t *testing.T) {
	t.Run("what_is_not_there_is_not_made", func(t *testing.T) {
		s := new(objstore.Mem)
		if _, err := checkpoint.OpenReadOnly(t.Context(), s, "cp"); !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		for o := range s.List(t.Context(), "", "") {
			t.Errorf("%s was made", o.Key)
		}
	})
	s := loaded(t)
	log, err := checkpoint.OpenReadOnly(t.Context(), s, "cp")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("batches_come_the_newest_first", func(t *testing.T) {
		var got []string
		for b, err := range log.Batches(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range b.Files {
				got = append(got, fmt.Sprintf("%d %s %s", b.Plan.Batch, f.Key, f.Outcome.State))
			}
			if b.Commits == nil || b.Archived == nil || b.Staged == nil {
				t.Errorf("batch %d is not closed", b.Plan.Batch)
			}
		}
		if want := "1 src/c loaded, 0 src/a loaded, 0 src/b loaded"; strings.Join(got, ", ") != want {
			t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
		}
	})
	t.Run("it_runs_no_batch", func(t *testing.T) {
		if _, err := log.RunBatch(t.Context(), newToy(s, log)); err == nil {
			t.Error("it did")
		}
	})
	t.Run("an_open_batch_is_seen_and_shown", func(t *testing.T) {
		for _, key := range []string{"cp/archive/1", "cp/commits/1", "cp/staged/1"} {
			if err := s.Delete(t.Context(), key, objstore.Cond{}); err != nil {
				t.Fatal(err)
			}
		}
		log, err := checkpoint.OpenReadOnly(t.Context(), s, "cp")
		if err != nil {
			t.Fatal(err)
		}
		seen, err := log.Seen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := seen.Lookup("src/c"); !ok || seen.Len() != 3 {
			t.Errorf("src/c: %v, %d files", ok, seen.Len())
		}
		for b, err := range log.Batches(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if open := b.Commits == nil; open != (b.Plan.Batch == 1) || open != (b.Files[0].Outcome == nil) {
				t.Errorf("batch %d: open is %v", b.Plan.Batch, open)
			}
		}
	})
}

func TestSeen(t *testing.T) {
	s := new(objstore.Mem)
	putFile(s, "src/good", "g1")
	putFile(s, "src/bad", "b1")
	log := open(t, s, options())
	y := newToy(s, log)
	y.broken = map[string]bool{"src/bad": true}
	out, err := y.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("tries_of_a_file_are_counted_over_batches", func(t *testing.T) {
		if len(out) != 3 {
			t.Fatalf("got %d batches, want 3", len(out))
		}
		for i, o := range out {
			f := o.Staged.Files[0]
			if f.Key != "src/bad" || f.Tries != i+1 || f.State != checkpoint.Failed {
				t.Errorf("batch %d: got %+v", i, f)
			}
		}
	})
	check := func(t *testing.T, log *checkpoint.Log) {
		t.Helper()
		seen, err := log.Seen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := seen.Lookup("src/good"); !ok {
			t.Error("src/good is not seen")
		}
		if _, ok := seen.Lookup("src/bad"); ok {
			t.Error("src/bad is seen")
		}
		_, bad, err := objstore.ReadAll(t.Context(), s, "src/bad")
		if err != nil {
			t.Fatal(err)
		}
		last, at, ok := seen.Tried(bad)
		if !ok || last.Tries != 3 || last.Error != "it is broken" || at.IsZero() {
			t.Errorf("got %+v at %s", last, at)
		}
		bad.ETag = "another version"
		if _, _, ok := seen.Tried(bad); ok {
			t.Error("another version has tries")
		}
	}
	t.Run("as_the_run_left_it", func(t *testing.T) { check(t, log) })
	t.Run("as_read_again", func(t *testing.T) {
		log.Close()
		check(t, open(t, s, options()))
	})
	t.Run("a_new_version_is_loaded", func(t *testing.T) {
		putFile(s, "src/bad", "b2")
		y.broken = nil
		y.log = open(t, s, options())
		if _, err := y.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := rows(s); !slices.Equal(got, []string{"b2", "g1"}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestKeysThatJSONCannotHold(t *testing.T) {
	s := new(objstore.Mem)
	keys := []string{"src/\xff", "src/\xfe", "src/\uFFFD", "src/a\x00\n\u2028\"<&", "src/" + strings.Repeat("k", 1000)}
	for _, key := range keys {
		putFile(s, key, "r")
	}
	log := open(t, s, options())
	if _, err := newToy(s, log).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.Close()
	seen, err := open(t, s, options()).Seen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if seen.Len() != len(keys) {
		t.Errorf("got %d files, want %d", seen.Len(), len(keys))
	}
	for _, key := range keys {
		if o, ok := seen.Lookup(key); !ok || o.Key != key || o.ETag == "" {
			t.Errorf("%q: got %+v", key, o)
		}
	}
}

func TestRuns(t *testing.T) {
	s := new(objstore.Mem)
	log := open(t, s, options())
	for _, id := range []string{"01B", "01A"} {
		if err := log.PutRun(t.Context(), id, json.RawMessage(`{"id": "`+id+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.PutRun(t.Context(), "01A", json.RawMessage(`{"other":1}`)); err == nil {
		t.Error("another run of the same id was taken")
	}
	putFile(s, "cp/runs/01AA", "torn")
	var got []string
	for r, err := range log.Runs(t.Context()) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, r.ID+" "+string(r.Body))
	}
	want := []string{
		`01A {"format":1,"id":"01A"}`,
		`checkpoint: runs/01AA: empty or torn: it does not end in its length and checksum; next: silt doctor`,
		`01B {"format":1,"id":"01B"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDamage changes one object behind the log's back. The next process goes on as if the object had
// never been written, or stops and says which object it is.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		gone   []string // taken away first, as if the process had been killed before they were written
		object string
		want   string // in the error; empty: it goes on
	}{
		{"sources_alone", []string{"archive/1", "commits/1", "../main/1", "../quarantine/1", "staged/1", "offsets/1"}, "sources/0/1", ""},
		{"sources_of_a_plan", []string{"archive/1", "commits/1", "../main/1", "../quarantine/1", "staged/1"}, "sources/0/1", "sources/0/1: empty or torn: it does not end in its length and checksum, and offsets/1 is there; next: silt doctor"},
		{"the_last_plan", []string{"archive/1", "commits/1", "../main/1", "../quarantine/1", "staged/1"}, "offsets/1", ""},
		{"a_plan_with_its_stage", []string{"archive/1", "commits/1"}, "offsets/1", "offsets/1: empty or torn"},
		{"a_stage", []string{"archive/1", "commits/1"}, "staged/1", "staged/1: empty or torn"},
		{"the_last_commits", []string{"archive/1"}, "commits/1", ""},
		{"commits_below_the_last_plan", []string{"archive/1", "commits/1"}, "commits/0", ""}, // nobody needs it any more
		{"an_archive_object", nil, "archive/1", ""},
		{"a_plan_long_closed", nil, "offsets/0", "offsets/0: empty or torn"},
		{"metadata", nil, "metadata", "metadata: empty or torn"},
		{"the_lease", nil, "lease", ""},
	} {
		for how, damage := range map[string]func(string) string{
			"empty":      func(string) string { return "" },
			"cut":        func(s string) string { return s[:len(s)*2/3] },
			"one_bit":    func(s string) string { return s[:9] + string(s[9]^1) + s[10:] },
			"no_newline": func(s string) string { return s[:len(s)-1] },
		} {
			t.Run(c.name+"_"+how, func(t *testing.T) {
				s := loaded(t)
				for _, object := range c.gone {
					if err := s.Delete(t.Context(), path.Join("cp", object), objstore.Cond{}); err != nil {
						t.Fatal(err)
					}
				}
				putFile(s, "cp/"+c.object, damage(content(t, s, "cp/"+c.object)))
				before := dump(s)
				putFile(s, "src/d", "d1")
				log, err := checkpoint.Open(t.Context(), s, "cp", options())
				if err == nil {
					_, err = newToy(s, log).run(t.Context())
					log.Close()
				}
				if c.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					if got := rows(s); !slices.Equal(got, []string{"a1", "b1", "c1", "d1"}) {
						t.Errorf("got %v", got)
					}
					return
				}
				var se *checkpoint.StateError
				if !errors.As(err, &se) || !strings.Contains(err.Error(), c.want) || se.Next == "" {
					t.Errorf("got %v, want %s", err, c.want)
				}
				if dump(s) != before {
					t.Error("it changed something")
				}
			})
		}
	}
}

// dump is all there is but the lease and the sources.
func dump(s objstore.Store) string {
	var b strings.Builder
	for o := range s.List(context.Background(), "", "") {
		if o.Key != "cp/lease" && !strings.HasPrefix(o.Key, "src/") {
			fmt.Fprintln(&b, o.Key, o.ETag)
		}
	}
	return b.String()
}

func TestWhatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, s *objstore.Mem)
		want   string
	}{
		{"a_plan_is_missing", remove("offsets/0"), "offsets/0: it is missing, and offsets/1 is there"},
		{"the_last_plan_is_missing", remove("offsets/1"), "offsets/1: it is missing, and commits/1 is there"},
		{"commits_are_missing", remove("commits/0"), "commits/0: it is missing, and offsets/1 is there"},
		{"a_stage_is_missing", remove("staged/1"), "staged/1: it is missing, and commits/1 is there"},
		{"sources_are_missing", remove("sources/0/1"), "sources/0/1: it is missing, and offsets/1 is there"},
		{"metadata_is_missing", remove("metadata"), "metadata: it is missing"},
		{"a_plan_was_changed", func(t *testing.T, s *objstore.Mem) {
			text := strings.Replace(content(t, s, "cp/offsets/0"), `"toy"`, `"boy"`, 1)
			putFile(s, "cp/offsets/0", retrail(text))
		}, "offsets/1: it does not follow offsets/0"},
		{"the_files_were_changed", func(t *testing.T, s *objstore.Mem) {
			text := strings.Replace(content(t, s, "cp/sources/0/1"), "src/c", "src/x", 1)
			putFile(s, "cp/sources/0/1", retrail(text))
		}, "sources/0/1: its files are not those of offsets/1"},
		{"a_newer_silt_wrote_it", func(t *testing.T, s *objstore.Mem) {
			text := strings.Replace(content(t, s, "cp/metadata"), `"format":1`, `"format":2`, 1)
			putFile(s, "cp/metadata", retrail(text))
		}, "metadata: format 2, this silt knows 1; next: install a newer silt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := loaded(t)
			c.change(t, s)
			before := dump(s)
			log, err := checkpoint.Open(t.Context(), s, "cp", options())
			if err == nil {
				_, err = newToy(s, log).run(t.Context())
				log.Close()
			}
			var se *checkpoint.StateError
			if !errors.As(err, &se) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if dump(s) != before {
				t.Error("it changed something")
			}
		})
	}
}

func remove(object string) func(*testing.T, *objstore.Mem) {
	return func(t *testing.T, s *objstore.Mem) {
		if err := s.Delete(t.Context(), "cp/"+object, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
	}
}

// retrail gives an object the trailer of its new text.
func retrail(text string) string {
	text = strings.TrimSuffix(text, "\n")
	return checkpoint.Seal(text[:strings.LastIndexByte(text, '\n')+1])
}

func TestLease(t *testing.T) {
	alive := fmt.Sprintf("here:%d", os.Getpid())
	for _, c := range []struct {
		name      string
		owner     string // of the lease
		now       time.Duration
		ours      string
		held      bool
		giveItUp  bool
		wantEpoch string
	}{
		{"a_holder_at_work_keeps_it", alive, 29 * time.Second, "here:2", true, false, ""},
		{"on_another_host_nobody_can_tell", "there:99999999", 29 * time.Second, "here:2", true, false, ""},
		{"on_this_host_a_holder_that_is_gone_has_lost_it", goneOwner, time.Second, "here:2", false, false, `"epoch":2`},
		{"after_its_time_it_is_free", "there:1", 31 * time.Second, "here:2", false, false, `"epoch":2`},
		{"given_back_it_is_free", alive, time.Second, "here:2", false, true, `"epoch":2`},
		{"a_clock_a_year_off_keeps_nobody_out", "there:1", -365 * 24 * time.Hour, "here:2", false, false, `"epoch":2`},
		{"a_clock_a_minute_off_does", "there:1", -time.Minute, "here:2", true, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := new(objstore.Mem)
			o := options()
			start := o.Clock()
			o.Owner = c.owner
			first, err := checkpoint.Open(t.Context(), s, "cp", o)
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			if c.giveItUp {
				first.Close()
			}
			o.Owner = c.ours
			o.Clock = func() time.Time { return start.Add(c.now) }
			o.NewID = nil
			second, err := checkpoint.Open(t.Context(), s, "cp", o)
			var held *checkpoint.HeldError
			switch {
			case errors.As(err, &held) != c.held:
				t.Fatalf("got %v", err)
			case c.held:
				want := "the checkpoint is held by " + c.owner + ", epoch 1, until 2026-05-01T12:00:30Z"
				if err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			defer second.Close()
			if got := content(t, s, "cp/lease"); !strings.Contains(got, c.wantEpoch) {
				t.Errorf("got %s, want %s", got, c.wantEpoch)
			}
		})
	}
}

func TestTheLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(objstore.Mem)
		first, err := checkpoint.Open(t.Context(), s, "cp", checkpoint.Options{Owner: "there:1"})
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		time.Sleep(time.Hour)
		var held *checkpoint.HeldError
		if _, err := checkpoint.Open(t.Context(), s, "cp", checkpoint.Options{Owner: "here:1"}); !errors.As(err, &held) {
			t.Errorf("got %v", err)
		}
	})
}

// unsure says once, to a put over an object, that there is none.
type unsure struct {
	objstore.Store
	said bool
}

func (u *unsure) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (objstore.Object, error) {
	if cond.IfMatch != "" && !u.said {
		u.said = true
		return objstore.Object{}, objstore.ErrNotExist
	}
	return u.Store.Put(ctx, key, body, cond)
}

func TestALeaseThatIsFreeIsTakenThoughTheStoreSaysOnceThatItIsNotThere(t *testing.T) {
	s := new(objstore.Mem)
	before := options()
	before.NewID = func() string { return "another" }
	open(t, s, before).Close()
	u := &unsure{Store: s}
	log, err := checkpoint.Open(t.Context(), u, "cp", options())
	if err != nil || !u.said {
		t.Fatalf("got %v", err)
	}
	log.Close()
}

// slow is a toy whose Convert does something first.
type slow struct {
	*toy
	first func(ctx context.Context)
}

func (s *slow) Convert(ctx context.Context, p checkpoint.Plan, files []objstore.Object) (checkpoint.Staged, error) {
	s.first(ctx)
	return s.toy.Convert(ctx, p, files)
}

func TestALoaderThatWasTakenOverStops(t *testing.T) {
	t.Run("while_it_works", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := new(objstore.Mem)
			putFile(s, "src/a", "a1")
			log := open(t, s, checkpoint.Options{Owner: goneOwner})
			y := &slow{newToy(s, log), nil}
			y.first = func(ctx context.Context) {
				other := open(t, s, checkpoint.Options{Owner: "here:1"})
				if _, err := newToy(s, other).run(t.Context()); err != nil {
					t.Error(err)
				}
				<-ctx.Done() // the next renewal finds out, and ends the work
			}
			start := time.Now()
			_, err := log.RunBatch(t.Context(), y)
			if err == nil || err.Error() != "the checkpoint was taken over by here:1, epoch 2" {
				t.Errorf("got %v", err)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("it took %s", d)
			}
			if got := rows(s); !slices.Equal(got, []string{"a1"}) {
				t.Errorf("got %v", got)
			}
		})
	})
	t.Run("after_it_slept", func(t *testing.T) {
		s := new(objstore.Mem)
		putFile(s, "src/a", "a1")
		o := options()
		now := o.Clock()
		o.Clock = func() time.Time { return now }
		log := open(t, s, o)
		y := &slow{newToy(s, log), nil}
		y.first = func(context.Context) {
			now = now.Add(time.Hour)
			o.Owner = "here:1"
			open(t, s, o)
		}
		_, err := log.RunBatch(t.Context(), y)
		var held *checkpoint.HeldError
		if !errors.As(err, &held) || !held.Lost || held.Owner != "here:1" || held.Epoch != 2 {
			t.Errorf("got %v", err)
		}
		for o := range s.List(t.Context(), "cp/staged/", "") {
			t.Errorf("%s was written", o.Key)
		}
	})
	t.Run("a_sleeper_nobody_took_over_goes_on", func(t *testing.T) {
		s := new(objstore.Mem)
		putFile(s, "src/a", "a1")
		o := options()
		now := o.Clock()
		o.Clock = func() time.Time { return now }
		log := open(t, s, o)
		y := &slow{newToy(s, log), func(context.Context) { now = now.Add(time.Hour) }}
		if _, err := log.RunBatch(t.Context(), y); err != nil {
			t.Error(err)
		}
	})
}

func TestAttemptsAreCountedOverProcesses(t *testing.T) {
	s := new(objstore.Mem)
	putFile(s, "src/a", "a1")
	var got []int
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		log, err := checkpoint.Open(ctx, s, "cp", options())
		if err != nil {
			t.Fatal(err)
		}
		y := &attempts{newToy(s, log), &got}
		if _, err := log.RunBatch(ctx, y); err == nil {
			t.Error("no error")
		}
		cancel() // and no Close: it was killed
	}
	if !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("got %v", got)
	}
}

type attempts struct {
	*toy
	seen *[]int
}

func (a *attempts) Convert(_ context.Context, p checkpoint.Plan, _ []objstore.Object) (checkpoint.Staged, error) {
	*a.seen = append(*a.seen, p.Attempt)
	return checkpoint.Staged{}, errors.New("it crashes")
}

func TestTheLeaseKeepsWhatANewerSiltWrote(t *testing.T) {
	s := loaded(t)
	text := strings.Replace(content(t, s, "cp/lease"), `"attempts"`, `"a \"new\" field":[1, 2],"attempts"`, 1)
	putFile(s, "cp/lease", retrail(text))
	open(t, s, options())
	if got := content(t, s, "cp/lease"); !strings.Contains(got, `"a \"new\" field":[1,2]`) {
		t.Errorf("got %s", got)
	}
}

func TestAnOutcomeForEachFile(t *testing.T) {
	s := new(objstore.Mem)
	putFile(s, "src/a", "a1")
	log := open(t, s, options())
	_, err := log.RunBatch(t.Context(), forgetful{newToy(s, log)})
	if err == nil || !strings.Contains(err.Error(), "batch 0: convert: 0 outcomes of 1 files") {
		t.Errorf("got %v", err)
	}
}

type forgetful struct{ *toy }

func (forgetful) Convert(context.Context, checkpoint.Plan, []objstore.Object) (checkpoint.Staged, error) {
	return checkpoint.Staged{}, nil
}

func TestInAFolder(t *testing.T) {
	s := objstore.NewDir(t.TempDir())
	for _, f := range []string{"a", "b", "c"} {
		putFile(s, "src/"+f, f+"1")
	}
	for range 2 {
		log := open(t, s, options())
		if _, err := newToy(s, log).run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := rows(s); !slices.Equal(got, []string{"a1", "b1", "c1"}) {
		t.Errorf("got %v", got)
	}
	if !bytes.Contains([]byte(content(t, s, "cp/lease")), []byte(`"epoch":2`)) {
		t.Error("the lease is not from the second run")
	}
}
