package detect

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// HeartbeatConfig is when silence becomes failure.
type HeartbeatConfig struct {
	Interval  time.Duration // between the beats of a component
	Threshold int           // beats missed in a row that mean it has failed
	Window    time.Duration // how far back beats missed here and there are counted
	Metrics   *Metrics      // nil: none
}

// DefaultHeartbeatConfig returns 5 s, 3 beats, 30 s: failure 15 s after the
// last beat.
func DefaultHeartbeatConfig() HeartbeatConfig {
	return HeartbeatConfig{Interval: 5 * time.Second, Threshold: 3, Window: 30 * time.Second}
}

// Validate names the first field that cannot work.
func (c HeartbeatConfig) Validate() error {
	switch {
	case c.Interval <= 0:
		return fmt.Errorf("heartbeat_interval: %s must be longer than 0", c.Interval)
	case c.Threshold < 1:
		return fmt.Errorf("failure_threshold: %d must be at least 1", c.Threshold)
	case c.Window < c.Interval*time.Duration(c.Threshold):
		return fmt.Errorf("detection_window: %s is shorter than heartbeat_interval x failure_threshold (%s): no failure could be counted",
			c.Window, c.Interval*time.Duration(c.Threshold))
	}
	return nil
}

// Beat is a sign of life of an agent or a service.
type Beat struct {
	Component       forestall.Component
	Time            time.Time          // when it was received, by the receiver's clock
	ErrorRate       float64            // share of failed requests in [0,1]; NaN: not given
	ResponseSeconds float64            // NaN: not given
	Metrics         map[string]float64 // whatever else the component reports
	Bytes           int                // its size on the wire; 0: not known
}

// ErrUnknownComponent is wrapped by the refusal of a beat of a component that
// isn't tracked.
var ErrUnknownComponent = errors.New("unknown component")

// Health is what the beats say of a component. A component that has never been
// heard is forestall.Unknown.
type Health struct {
	Grade    forestall.Grade
	Missed   int       // beats overdue now
	Last     time.Time // last beat; zero if there was none
	Evidence []string  // in words
}

// Heartbeats watches the beats of agents and services. It starts nothing: its
// owner passes beats in and calls Check. Safe for concurrent use.
//
// A component is healthy while it beats; suspect when it is one beat short of
// the threshold, or has missed as many as the threshold here and there within
// the window; and failed once Threshold beats in a row are overdue. Its
// first beat is waited for without limit, because a process that doesn't beat
// is no failure: its death is seen by its exit.
type Heartbeats struct {
	cfg HeartbeatConfig

	mu      sync.Mutex
	checked time.Time // last Check
	tracked map[forestall.Component]*pulse
}

type pulse struct {
	since  time.Time // tracked since
	last   time.Time // last beat; zero before the first
	from   time.Time // from when beats are counted as missed: last, or later after a pause of the checker
	failed bool
	gaps   []gap // within the window, oldest first
}

// gap is a stretch without beats that has ended.
type gap struct {
	end    time.Time
	missed int
}

// NewHeartbeats returns an empty watch. The configuration must be valid.
func NewHeartbeats(cfg HeartbeatConfig) *Heartbeats {
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	return &Heartbeats{cfg: cfg, tracked: map[forestall.Component]*pulse{}}
}

// Track begins to watch c. What was known of it before is forgotten: a
// workload that starts anew is tracked anew.
func (h *Heartbeats) Track(c forestall.Component, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tracked[c] = &pulse{since: now}
}

// Forget ends the watch of c.
func (h *Heartbeats) Forget(c forestall.Component) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.tracked, c)
}

