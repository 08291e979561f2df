package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/train"
)

// TestDescribeSplit: lengths of time are written as people say them, where the
// unit is one of the clock.
func TestDescribeSplit(t *testing.T) {
	for _, c := range []struct {
		unit  string
		split train.Split
		want  string
	}{
		{"hours", train.Split{Kind: train.ByTime, Holdout: 0.2, Embargo: 0.036111111111111115}, "the last 20 % of the rows by hour, embargo 2 min 10 s"},
		{"hours", train.Split{Kind: train.ByTime, Holdout: 0.2, Embargo: 1.0833333333333333}, "the last 20 % of the rows by hour, embargo 1 h 5 min"},
		{"days", train.Split{Kind: train.Prequential, TestWindow: 91, TrainWindow: 365, Embargo: 10}, "each 91 d of hour after a training window of 365 d, embargo 10 d"},
		{"units", train.Split{Kind: train.Prequential, TestWindow: 2_000_000, TrainWindow: 1e7}, "each 2000000 of hour after a training window of 10000000, no embargo"},
		{"cycles", train.Split{Kind: train.ByTime, Holdout: 0.5, Embargo: 0.1}, "the last 50 % of the rows by hour, embargo 0.1"},
	} {
		cmd := trainCmd{}
		cmd.Time, cmd.TimeUnit = "hour", c.unit
		if got := cmd.describeSplit(&c.split); strings.ReplaceAll(got, "\u00a0", " ") != c.want {
			t.Errorf("%s: %q, want %q", c.unit, got, c.want)
		}
	}
	if got := exactDuration(49*time.Hour + 1500*time.Millisecond); got != "2 d 1 h 1 s 500 ms" {
		t.Error(got)
	}
}
