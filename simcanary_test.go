package silt_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/siltlake/silt/objstore"
)

// canaries are stores that let one rule of the protocol not hold.
var canaries = []canary{
	{name: "the list of a batch's files can be overwritten", lax: puts("lake/cp/sources/")},
	{name: "a plan can be overwritten", lax: puts("lake/cp/offsets/")},
	{name: "a stage can be overwritten", lax: puts("lake/cp/staged/")},
	{name: "the id of a checkpoint can be overwritten", lax: puts("lake/cp/metadata")},
	{name: "a version of a table can be overwritten", lax: puts("lake/t/_delta_log/0")},
	{name: "nobody looks for the transaction of a batch", read: withoutTransactions},
	{name: "a lost answer is taken for a commit that did not happen", answer: again},
	{name: "sources are archived before the commit", wrote: archiveEarly},
	{name: "another version of a file is read than was planned", lax: func(c simCall) bool {
		return c.op == "open" && strings.HasPrefix(c.key, landing)
	}},
	{name: "a file is removed whatever its version", lax: func(c simCall) bool {
		return c.op == "delete" && strings.HasPrefix(c.key, landing)
	}},
}

func puts(prefix string) func(simCall) bool {
	return func(c simCall) bool { return c.op == "put" && strings.HasPrefix(c.key, prefix) }
}

// withoutTransactions makes of the entries of a log entries of somebody else.
func withoutTransactions(c simCall, content []byte) []byte {
	if !strings.HasPrefix(c.key, "lake/t/_delta_log/0") || !strings.HasSuffix(c.key, ".json") {
		return content
	}
	var out []byte
	for line := range bytes.Lines(content) {
		if !bytes.HasPrefix(line, []byte(`{"txn"`)) {
			out = append(out, bytes.ReplaceAll(line, []byte(`"txnId"`), []byte(`"none"`))...)
		}
	}
	return out
}

// again puts an entry whose answer was lost under the next number, too.
func again(c *cloud, call simCall, v verdict, err error) error {
	number, ok := strings.CutPrefix(strings.TrimSuffix(call.key, ".json"), "lake/t/_delta_log/")
	if !ok || v != lost && v != slowLost || len(number) != 20 || !errors.Is(err, errFault) {
		return err
	}
	content, _, readErr := objstore.ReadAll(context.Background(), &c.mem, call.key)
	if readErr != nil {
		return err
	}
	next := []byte(number)
	next[19]++
	_, _ = objstore.PutBytes(context.Background(), &c.mem, "lake/t/_delta_log/"+string(next)+".json", content, objstore.Cond{IfAbsent: true})
	return err
}

// archiveEarly moves all files away when a stage is put.
func archiveEarly(c *cloud, key string) {
	if !strings.HasPrefix(key, "lake/cp/staged/") {
		return
	}
	for o := range c.mem.List(context.Background(), landing, "") {
		c.taken(simCall{by: &process{name: "the canary"}, key: o.Key}, o.ETag)
		_ = c.mem.Delete(context.Background(), o.Key, objstore.Cond{})
	}
}

// TestSimulationFindsWhatARuleIsFor holds that the simulation sees each rule that does not hold.
func TestSimulationFindsWhatARuleIsFor(t *testing.T) {
	const enough = 1000
	if *seeds < enough {
		t.Skip("with -seeds 1000, as in make sim")
	}
	for _, bug := range canaries {
		t.Run(strings.ReplaceAll(bug.name, " ", "_"), func(t *testing.T) {
			for seed := uint64(1); seed <= enough; seed++ {
				if _, err := simulate(t, seed, bug); err != nil {
					first, _, _ := strings.Cut(err.Error(), "\n")
					t.Logf("seed %d: %s", seed, first)
					return
				}
			}
			t.Errorf("it is not found in %d seeds", enough)
		})
	}
}
