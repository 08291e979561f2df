package gpu

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// State is how a simulated device is doing.
type State struct {
	Mode    Mode      // ModeNone: healthy
	Since   time.Time // when Mode was injected; zero when healthy
	FailsAt time.Time // when it ends in failure; zero when healthy
	Failed  bool      // FailsAt has come
}

// device is one simulated GPU. Its stream of random numbers is its own and is
// drawn from in the same way whatever its mode and load, so that a fault moves
// nothing but what it is said to move.
type device struct {
	mu        sync.Mutex
	info      Device
	component forestall.Component
	rng       *rand.Rand
	load      float64
	scores    scores
	read      time.Time // of the newest reading; zero before the first
	reading   reading
	latency   time.Duration // of the newest reading
	counts    reading       // the counters
	fault     fault
	events    []forestall.Event
}

// fault is a mode on its way.
type fault struct {
	mode   Mode
	since  time.Time
	over   time.Duration
	passed int // milestones behind it
}

// at returns the share of the fault that has unfolded by then: 0 to 1, and 0
// for a healthy device.
func (f *fault) at(now time.Time) float64 {
	switch {
	case f.mode == ModeNone || now.Before(f.since):
		return 0
	case now.Sub(f.since) >= f.over:
		return 1
	}
	return now.Sub(f.since).Seconds() / f.over.Seconds()
}

func (f *fault) failed(now time.Time) bool {
	return f.mode != ModeNone && !now.Before(f.since.Add(f.over))
}

func newDevice(cfg SimConfig, index int) *device {
	c := forestall.GPU(cfg.Node, index)
	hash := fnv.New64a()
	hash.Write([]byte(c.Name))
	id := hash.Sum64()
	d := &device{
		component: c,
		rng:       rand.New(rand.NewPCG(cfg.Seed, id)),
		fault:     fault{mode: ModeNone},
		info: Device{
			Index:       index,
			UUID:        fmt.Sprintf("GPU-%08x-%04x-%04x-0000-%012x", uint32(id), uint16(id>>32), uint16(id>>48), cfg.Seed&0xffffffffffff),
			Name:        boardName,
			MemoryBytes: boardMemory,
			NUMANode:    2 * index / cfg.GPUs,
			PCIBus:      fmt.Sprintf("00000000:%02X:00.0", 7+2*index),
		},
	}
	for peer := range cfg.GPUs {
		if peer != index {
			d.info.Links = append(d.info.Links, peer)
		}
	}
	d.scores = newScores(d.rng)
	return d
}

// step brings the device to now and takes a reading. A time that is not after
// the newest reading's changes nothing. The caller holds mu.
func (d *device) step(now time.Time) {
	var dt time.Duration
	if !d.read.IsZero() {
		if dt = now.Sub(d.read); dt <= 0 {
			return
		}
	}
	d.read = now
	d.pass(now)

	x := d.fault.at(now)
	load := d.load
	if d.fault.failed(now) {
		load = 0
	}
	var r reading
	r.board()
	d.scores.step(d.rng, dt, load, &r, d.info.MemoryBytes)
	d.fault.mode.unfold(x, &r)
	r.settle()
	d.count(now, dt, x, load)
	for _, metric := range []int{eccSingleBit, eccDoubleBit, rowRemaps, pcieReplays, nvlinkErrors} {
		r[metric] = d.counts[metric]
	}
	coin, jitter := d.rng.Float64(), d.rng.Float64()
	d.latency = time.Duration((1.5 + jitter) * float64(time.Millisecond))
	if d.fault.mode == ModeTelemetryCollapse {
		r.vanish(x, coin)
		d.latency = time.Duration(float64(d.latency) * math.Exp(6.4*math.Max(0, x-0.3)/0.7))
	}
	d.reading = r
}

// count adds what happened in dt to the counters. The caller holds mu.
func (d *device) count(now time.Time, dt time.Duration, x, load float64) {
	unfolding := max(0, min(dt, now.Sub(d.fault.since))) // the part of dt under the fault
	more := d.fault.mode.hazards(x)
	add := func(metric int, base, extra float64) {
		d.counts[metric] += poisson(d.rng.Float64(), base*dt.Seconds()+extra*unfolding.Seconds())
	}
	add(eccSingleBit, healthy.singleBit, more.singleBit)
	add(pcieReplays, healthy.replays, more.replays)
	add(nvlinkErrors, healthy.nvlink, more.nvlink)

	// Applications fault on healthy GPUs too: once in 200 busy hours.
	coin, which := d.rng.Float64(), d.rng.IntN(3)
	if poisson(coin, load*dt.Hours()/200) > 0 {
		d.xid(now, []int{XIDGraphicsException, XIDPageFault, XIDStopped}[which])
	}
}

// pass reports the milestones that the fault has passed by now. The caller
// holds mu.
func (d *device) pass(now time.Time) {
	f := &d.fault
	for _, m := range f.mode.milestones()[f.passed:] {
		at := f.since.Add(time.Duration(m.x * float64(f.over)))
		if now.Before(at) {
			return
		}
		f.passed++
		if m.counter >= 0 {
			d.counts[m.counter]++
		}
		d.xid(at, m.xid)
		if m.xid == XIDFellOffBus {
			d.events = append(d.events, forestall.Event{
				Component: d.component, Kind: forestall.EventFellOffBus, Time: at, Code: m.xid, Detail: xidText[m.xid],
			})
		}
	}
}

func (d *device) xid(t time.Time, code int) {
	d.events = append(d.events, forestall.Event{
		Component: d.component, Kind: forestall.EventXID, Time: t, Code: code, Detail: xidText[code],
	})
}

// gone reports whether the device has vanished by now. The caller holds mu.
func (d *device) gone(now time.Time) bool { return d.fault.failed(now) && d.fault.mode.endsGone() }
