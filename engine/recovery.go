package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/migrate"
)

// recoveries watches the GPUs that have failed for their working again: good
// readings without a break for as long as the probation lasts. Times are when this
// engine took the readings. A nil one watches nothing.
type recoveries struct {
	probation time.Duration // 0: time alone ends no incident
	stale     time.Duration // readings further apart are a break

	mu sync.Mutex
	of map[forestall.Component]*recovery
}

// recovery is what has been seen of a GPU since this engine heard of its incident.
type recovery struct {
	nvlink   bool               // that is what failed, or among it
	since    time.Time          // the first of the good readings; zero: the newest was not good
	last     time.Time          // the newest reading
	counters map[string]float64 // of errors, as the newest reading had them
	blemish  string             // what broke the good readings last
	patience time.Duration      // readings may be so far apart, where its source is slower than the others
	failed   time.Time          // when an event last proved its failure; zero: not since then
	waiting  map[string]bool    // standing faults that waited for a reset when they were last reported
	reset    string             // what shows that the GPU was reset, and nothing was wrong since; "": nothing
	showed   time.Time          // the reading that showed it: a later one must bear it out
}

// resetMends are 1 while a GPU has a fault that a reset of the GPU mends and nothing
// else does.
var resetMends = map[string]string{
	gpu.MetricRowRemapPending:   "a row remap waits for a reset",
	"gpu_retired_pages_pending": "a retired page waits for a reset",
}

// standingFaults are 1 while a GPU has a fault that time does not mend.
var standingFaults = map[string]string{
	gpu.MetricRowRemapPending:   resetMends[gpu.MetricRowRemapPending],
	"gpu_row_remap_failure":     "a row could not be remapped",
	"gpu_retired_pages_pending": resetMends["gpu_retired_pages_pending"],
}

// errorCounters count what a sound GPU has none of.
var errorCounters = []string{
	gpu.MetricECCDoubleBit, "gpu_ecc_dbe_aggregate_total", gpu.MetricRowRemaps, "gpu_retired_pages_dbe_total", "gpu_pcie_fatal_errors_total",
}

// watch says which incidents are open.
func (r *recoveries) watch(open []forestall.Incident) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.of
	r.of = make(map[forestall.Component]*recovery, len(open))
	for _, in := range open {
		if r.of[in.Component] = before[in.Component]; r.of[in.Component] == nil {
			r.of[in.Component] = &recovery{waiting: map[string]bool{}, nvlink: ofNVLink(in.Evidence)}
		}
	}
}

func ofNVLink(evidence []string) bool {
	return strings.Contains(strings.Join(evidence, "\n"), "NVLink")
}

// read takes a reading of a component.
func (r *recoveries) read(c forestall.Component, now time.Time, samples []forestall.Sample) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.of[c]; w != nil {
		w.read(now, samples, max(r.stale, w.patience))
	}
}

// expect says how far apart the readings of a component may be.
func (r *recoveries) expect(c forestall.Component, patience time.Duration) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.of[c]; w != nil {
		w.patience = patience
	}
}

func (w *recovery) read(now time.Time, samples []forestall.Sample, stale time.Duration) {
	answers, blemish, reset := false, "", ""
	counters := map[string]float64{}
	for _, s := range samples {
		if math.IsNaN(s.Value) {
			continue
		}
		answers = answers || slices.Contains(gpuMetrics, s.Metric)
		if fault := standingFaults[s.Metric]; fault != "" && s.Value > 0 {
			blemish = fault
		}
		if resetMends[s.Metric] != "" {
			if s.Value == 0 && w.waiting[s.Metric] {
				reset = s.Metric + " fell to 0"
			}
			w.waiting[s.Metric] = s.Value > 0
		}
		if slices.Contains(errorCounters, s.Metric) || w.nvlink && s.Metric == gpu.MetricNVLinkErrors {
			counters[s.Metric] = s.Value
		}
	}
	for metric, before := range w.counters {
		switch v, there := counters[metric]; {
		case !there:
			blemish, counters[metric] = metric+" is reported no more", before
		case v == 0 && before > 0 && metric == gpu.MetricECCDoubleBit: // it counts since the last reset
			reset = fmt.Sprintf("%s fell from %g to 0", metric, before)
		case v > before:
			blemish = fmt.Sprintf("%s rose from %g to %g", metric, before, v)
		}
	}
	if !answers {
		blemish, counters = "it reports nothing", w.counters
	}
	if blemish == "" && now.Sub(w.last) > stale {
		w.since = time.Time{} // it was not read in between
	}
	w.last, w.counters = now, counters
	if blemish != "" {
		w.spoil(blemish)
		return
	}
	if w.since.IsZero() {
		w.since = now
	}
	if reset != "" {
		w.reset, w.showed = reset, now
	}
}

