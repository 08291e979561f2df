package detect

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
)

var (
	epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	agent = forestall.Agent("train-7")
)

func at(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }

func beat(c forestall.Component, t time.Time) Beat {
	return Beat{Component: c, Time: t, ErrorRate: math.NaN(), ResponseSeconds: math.NaN(), Bytes: 100}
}

func TestMissed(t *testing.T) {
	for _, tt := range []struct {
		silent float64
		want   int
	}{{-3, 0}, {0, 0}, {4.999, 0}, {5, 1}, {9.9, 1}, {10, 2}, {15, 3}, {1e6, 200000}} {
		if got := Missed(at(0), at(tt.silent), 5*time.Second); got != tt.want {
			t.Errorf("Missed after %g s of silence = %d, want %d", tt.silent, got, tt.want)
		}
	}
}

func TestResumed(t *testing.T) {
	for _, tt := range []struct {
		name               string
		from, checked, now float64
		threshold          int
		want               float64
	}{
		{"the pause doesn't count", 0, 4, 100, 3, 96},
		{"one interval is left at least", 0, 14, 100, 3, 90},
		{"threshold 1 begins anew", 0, 4, 100, 1, 100},
		{"a beat within the pause", 50, 4, 100, 3, 100},
	} {
		if got := resumed(at(tt.from), at(tt.checked), at(tt.now), 5*time.Second, tt.threshold); !got.Equal(at(tt.want)) {
			t.Errorf("%s: counted from %s, want %s", tt.name, got.Sub(epoch), at(tt.want).Sub(epoch))
		}
	}
}

func TestSilenceBecomesFailureOnce(t *testing.T) {
	h := NewHeartbeats(DefaultHeartbeatConfig())
	h.Track(agent, at(-60))
	if got := h.Health(agent, at(0)); got.Grade != forestall.Unknown || !strings.Contains(got.Evidence[0], "no heartbeat yet, 60 s after") {
		t.Errorf("before the first beat: %+v", got)
	}
	if got := h.Check(at(0)); got != nil {
		t.Errorf("a component that never beat was reported: %v", got)
	}
	if err := h.Beat(beat(agent, at(0))); err != nil {
		t.Fatal(err)
	}
	for s := 1.0; s < 15; s++ {
		if got := h.Check(at(s)); got != nil {
			t.Fatalf("reported after %g s of silence: %v", s, got)
		}
		want := forestall.Healthy
		if s >= 10 {
			want = forestall.Suspect
		}
		if got := h.Health(agent, at(s)); got.Grade != want {
			t.Errorf("after %g s of silence: %+v, want %s", s, got, want)
		}
	}
	got := h.Check(at(15))
	if len(got) != 1 || got[0].Component != agent || got[0].Kind != forestall.AgentFailure ||
		!got[0].Time.Equal(at(15)) || !got[0].LastSeen.Equal(at(0)) || got[0].Evidence[0] != "3 heartbeats missed in a row: none for 15 s, one is due every 5 s" {
		t.Fatalf("Check after 15 s = %+v", got)
	}
	if h := h.Health(agent, at(15)); h.Grade != forestall.Failing || h.Missed != 3 || !h.Last.Equal(at(0)) {
		t.Errorf("Health of a failed one = %+v", h)
	}
	if got := h.Check(at(20)); got != nil {
		t.Errorf("reported twice: %v", got)
	}
	if err := h.Beat(beat(agent, at(21))); err != nil {
		t.Fatal(err)
	}
	if got := h.Health(agent, at(22)); got.Grade != forestall.Healthy {
		t.Errorf("after it came back: %+v", got)
	}
	for s := 24.0; s <= 40; s += 4 {
		if got := h.Check(at(s)); len(got) == 1 != (s == 36) {
			t.Errorf("second outage, check at %g s: %v", s, got)
		}
	}
	h.Forget(agent)
	if err := h.Beat(beat(agent, at(41))); !errors.Is(err, ErrUnknownComponent) {
		t.Errorf("beat of a forgotten one: %v", err)
	}
	if got := h.Health(agent, at(41)); got.Grade != forestall.Unknown {
		t.Errorf("health of a forgotten one: %+v", got)
	}
}

