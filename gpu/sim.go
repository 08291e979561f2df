package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stratoswarm/forestall"
)

// maxSimGPUs is as many as NVML will list.
const maxSimGPUs = 64

// SimConfig says what a [Sim] simulates.
type SimConfig struct {
	Node string // its name, which the events carry
	GPUs int    // 1 to 64
	Seed uint64 // the same seed, node and times of asking give the same readings
	// Details has Read append the board's details after its metrics; they follow
	// from the metrics.
	Details bool
	Now     func() time.Time // when faults begin and events are due; nil: time.Now
	// Wait blocks for d or until ctx ends, whose error it then returns. A Read
	// calls it for as long as it takes on the simulated hardware: 2 ms, up to
	// 1.5 s in a telemetry collapse. [Sleep] serves a live node; nil: Read
	// returns at once, for those who ask with times of their own.
	Wait func(ctx context.Context, d time.Duration) error
}

// Validate reports the first field that cannot work.
func (c SimConfig) Validate() error {
	if err := forestall.CheckName(c.Node); err != nil {
		return fmt.Errorf("simulated GPUs: Node: %w", err)
	}
	if c.GPUs < 1 || c.GPUs > maxSimGPUs {
		return fmt.Errorf("simulated GPUs: GPUs: %d is not in 1 to %d", c.GPUs, maxSimGPUs)
	}
	return nil
}

// Sleep waits for d or until ctx ends, whose error it then returns.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Sim is a [Source] of simulated A100 GPUs. They are idle until SetLoad, and
// healthy until Inject. Temperature, memory temperature, power, utilization and
// used memory follow the quantiles of a production cluster; see [Mode] for how
// a GPU fails. All methods may be called concurrently.
type Sim struct {
	cfg     SimConfig
	devices []*device
	closed  atomic.Bool
}

var _ Source = (*Sim)(nil)

// NewSim returns the simulated GPUs of one node.
func NewSim(cfg SimConfig) (*Sim, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wait == nil {
		cfg.Wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	}
	s := &Sim{cfg: cfg}
	for i := range cfg.GPUs {
		s.devices = append(s.devices, newDevice(cfg, i))
	}
	return s, nil
}

var errClosed = fmt.Errorf("%w: the simulator is closed", ErrUnavailable)

// Devices implements [Source].
func (s *Sim) Devices(ctx context.Context) ([]Device, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list simulated GPUs: %w", err)
	}
	var list []Device
	for _, d := range s.devices {
		info := d.info
		info.Links = slices.Clone(info.Links)
		list = append(list, info)
	}
	return list, nil
}

// Read implements [Source]. Asked again for a time that it has read already,
// or for an earlier one, it repeats its newest reading.
func (s *Sim) Read(ctx context.Context, now time.Time, node string, index int, dst []forestall.Sample) ([]forestall.Sample, error) {
	if s.closed.Load() {
		return dst, errClosed
	}
	d, err := s.device(index)
	if err != nil {
		return dst, err
	}
	d.mu.Lock()
	d.step(now)
	r, latency, gone := d.reading, d.latency, d.gone(now)
	d.mu.Unlock()

	if gone {
		return dst, fmt.Errorf("read %s: %w: it has fallen off the bus", d.component, ErrGone)
	}
	if err := s.cfg.Wait(ctx, latency); err != nil {
		return dst, fmt.Errorf("read %s: %w", d.component, err)
	}
	component := d.component
	if node != s.cfg.Node {
		component = forestall.GPU(node, index)
	}
	for metric, value := range r {
		dst = append(dst, forestall.Sample{
			Component: component, Metric: metricNames[metric], Time: now, Value: value,
		})
	}
	if s.cfg.Details {
		dst = r.details(dst, component, now)
	}
	return dst, nil
}

// Latency returns how long the newest reading of a device takes on the
// simulated hardware, whether or not SimConfig.Wait let it; 0 before the
// first reading and for a device that there isn't.
func (s *Sim) Latency(index int) time.Duration {
	d, err := s.device(index)
	if err != nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.latency
}

// Events implements [Source]: XIDs, each stamped with the time at which it
// came, also those of a device that nobody reads.
func (s *Sim) Events() []forestall.Event {
	if s.closed.Load() {
		return nil
	}
	now := s.cfg.Now()
	var events []forestall.Event
	for _, d := range s.devices {
		d.mu.Lock()
		d.pass(now)
		events = append(events, d.events...)
		d.events = nil
		d.mu.Unlock()
	}
	slices.SortStableFunc(events, func(a, b forestall.Event) int {
		return cmp.Or(a.Time.Compare(b.Time), a.Component.Compare(b.Component))
	})
	return events
}

// Close implements [Source].
func (s *Sim) Close() error {
	s.closed.Store(true)
	return nil
}

// Inject lets a device fail in mode m, beginning now and ending after over; 0
// is at once. ModeNone replaces the device by a new, healthy one whose
// counters begin at zero. A device that has failed takes no other mode.
func (s *Sim) Inject(index int, m Mode, over time.Duration) error {
	d, err := s.device(index)
	if err != nil {
		return err
	}
	if _, err := ParseMode(string(m)); err != nil {
		return err
	}
	if over < 0 {
		return fmt.Errorf("inject %s into %s: the time over which it unfolds is negative: %v", m, d.component, over)
	}
	now := s.cfg.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if m == ModeNone {
		d.pass(now)
		d.fault, d.counts = fault{mode: ModeNone}, reading{}
		return nil
	}
	if d.fault.failed(now) {
		return fmt.Errorf("inject %s into %s: it has failed already; inject %s first, which replaces it", m, d.component, ModeNone)
	}
	d.pass(now)
	d.fault = fault{mode: m, since: now, over: over}
	return nil
}

// SetLoad says how busy a device is from its next reading on: 0 idle to 1
// fully loaded; NaN counts as idle. A device that there isn't is passed over.
func (s *Sim) SetLoad(index int, load float64) {
	d, err := s.device(index)
	if err != nil {
		return
	}
	if math.IsNaN(load) {
		load = 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.load = min(max(load, 0), 1)
}

// State returns how a device is doing, by SimConfig.Now.
func (s *Sim) State(index int) (State, error) {
	d, err := s.device(index)
	if err != nil {
		return State{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault.mode == ModeNone {
		return State{Mode: ModeNone}, nil
	}
	return State{
		Mode:    d.fault.mode,
		Since:   d.fault.since,
		FailsAt: d.fault.since.Add(d.fault.over),
		Failed:  d.fault.failed(s.cfg.Now()),
	}, nil
}

// ErrNoDevice is wrapped when the node never had a GPU of that index.
var ErrNoDevice = errors.New("no such GPU")

func (s *Sim) device(index int) (*device, error) {
	if index < 0 || index >= len(s.devices) {
		return nil, fmt.Errorf("%w: %s; node %s has indices 0 to %d",
			ErrNoDevice, forestall.GPU(s.cfg.Node, index), s.cfg.Node, len(s.devices)-1)
	}
	return s.devices[index], nil
}