func (w *recovery) spoil(blemish string) { w.since, w.blemish, w.reset = time.Time{}, blemish, "" }

// spoil says that something was not as it is of a GPU that works.
func (r *recoveries) spoil(c forestall.Component, blemish string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.of[c]; w != nil {
		w.spoil(blemish)
	}
}

// fail says that an event proves that a GPU has failed, perhaps again.
func (r *recoveries) fail(c forestall.Component, now time.Time, f forestall.Failure) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.of[c]
	if w == nil { // its incident is not open yet
		w = &recovery{waiting: map[string]bool{}}
		r.of[c] = w
	}
	w.failed, w.nvlink = now, w.nvlink || ofNVLink(f.Evidence)
	w.spoil(strings.Join(f.Evidence, ": "))
}

// judge takes the newest risks: of what fails by its model, or what the model
// cannot tell of, the good readings begin anew. judged says whether a model judges
// a kind.
func (r *recoveries) judge(risks []forestall.Risk, judged func(forestall.Kind) bool) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, risk := range risks {
		w := r.of[risk.Component]
		if w == nil || w.since.IsZero() || !judged(risk.Component.Kind) {
			continue
		}
		switch risk.Grade {
		case forestall.Failing:
			w.since, w.blemish = w.last, "its model finds it failing"
		case forestall.Unknown:
			w.since, w.blemish = w.last, "its risk is unknown: "+risk.Note
		}
	}
}

// over reports whether a GPU works again, and why that is believed. repaired is
// when the host of a GPU that this engine reads itself was started: if nothing has
// failed since, one good reading is enough. Zero: not known.
func (r *recoveries) over(in forestall.Incident, now, repaired time.Time) (why string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.of[in.Component]
	if w == nil || w.since.IsZero() || now.Sub(w.last) > max(r.stale, w.patience) {
		return "", false
	}
	good := now.Sub(w.since)
	switch {
	case repaired.After(in.Start) && repaired.After(w.failed):
		return "its host was started at " + repaired.UTC().Format(time.RFC3339) + ", and it answers", true
	case w.reset != "" && w.last.After(w.showed):
		return "it was reset, which shows by " + w.reset + ", and it answers", true
	case r.probation == 0 || good < r.probation:
		return "", false
	}
	why = fmt.Sprintf("it has answered for %s without an error that counts", good.Round(time.Second))
	if w.blemish != "" {
		why += "; before that " + w.blemish
	}
	return why, true
}

// gpuMetrics are what a GPU that answers reports, at least some of them.
var gpuMetrics = gpu.MetricNames()

// hostStarted returns when this host was booted, by a clock that is right now;
// zero if it does not tell.
func hostStarted(now time.Time) time.Time {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return time.Time{}
	}
	return now.Add(-time.Duration(info.Uptime) * time.Second)
}

// recovered returns the GPUs with an open incident that work again by what this
// engine reads, and why that is believed.
func (e *Engine) recovered() map[forestall.Component]string {
	var open []forestall.Incident
	e.ledger.View(func(s *migrate.State) {
		for _, in := range s.Incidents {
			if in.Kind == forestall.GPUFailure {
				open = append(open, in.Incident)
			}
		}
	})
	e.telemetry.recovering.watch(open)
	now := e.now()
	all := map[forestall.Component]string{}
	for _, in := range open {
		var repaired time.Time
		switch {
		case in.Component.NodeName() != e.name || e.telemetry.gpus == nil:
		case e.sim != nil:
			repaired = e.started // simulated GPUs are new with each engine
		default:
			repaired = hostStarted(now)
		}
		if why, ok := e.telemetry.recovering.over(in, now, repaired); ok {
			all[in.Component] = "by what " + e.name + " reads: " + why
		}
	}
	return all
}
