package api

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestHubPushes follows the hub through virtual time: one push per change and
// half second, ticks while nothing changes, silence without streams.
func TestHubPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var composed, components atomic.Int64
		h := newHub(func() Snapshot {
			composed.Add(1)
			return Snapshot{Status: Status{Components: int(components.Load())}}
		}, time.Now, slog.New(slog.DiscardHandler))
		done := make(chan struct{})
		ctx := t.Context()
		go func() { defer close(done); h.run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, want := composed.Load(), int64(time.Minute/historyStep)+1; got != want {
			t.Errorf("looked %d times in a minute without streams, want %d", got, want)
		}

		stream, begin, err := h.subscribe()
		if err != nil || !strings.Contains(string(begin), "event: history") || !strings.Contains(string(begin), "event: snapshot") {
			t.Fatalf("subscribe: %q, %v", begin, err)
		}
		name := func() string {
			select {
			case ev := <-stream:
				first, _, _ := strings.Cut(string(ev), "\n")
				return strings.TrimPrefix(first, "event: ")
			default:
				return ""
			}
		}
		var got []string
		for i := range 12 { // 6 s; a change in the third step and one in the fourth
			if i == 2 || i == 3 {
				components.Add(1)
			}
			time.Sleep(pushEvery)
			synctest.Wait()
			got = append(got, name())
		}
		want := []string{"", "", "snapshot", "snapshot", "", "", "", "tick", "", "", "", "tick"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events per half second (-want +got):\n%s", diff)
		}

		// A reader that does not read gets the newest, and the hub never waits.
		for range 10 {
			components.Add(1)
			time.Sleep(pushEvery)
		}
		synctest.Wait()
		if len(stream) != 1 {
			t.Errorf("%d events wait for a slow reader, want 1", len(stream))
		}
		h.unsubscribe(stream)
	})
}

func TestHubLimits(t *testing.T) {
	h := newHub(func() Snapshot { return Snapshot{} }, func() time.Time { return t0 }, slog.New(slog.DiscardHandler))
	for range maxStreams {
		if _, _, err := h.subscribe(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := h.subscribe(); !errors.Is(err, errTooManyStreams) {
		t.Errorf("one stream too many: %v", err)
	}
	h.close()
	if _, _, err := h.subscribe(); !errors.Is(err, errClosing) {
		t.Errorf("subscribe after the end: %v", err)
	}
}

// TestHubSurvivesWhatJSONCannotHold: an infinite price is a bug elsewhere; it
// must neither end the engine nor go unnoticed.
func TestHubSurvivesWhatJSONCannotHold(t *testing.T) {
	var log strings.Builder
	h := newHub(func() Snapshot {
		m := forestall.Migration{}
		m.Price.Saves = math.Inf(1)
		return Snapshot{Migrations: []forestall.Migration{m}}
	}, func() time.Time { return t0 }, slog.New(slog.NewTextHandler(io.Writer(&log), nil)))
	if _, _, err := h.subscribe(); err == nil {
		t.Error("subscribe: no error")
	}
	var seen sight
	if err := h.look(&seen); err == nil || !strings.Contains(err.Error(), "snapshot") {
		t.Errorf("look: %v", err)
	}
}

func TestHistory(t *testing.T) {
	a, b := forestall.GPU("n1", 0), forestall.GPU("n1", 1)
	p := func(v float64) *float64 { return &v }
	h := history{series: map[forestall.Component][]*float64{}}
	h.add([]RiskPoint{{Component: a, Probability: p(0.1)}, {Component: b}})
	h.add([]RiskPoint{{Component: a, Probability: p(0.2)}})
	want := map[forestall.Component][]*float64{a: {p(0.1), p(0.2)}}
	if diff := cmp.Diff(want, h.series); diff != "" {
		t.Errorf("after b, never known, was gone (-want +got):\n%s", diff)
	}
	for range historyLength - 1 {
		h.add([]RiskPoint{{Component: a}})
	}
	if s := h.series[a]; len(s) != historyLength || *s[0] != 0.2 || s[1] != nil {
		t.Errorf("series holds %d points and begins with %v", len(s), s[0])
	}
	h.add(nil)
	if _, ok := h.series[a]; ok {
		t.Error("a component of which only nulls are left is still remembered")
	}
}

func TestRound4(t *testing.T) {
	for in, want := range map[float64]float64{0: 0, 0.123456: 0.1235, 0.00049996: 0.0005, 1: 1, 0.99996: 1} {
		if got := round4(in); math.Abs(got-want) > 1e-15 {
			t.Errorf("round4(%v) = %v, want %v", in, got, want)
		}
	}
	if !math.IsNaN(round4(math.NaN())) {
		t.Error("NaN did not stay NaN")
	}
}