// Beat takes a sign of life in, which ends an outage. A beat older than the
// last is ignored. The error wraps ErrUnknownComponent or names the value that
// makes no sense; such a beat doesn't count.
func (h *Heartbeats) Beat(b Beat) error {
	if b.ErrorRate < 0 || b.ErrorRate > 1 {
		return fmt.Errorf("heartbeat of %s: error rate %g is not between 0 and 1", b.Component, b.ErrorRate)
	}
	if b.ResponseSeconds < 0 || math.IsInf(b.ResponseSeconds, 0) {
		return fmt.Errorf("heartbeat of %s: response time %g s is not a duration", b.Component, b.ResponseSeconds)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.tracked[b.Component]
	if !ok {
		return fmt.Errorf("heartbeat of %s: %w: only workloads that run on this node may beat here", b.Component, ErrUnknownComponent)
	}
	h.cfg.Metrics.beat(b)
	if b.Time.Before(p.last) {
		return nil
	}
	if n := skipped(p.from, b.Time, h.cfg.Interval); n > 0 && !p.last.IsZero() && !p.failed {
		p.gaps = append(p.gaps, gap{b.Time, n})
	}
	if p.failed {
		p.gaps = nil // the outage has been reported
	}
	p.last, p.from, p.failed = b.Time, b.Time, false
	p.forgetGaps(b.Time.Add(-h.cfg.Window))
	return nil
}

func (p *pulse) forgetGaps(before time.Time) {
	p.gaps = slices.DeleteFunc(p.gaps, func(g gap) bool { return g.end.Before(before) })
}

// Check returns the components that have failed since the last call, each once
// for an outage, in the order of their names. Call it at least once an
// interval: when more than one and a half have passed since the last call, the
// checker itself stood still, and that time is not counted against anybody.
func (h *Heartbeats) Check(now time.Time) []forestall.Failure {
	h.mu.Lock()
	defer h.mu.Unlock()
	if paused := now.Sub(h.checked); !h.checked.IsZero() && paused > h.cfg.Interval*3/2 {
		for _, p := range h.tracked {
			p.from = resumed(p.from, h.checked, now, h.cfg.Interval, h.cfg.Threshold)
		}
	}
	h.checked = now
	var out []forestall.Failure
	for c, p := range h.tracked {
		missed := Missed(p.from, now, h.cfg.Interval)
		if p.last.IsZero() || p.failed || missed < h.cfg.Threshold {
			continue
		}
		p.failed = true
		out = append(out, forestall.Failure{
			Component: c, Kind: silenceKind(c.Kind), Time: now, LastSeen: p.last,
			Evidence: []string{h.silence(p, missed, now)},
		})
	}
	slices.SortFunc(out, func(a, b forestall.Failure) int { return a.Component.Compare(b.Component) })
	return out
}

func silenceKind(k forestall.Kind) forestall.FailureKind {
	switch k {
	case forestall.KindAgent:
		return forestall.AgentFailure
	case forestall.KindNode:
		return forestall.NodeCrash
	case forestall.KindGPU:
		return forestall.GPUFailure
	}
	return forestall.ServiceFailure
}

// Health returns what the beats say of c at now. Only Check establishes a
// failure: until then the worst grade is forestall.Suspect.
func (h *Heartbeats) Health(c forestall.Component, now time.Time) Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.tracked[c]
	switch {
	case !ok:
		return Health{Evidence: []string{"no heartbeats are expected of it here"}}
	case p.last.IsZero():
		return Health{Evidence: []string{fmt.Sprintf("no heartbeat yet, %s after it was started", seconds(now.Sub(p.since)))}}
	}
	out := Health{Grade: forestall.Healthy, Missed: Missed(p.from, now, h.cfg.Interval), Last: p.last}
	p.forgetGaps(now.Add(-h.cfg.Window))
	scattered := out.Missed
	for _, g := range p.gaps {
		scattered += g.missed
	}
	switch {
	case p.failed:
		out.Grade, out.Evidence = forestall.Failing, []string{h.silence(p, out.Missed, now)}
	case out.Missed > 0 && out.Missed >= h.cfg.Threshold-1:
		out.Grade, out.Evidence = forestall.Suspect, []string{h.silence(p, out.Missed, now)}
	case scattered >= h.cfg.Threshold:
		out.Grade = forestall.Suspect
		out.Evidence = []string{fmt.Sprintf("%s missed here and there within %s", beats(scattered), seconds(h.cfg.Window))}
	default:
		out.Evidence = []string{fmt.Sprintf("last heartbeat %s ago", seconds(now.Sub(p.last)))}
	}
	return out
}

func (h *Heartbeats) silence(p *pulse, missed int, now time.Time) string {
	return fmt.Sprintf("%s missed in a row: none for %s, one is due every %s",
		beats(missed), seconds(now.Sub(p.last)), seconds(h.cfg.Interval))
}

func beats(n int) string {
	if n == 1 {
		return "1 heartbeat"
	}
	return strconv.Itoa(n) + " heartbeats"
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(math.Round(d.Seconds()*10)/10, 'f', -1, 64) + " s"
}
