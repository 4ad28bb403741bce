package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/siltlake/silt"
)

type triggerDoc struct {
	AvailableNow   bool            `json:"availableNow,omitempty" jsonschema:"Load everything that is there and stop: the default."`
	Once           bool            `json:"once,omitempty" jsonschema:"Load everything that is there in one batch and stop, whatever the options say about the size of batches."`
	ProcessingTime string          `json:"processingTime,omitempty" jsonschema:"How often a watching run looks for new files: 30s, 5m or '30 seconds'."`
	FileArrival    *fileArrivalDoc `json:"fileArrival,omitempty" jsonschema:"When a watching run loads what has arrived."`
	Schedule       string          `json:"schedule,omitempty" jsonschema:"When a watching run looks for new files, as cron has it: minute, hour, day of the month, month, day of the week."`
	TimeZone       string          `json:"timeZone,omitempty" jsonschema:"The zone of the schedule, such as Europe/Berlin. Default: UTC."`
}

func (triggerDoc) later() []string { return []string{"continuous"} }

type fileArrivalDoc struct {
	MinTimeBetweenTriggers string `json:"minTimeBetweenTriggers,omitempty" jsonschema:"The least time from one load to the next: 60s, 5m or '60 seconds'."`
	WaitAfterLastChange    string `json:"waitAfterLastChange,omitempty" jsonschema:"How long no file must have arrived before what is there is loaded: 15s, 5m or '15 seconds'."`
}

// trigger reads when a pipeline runs. That there is one trigger only, and that a schedule is one, is for
// silt.Open to say.
func (r *resolver) trigger(t triggerDoc, c *silt.Config) {
	c.Trigger = silt.Trigger{Once: t.Once, Schedule: t.Schedule, TimeZone: t.TimeZone}
	if f := t.FileArrival; f != nil {
		c.Trigger.FileArrival = &silt.FileArrival{
			MinTimeBetweenTriggers: r.time(f.MinTimeBetweenTriggers, 0, "trigger", "fileArrival", "minTimeBetweenTriggers"),
			WaitAfterLastChange:    r.time(f.WaitAfterLastChange, 0, "trigger", "fileArrival", "waitAfterLastChange"),
		}
	}
	c.Poll = r.time(t.ProcessingTime, 1, "trigger", "processingTime")
	for _, other := range []struct {
		key   string
		given bool
	}{{"processingTime", t.ProcessingTime != ""}, {"once", t.Once}, {"fileArrival", t.FileArrival != nil}, {"schedule", t.Schedule != ""}} {
		if t.AvailableNow && other.given {
			r.fault(codeContradiction, "keep one of them", "availableNow and "+other.key+" contradict each other", "trigger", other.key)
		}
	}
}

// time reads a time that is not less than least; no text is 0.
func (r *resolver) time(text string, least time.Duration, path ...string) time.Duration {
	if text == "" {
		return 0
	}
	d, ok := interval(text)
	if !ok || d < least {
		r.fault(codeValue, "write 30s or 5m", fmt.Sprintf("%s is %q, which is no time", path[len(path)-1], text), path...)
		return 0
	}
	return d
}

// interval reads 30s, 5m and Spark's "30 seconds".
func interval(s string) (time.Duration, bool) {
	if d, err := time.ParseDuration(s); err == nil {
		return d, true
	}
	var n int
	var unit, more string
	if k, _ := fmt.Sscan(strings.TrimPrefix(strings.TrimSpace(strings.ToLower(s)), "interval "), &n, &unit, &more); k != 2 {
		return 0, false
	}
	d, ok := map[string]time.Duration{
		"millisecond": time.Millisecond, "second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour,
	}[strings.TrimSuffix(unit, "s")]
	return time.Duration(n) * d, ok
}
