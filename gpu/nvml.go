package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// NVMLConfig says how a [NVML] source reaches NVIDIA's management library.
type NVMLConfig struct {
	Command  []string         // argv of a child that runs ServeBoards on its standard input and output
	Node     string           // its name, which the events carry
	Deadline time.Duration    // of one reading; a child that exceeds it is killed. 0: 2 s
	Start    time.Duration    // for a child to initialise the library. 0: 20 s
	Now      func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: none
}

// SilentError is what Read returns of a silent device. It wraps [ErrSilent].
type SilentError struct {
	Component forestall.Component
	Since     time.Time     // of the first question without an answer
	Waited    time.Duration // for this one; 0: it was not asked this time
}

func (e *SilentError) Error() string {
	if e.Waited > 0 {
		return fmt.Sprintf("read %s: %v within %s; the process that asked was killed", e.Component, ErrSilent, e.Waited)
	}
	return fmt.Sprintf("read %s: %v since %s; it was not asked again yet", e.Component, ErrSilent, e.Since.UTC().Format(time.RFC3339))
}

// Unwrap returns ErrSilent.
func (e *SilentError) Unwrap() error { return ErrSilent }

// NVML is a [Source] of this machine's GPUs as NVIDIA's management library
// shows them. The library runs in a child process, because a call on a dying
// GPU may never return: a child that keeps no deadline, ends, or writes what
// it should not is killed and replaced, after pauses that grow to a minute.
//
// A GPU that cost a child is asked by a child of its own until it has answered
// three times. One that keeps a deadline no more is silent: see [SilentError];
// an event forestall.EventTelemetryCollapse tells when that began.
type NVML struct {
	cfg     NVMLConfig
	shared  *lane
	calls   sync.WaitGroup
	devices []*nvmlDevice // as OpenNVML found them

	mu     sync.Mutex
	closed bool
	driver string
	count  int
	killed []*process // until the kernel lets them go
	events []forestall.Event
}

var _ Source = (*NVML)(nil)

// nvmlDevice is one GPU of the list that OpenNVML found.
type nvmlDevice struct {
	component forestall.Component
	index     int

	mu     sync.Mutex
	info   Device // UUID empty until it was described
	own    *lane  // nil: it shares the others'
	good   int    // answers in a row on its own lane
	silent time.Time
}

// answersToTrust is how often in a row a GPU that cost a child has to answer
// before it shares the others' again.
const answersToTrust = 3

// maxEvents bounds what is kept for Events.
const maxEvents = 1024

var errNVMLClosed = fmt.Errorf("%w: the NVML source is closed", ErrUnavailable)

// OpenNVML starts the child and lists the GPUs. Its error wraps
// [ErrUnavailable] and says what to do; no process is left then. A GPU that
// does not answer now is listed without a UUID, and asked again by Read.
func OpenNVML(ctx context.Context, cfg NVMLConfig) (*NVML, error) {
	if err := forestall.CheckName(cfg.Node); err != nil {
		return nil, fmt.Errorf("NVML: Node: %w", err)
	}
	if len(cfg.Command) == 0 {
		return nil, fmt.Errorf("%w: no command that runs NVML's child process", ErrUnavailable)
	}
	cfg.Deadline, cfg.Start = cmp.Or(cfg.Deadline, 2*time.Second), cmp.Or(cfg.Start, 20*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	n := &NVML{cfg: cfg, shared: newLane()}
	stop := context.AfterFunc(ctx, func() { _ = n.Close() })
	defer stop()
	err := n.list()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil {
		return n, nil
	}
	_ = n.Close() // nothing was read from it
	if !errors.Is(err, ErrUnavailable) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil, err
}

// list makes the devices.
func (n *NVML) list() error {
	n.shared.turn <- struct{}{}
	_, err := n.child(n.shared)
	<-n.shared.turn
	if err != nil {
		return err
	}
	if n.count == 0 {
		return fmt.Errorf("%w: the NVIDIA driver %s shows no GPU", ErrUnavailable, n.driver)
	}
	var devices []*nvmlDevice
	for i := range n.count {
		devices = append(devices, &nvmlDevice{
			component: forestall.GPU(n.cfg.Node, i), index: i, info: Device{Index: i, NUMANode: -1},
		})
	}
	n.mu.Lock()
	n.devices = devices
	n.mu.Unlock()
	for _, d := range n.devices {
		l := n.take(context.Background(), d)
		if err := n.describe(l, d); err != nil {
			n.cfg.Logger.Warn("a GPU cannot be described; it is asked again with each reading", "component", d.component, "error", err)
		}
		<-l.turn
	}
	return n.neighbours()
}

// neighbours asks what lies between the GPUs. It is known or not; a GPU that
// keeps it from being known is not found out by this.
func (n *NVML) neighbours() error {
	q := request{Op: opTopology}
	for _, d := range n.devices {
		q.UUIDs = append(q.UUIDs, d.info.UUID)
	}
	n.shared.turn <- struct{}{}
	r, err := n.ask(n.shared, q)
	<-n.shared.turn
	if err != nil {
		n.cfg.Logger.Warn("the topology of the GPUs cannot be read; it counts as not known", "error", err)
		return nil
	}
	for i, d := range n.devices {
		for _, peer := range r.Topology[i].Links {
			if peer < 0 || peer >= len(n.devices) {
				return fmt.Errorf("topology: GPU %d is said to reach GPU %d of %d", i, peer, len(n.devices))
			}
		}
		d.mu.Lock()
		d.info.Links, d.info.PCIe = r.Topology[i].Links, r.Topology[i].PCIe
		d.mu.Unlock()
	}
	return nil
}

// Driver returns the driver's version.
func (n *NVML) Driver() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.driver
}