func TestScatteredMissesAreSuspectNotFailed(t *testing.T) {
	h := NewHeartbeats(DefaultHeartbeatConfig())
	h.Track(agent, at(0))
	for s := 0.0; s <= 60; s += 10 { // every other one is lost
		if err := h.Beat(beat(agent, at(s))); err != nil {
			t.Fatal(err)
		}
		if got := h.Check(at(s)); got != nil {
			t.Fatalf("a beating component failed: %v", got)
		}
	}
	if got := h.Health(agent, at(61)); got.Grade != forestall.Suspect || !strings.Contains(got.Evidence[0], "3 heartbeats missed here and there within 30 s") {
		t.Errorf("half of the beats lost: %+v", got)
	}
	for s := 65.0; s <= 100; s += 5 {
		if err := h.Beat(beat(agent, at(s))); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.Health(agent, at(101)); got.Grade != forestall.Healthy {
		t.Errorf("after a good while: %+v", got)
	}
}

func TestPausedCheckerAccusesNobody(t *testing.T) {
	for _, threshold := range []int{1, 2, 3} {
		cfg := HeartbeatConfig{Interval: 5 * time.Second, Threshold: threshold, Window: 30 * time.Second}
		h := NewHeartbeats(cfg)
		h.Track(agent, at(0))
		if err := h.Beat(beat(agent, at(0))); err != nil {
			t.Fatal(err)
		}
		h.Check(at(4))
		if got := h.Check(at(3600)); got != nil { // the engine was stopped for an hour
			t.Errorf("threshold %d: a pause of the checker was taken for missed beats: %v", threshold, got)
		}
		// The component really is gone: it is found, a threshold after the pause at the latest.
		found := 0.0
		for s := 3601.0; s < 3620 && found == 0; s++ {
			if h.Check(at(s)) != nil {
				found = s
			}
		}
		if limit := 3600 + 5*float64(threshold); found == 0 || found > limit {
			t.Errorf("threshold %d: found at %g s, want by %g s", threshold, found, limit)
		}
	}
}

func TestBadBeats(t *testing.T) {
	h := NewHeartbeats(DefaultHeartbeatConfig())
	h.Track(agent, at(0))
	for name, change := range map[string]func(*Beat){
		"error rate":        func(b *Beat) { b.ErrorRate = 1.5 },
		"response time":     func(b *Beat) { b.ResponseSeconds = -1 },
		"unknown component": func(b *Beat) { b.Component = forestall.Agent("other") },
	} {
		b := beat(agent, at(1))
		change(&b)
		if err := h.Beat(b); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := h.Health(agent, at(2)); got.Grade != forestall.Unknown {
		t.Errorf("a refused beat counted: %+v", got)
	}
	for _, s := range []float64{10, 7} { // the second arrived late
		if err := h.Beat(beat(agent, at(s))); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.Health(agent, at(11)); !got.Last.Equal(at(10)) {
		t.Errorf("last beat at %s, want 10 s", got.Last.Sub(epoch))
	}
}

func TestHeartbeatConfigValidate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*HeartbeatConfig)
		want   string
	}{
		"default":   {func(*HeartbeatConfig) {}, ""},
		"interval":  {func(c *HeartbeatConfig) { c.Interval = 0 }, "heartbeat_interval"},
		"threshold": {func(c *HeartbeatConfig) { c.Threshold = 0 }, "failure_threshold"},
		"window":    {func(c *HeartbeatConfig) { c.Window = 14 * time.Second }, "detection_window"},
	} {
		c := DefaultHeartbeatConfig()
		tt.change(&c)
		if err := c.Validate(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// A component that beats at least once an interval never fails and never stays
// suspect, one that stops fails once, however the checks fall.
func TestHeartbeatsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := NewHeartbeats(DefaultHeartbeatConfig())
		h.Track(agent, epoch)
		now, last, reported := 0, 0, 0 // milliseconds
		moment := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
		check := func() { reported += len(h.Check(moment(now))) }
		for range rapid.IntRange(1, 30).Draw(t, "beats") {
			if err := h.Beat(beat(agent, moment(now))); err != nil {
				t.Fatal(err)
			}
			last = now
			step := rapid.IntRange(1, 5000).Draw(t, "step")
			now = last + rapid.IntRange(0, step-1).Draw(t, "check")
			check()
			now = last + step
			check() // the next may be up to an interval away
		}
		if reported > 0 || h.Health(agent, moment(last)).Grade != forestall.Healthy {
			t.Fatalf("a beating component: %d failures, %+v", reported, h.Health(agent, moment(last)))
		}
		for now < last+60000 {
			check()
			if want := now-last >= 15000; (reported == 1) != want {
				t.Fatalf("reported %d times after %d ms of silence", reported, now-last)
			}
			now += rapid.IntRange(1, 7500).Draw(t, "silent check")
		}
	})
}

// The owner's loop as the engine runs it, in virtual time: failure is
// established within one check of interval x threshold.
func TestHeartbeatsInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHeartbeats(DefaultHeartbeatConfig())
		h.Track(agent, time.Now())
		dies := time.Now().Add(time.Minute)
		go func() {
			for time.Now().Before(dies) {
				if err := h.Beat(beat(agent, time.Now())); err != nil {
					t.Error(err)
				}
				time.Sleep(5 * time.Second)
			}
		}()
		for tick := range time.Tick(time.Second) {
			if failures := h.Check(tick); len(failures) > 0 {
				if took := tick.Sub(failures[0].LastSeen); took < 15*time.Second || took > 16*time.Second {
					t.Errorf("established %s after the last beat", took)
				}
				return
			}
		}
	})
}

func BenchmarkBeatAndCheck(b *testing.B) {
	h := NewHeartbeats(DefaultHeartbeatConfig())
	h.Track(agent, at(0))
	now := at(0)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		if err := h.Beat(beat(agent, now)); err != nil {
			b.Fatal(err)
		}
		h.Check(now)
	}
}
