package engine

import (
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

func TestTwins(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var w twins
	for i, tt := range []struct {
		source string
		index  int
		kind   forestall.EventKind
		code   int
		at     time.Duration
		fresh  bool
	}{
		{"kernel", 0, forestall.EventXID, 31, 0, true},
		{"kernel", 0, forestall.EventXID, 31, time.Second, true}, // a second one
		{"gpu", 0, forestall.EventXID, 31, 2 * time.Second, false},
		{"gpu", 0, forestall.EventXID, 31, 2 * time.Second, false},
		{"gpu", 0, forestall.EventXID, 31, 2 * time.Second, true}, // a third
		{"kernel", 0, forestall.EventXID, 31, 5 * time.Second, false},
		{"kernel", 1, forestall.EventXID, 31, 5 * time.Second, true},
		{"gpu", 1, forestall.EventXID, 13, 6 * time.Second, true},
		{"gpu", 1, forestall.EventXID, 31, 2 * time.Minute, true}, // too late for one event
		{"gpu", 2, forestall.EventFellOffBus, 79, 0, true},
		{"kernel", 2, forestall.EventFellOffBus, 0, time.Second, false},
		{"host", 3, forestall.EventOOMKill, 1, 0, true},
		{"gpu", 3, forestall.EventOOMKill, 1, 0, true},
	} {
		e := forestall.Event{Component: forestall.GPU("n1", tt.index), Kind: tt.kind, Code: tt.code, Time: start.Add(tt.at)}
		if got := w.fresh(e, tt.source); got != tt.fresh {
			t.Errorf("event %d: fresh %v, want %v", i, got, tt.fresh)
		}
	}
}
