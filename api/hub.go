package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

const (
	pushEvery  = 500 * time.Millisecond // at most one snapshot per client in this time
	tickEvery  = 2 * time.Second        // a sign of life while nothing changes
	maxStreams = 64
)

var (
	errTooManyStreams = fmt.Errorf("all %d event streams are taken; close a page that shows this engine", maxStreams)
	errClosing        = errors.New("the engine is shutting down")
)

// hub looks at the cluster and hands each change to every open stream. While
// no stream is open it looks only as often as the history needs.
type hub struct {
	compose func() Snapshot
	now     func() time.Time
	log     *slog.Logger

	mu      sync.Mutex
	streams map[chan []byte]struct{}
	closed  bool
	history history
}

func newHub(compose func() Snapshot, now func() time.Time, log *slog.Logger) *hub {
	return &hub{
		compose: compose, now: now, log: log,
		streams: map[chan []byte]struct{}{},
		history: history{series: map[forestall.Component][]*float64{}},
	}
}

// run looks and hands out until ctx is done, then closes every stream.
func (h *hub) run(ctx context.Context) {
	defer h.close()
	ticker := time.NewTicker(pushEvery)
	defer ticker.Stop()
	var seen sight
	for {
		if err := h.look(&seen); err != nil && err.Error() != seen.fault {
			// Streams fall silent, and so the page says that it is stale.
			h.log.Error("event stream has nothing to send", "err", err)
			seen.fault = err.Error()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// sight is what run remembers from one look to the next.
type sight struct {
	body             []byte // snapshot last pushed
	pushed, recorded time.Time
	fault            string // error last logged
}

// look records the history when it is due and pushes what changed, or a tick.
func (h *hub) look(seen *sight) error {
	now := h.now()
	due := now.Sub(seen.recorded) >= historyStep
	if !due && !h.watched() {
		return nil
	}
	snap := h.compose()
	if due {
		h.record(snap.Risks)
		seen.recorded = now
	}
	body, err := json.Marshal(snap)
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	var ev []byte
	switch {
	case !bytes.Equal(body, seen.body):
		ev, err = event("snapshot", timedSnapshot{now.UTC(), body})
	case now.Sub(seen.pushed) >= tickEvery:
		ev, err = event("tick", timed{now.UTC()})
	default:
		return nil
	}
	if err != nil {
		return err
	}
	h.push(ev)
	seen.body, seen.pushed, seen.fault = body, now, ""
	return nil
}

// subscribe opens a stream and returns the events to begin with. The channel
// is closed when the hub ends.
func (h *hub) subscribe() (stream chan []byte, begin []byte, err error) {
	if stream, begin, err = h.open(); err != nil {
		return nil, nil, err
	}
	// From here on changes arrive in the channel, so none is missed between
	// this snapshot and the first of them.
	snapshot, err := json.Marshal(h.compose())
	if err == nil {
		snapshot, err = event("snapshot", timedSnapshot{h.now().UTC(), snapshot})
	}
	if err != nil {
		h.unsubscribe(stream)
		return nil, nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return stream, append(begin, snapshot...), nil
}

func (h *hub) open() (chan []byte, []byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, nil, errClosing
	case len(h.streams) >= maxStreams:
		return nil, nil, errTooManyStreams
	}
	begin, err := event("history", h.history.view())
	if err != nil {
		return nil, nil, err
	}
	stream := make(chan []byte, 1)
	h.streams[stream] = struct{}{}
	return stream, begin, nil
}

func (h *hub) unsubscribe(stream chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, stream)
}

// push gives the event to every stream. One that has not taken the event
// before gets this one instead: a slow reader skips, and holds nobody up.
func (h *hub) push(ev []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for stream := range h.streams {
		select {
		case <-stream:
		default:
		}
		stream <- ev
	}
}

func (h *hub) record(risks []RiskPoint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history.add(risks)
}

func (h *hub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) > 0
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for stream := range h.streams {
		close(stream)
	}
	clear(h.streams)
}

type timed struct {
	Time time.Time `json:"time"`
}

type timedSnapshot struct {
	Time     time.Time       `json:"time"`
	Snapshot json.RawMessage `json:"snapshot"`
}

// event formats a server-sent event. JSON holds no line break, so one data
// line is enough.
func event(name string, data any) ([]byte, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("encode %s event: %w", name, err)
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, b), nil
}