// Devices implements [Source].
func (n *NVML) Devices(ctx context.Context) ([]Device, error) {
	n.mu.Lock()
	closed := n.closed
	n.mu.Unlock()
	if closed {
		return nil, errNVMLClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list GPUs: %w", err)
	}
	var list []Device
	for _, d := range n.devices {
		d.mu.Lock()
		info := d.info
		d.mu.Unlock()
		info.Links, info.PCIe, info.MIG = slices.Clone(info.Links), slices.Clone(info.PCIe), slices.Clone(info.MIG)
		list = append(list, info)
	}
	return list, nil
}

// Read implements [Source]. A silent device gives a *[SilentError].
func (n *NVML) Read(ctx context.Context, now time.Time, node string, index int, dst []forestall.Sample) ([]forestall.Sample, error) {
	if index < 0 || index >= len(n.devices) {
		return dst, fmt.Errorf("%w: %s; node %s has indices 0 to %d",
			ErrNoDevice, forestall.GPU(n.cfg.Node, index), n.cfg.Node, len(n.devices)-1)
	}
	d := n.devices[index]
	values, err := n.await(ctx, d)
	if err != nil {
		return dst, err
	}
	component := d.component
	if node != n.cfg.Node {
		component = forestall.GPU(node, index)
	}
	for i, v := range values {
		name := ""
		if i < numMetrics {
			name = metricNames[i]
		} else if name = detailNames[i-numMetrics]; v != v { // NaN: the device does not have it
			continue
		}
		dst = append(dst, forestall.Sample{Component: component, Metric: name, Time: now, Value: v})
	}
	return dst, nil
}

// Events implements [Source]: XIDs, and when telemetry of a device collapsed.
func (n *NVML) Events() []forestall.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	events := n.events
	n.events = nil
	if n.closed {
		return nil
	}
	slices.SortStableFunc(events, func(a, b forestall.Event) int { return a.Time.Compare(b.Time) })
	return events
}

// report keeps the XIDs that a child told of, as events.
func (n *NVML) report(xids []XIDReport) {
	for _, x := range xids {
		for _, d := range n.devices {
			d.mu.Lock()
			uuid := d.info.UUID
			d.mu.Unlock()
			if uuid != x.UUID {
				continue
			}
			n.event(forestall.Event{Component: d.component, Kind: forestall.EventXID, Time: x.Time, Code: x.Code, Detail: xidText[x.Code]})
			if x.Code == XIDFellOffBus {
				n.event(forestall.Event{Component: d.component, Kind: forestall.EventFellOffBus, Time: x.Time, Code: x.Code, Detail: xidText[x.Code]})
			}
		}
	}
}

func (n *NVML) event(e forestall.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.events) < maxEvents {
		n.events = append(n.events, e)
	}
}

// Close implements [Source]. It kills the children and waits for those that
// the kernel lets go.
func (n *NVML) Close() error {
	n.mu.Lock()
	n.closed = true
	devices := n.devices
	n.mu.Unlock()
	lanes := []*lane{n.shared}
	for _, d := range devices {
		d.mu.Lock()
		if d.own != nil {
			lanes = append(lanes, d.own)
		}
		d.mu.Unlock()
	}
	var running []*process
	for _, l := range lanes {
		if p := l.process(); p != nil {
			p.kill()
			running = append(running, p)
		}
	}
	n.calls.Wait()
	for _, p := range running {
		p.await(time.Second) // one stuck in the driver cannot be ended
	}
	return nil
}
