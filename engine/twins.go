package engine

import (
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// twins tells what one source reports from what another has reported already:
// NVML and the kernel's log both give XIDs, each in its own time. The first is
// taken.
type twins struct {
	mu   sync.Mutex
	seen map[twin][]sighting
}

type twin struct {
	component forestall.Component
	kind      forestall.EventKind
	code      int
}

type sighting struct {
	source string
	at     time.Time
}

// twinApart is how far apart in time two sources report one event.
const twinApart = time.Minute

// fresh reports whether an event is not the twin of an earlier one from another
// source. Each earlier one has one twin.
func (w *twins) fresh(e forestall.Event, source string) bool {
	if e.Kind != forestall.EventXID && e.Kind != forestall.EventFellOffBus {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = map[twin][]sighting{}
	}
	key := twin{e.Component, e.Kind, e.Code}
	if e.Kind == forestall.EventFellOffBus {
		key.code = 0
	}
	var alone []sighting
	found := false
	for _, s := range w.seen[key] {
		switch apart := e.Time.Sub(s.at).Abs(); {
		case apart > twinApart:
		case !found && s.source != source:
			found = true
		default:
			alone = append(alone, s)
		}
	}
	if !found {
		alone = append(alone, sighting{source, e.Time})
	}
	if w.seen[key] = alone; len(alone) == 0 {
		delete(w.seen, key)
	}
	return !found
}
