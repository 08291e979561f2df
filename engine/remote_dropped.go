package engine

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall/features"
)

// droppedFresh is for how long after a sample was dropped the operator is told.
const droppedFresh = 10 * time.Minute

// dropped follows what remote writes lose.
type dropped struct {
	mu    sync.Mutex
	stats features.RemoteWriteStats
	late  time.Time // when the newest was dropped; zero: none was
	ahead time.Time
	bad   time.Time
}

// see compares with what was received before. What begins to be dropped is logged.
func (d *dropped) see(stats features.RemoteWriteStats, now time.Time, log *slog.Logger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.notes(now)
	for _, one := range []struct {
		was, is uint64
		at      *time.Time
	}{{d.stats.OutOfOrder, stats.OutOfOrder, &d.late}, {d.stats.Future, stats.Future, &d.ahead}, {d.stats.Invalid, stats.Invalid, &d.bad}} {
		if one.is > one.was {
			*one.at = now
		}
	}
	d.stats = stats
	if after := d.notes(now); len(after) > len(before) {
		log.Warn("samples of remote writes are dropped", "why", strings.Join(after, "; "))
	}
}

// notes says what was dropped lately. The caller holds mu.
func (d *dropped) notes(now time.Time) (notes []string) {
	for _, one := range []struct {
		at  time.Time
		n   uint64
		why string
	}{
		{d.late, d.stats.OutOfOrder, "came after their scrape had been put together: raise features.remote_write.settle above the sender's batch_send_deadline, or look whether two servers send the same target"},
		{d.ahead, d.stats.Future, "are more than 5 minutes ahead of this clock, or older than 1970: set the clocks right"},
		{d.bad, d.stats.Invalid, "name no component, or belong to more targets or components than are kept: see the log, and docs/configuration.md on presets and labels"},
	} {
		if !one.at.IsZero() && now.Sub(one.at) < droppedFresh {
			notes = append(notes, fmt.Sprintf("%d samples %s", one.n, one.why))
		}
	}
	return notes
}

// note returns what an operator should know of remote writes, "" for nothing.
func (r *remoteWrite) note(now time.Time) string {
	if r == nil {
		return ""
	}
	r.dropped.mu.Lock()
	defer r.dropped.mu.Unlock()
	if notes := r.dropped.notes(now); len(notes) > 0 {
		return "remote writes lose samples: " + strings.Join(notes, "; ")
	}
	return ""
}

var (
	remoteSamplesDesc = prometheus.NewDesc("fault_tolerance_remote_write_samples_total",
		"Samples of known series that remote writes brought: taken, or dropped because they were late, in the future, or named no component.", []string{"result"}, nil)
	unusedSamplesDesc = prometheus.NewDesc("fault_tolerance_unused_samples_total",
		"Samples of metrics that the windows of the model in force do not hold; they are recorded all the same.", []string{"kind"}, nil)
)

// Describe implements [prometheus.Collector].
func (r *remoteWrite) Describe(ch chan<- *prometheus.Desc) { ch <- remoteSamplesDesc }

// Collect implements [prometheus.Collector].
func (r *remoteWrite) Collect(ch chan<- prometheus.Metric) {
	s := r.writer.Stats()
	for result, n := range map[string]uint64{"taken": s.Samples, "late": s.OutOfOrder, "future": s.Future, "invalid": s.Invalid} {
		ch <- prometheus.MustNewConstMetric(remoteSamplesDesc, prometheus.CounterValue, float64(n), result)
	}
}

// unused collects what no window holds.
type unused struct{ *lanes }

// Describe implements [prometheus.Collector].
func (u unused) Describe(ch chan<- *prometheus.Desc) { ch <- unusedSamplesDesc }

// Collect implements [prometheus.Collector].
func (u unused) Collect(ch chan<- prometheus.Metric) {
	for _, kind := range laneKinds {
		if champion, _ := u.of(kind); champion != nil {
			ch <- prometheus.MustNewConstMetric(unusedSamplesDesc, prometheus.CounterValue, float64(champion.store.Ignored()), kind.String())
		}
	}
}
