package checkpoint

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stratoswarm/forestall"
)

// Metrics counts what the manager and the replicator do. A nil *Metrics counts
// nothing.
type Metrics struct {
	total    *prometheus.CounterVec
	duration prometheus.Histogram
	pause    prometheus.Histogram
	interval *prometheus.GaugeVec
	exceeded *prometheus.CounterVec
	added    *prometheus.CounterVec
	under    *prometheus.GaugeVec
	spread   *prometheus.GaugeVec
	bad      *prometheus.CounterVec
	lag      *lag
	verified prometheus.Counter
	damage   prometheus.Counter
	passes   prometheus.Counter

	mu     sync.Mutex
	newest map[string]*push // by workload
}

// NewMetrics registers the package's metrics with reg.
func NewMetrics(reg prometheus.Registerer, now func() time.Time) (*Metrics, error) {
	m := &Metrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_checkpoints_total",
			Help: "Checkpoints by workload and result: ok, or the step that failed (target, quiesce, save, push, commit).",
		}, []string{"workload", "result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fault_tolerance_checkpoint_duration_seconds",
			Help:    "Time from the request until the checkpoint counted.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 16),
		}),
		pause: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fault_tolerance_checkpoint_pause_seconds",
			Help:    "How long the workload stood still for a checkpoint.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
		interval: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fault_tolerance_checkpoint_interval_seconds",
			Help: "Longest time between the workload's automatic checkpoints, as cost and failure rate make it.",
		}, []string{"workload"}),
		exceeded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_checkpoint_interval_exceeded_total",
			Help: "How often no checkpoint of the workload had counted for longer than checkpoint_interval.",
		}, []string{"workload"}),
		added: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_checkpoint_added_bytes_total",
			Help: "Bytes written to the store for checkpoints, compressed.",
		}, []string{"workload"}),
		under: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fault_tolerance_checkpoint_under_replicated",
			Help: "Replicas that the workload's last checkpoint lacks of replication_factor.",
		}, []string{"workload"}),
		spread: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fault_tolerance_checkpoint_under_spread",
			Help: "1 while the replicas of the workload's last checkpoint are all in one zone, although members are in several and geo_distributed is set.",
		}, []string{"workload"}),
		bad: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_checkpoint_bad_replies_total",
			Help: "Answers of a peer that were corrupt or not so: damaged chunks, or checkpoints that it said to hold and could not show.",
		}, []string{"peer"}),
		lag: &lag{now: now, behind: make(map[lagKey]time.Time), desc: prometheus.NewDesc(
			"fault_tolerance_checkpoint_replication_lag_seconds",
			"For how long the replica has lacked the workload's newest checkpoint; 0 when it has it.",
			[]string{"workload", "peer"}, nil)},
		verified: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fault_tolerance_checkpoint_scrubbed_bytes_total",
			Help: "Bytes of this node's store that were read to verify them.",
		}),
		damage: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fault_tolerance_checkpoint_scrub_damage_total",
			Help: "Manifests, packs and chunks of this node's store that were found lost or damaged.",
		}),
		passes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fault_tolerance_checkpoint_scrub_passes_total",
			Help: "How often every chunk of this node's store was verified.",
		}),
	}
	for _, c := range []prometheus.Collector{m.total, m.duration, m.pause, m.interval, m.exceeded, m.added, m.under, m.spread, m.bad, m.lag, m.verified, m.damage, m.passes} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// created counts a checkpoint that ended at step.
func (m *Metrics) created(workload, step string, cp forestall.Checkpoint) {
	if m == nil {
		return
	}
	m.total.WithLabelValues(workload, step).Inc()
	m.added.WithLabelValues(workload).Add(float64(cp.Added))
	if step == stepOK {
		m.duration.Observe(cp.Took.Seconds())
		m.pause.Observe(cp.Pause.Seconds())
	}
}

// paced records the interval between a workload's checkpoints.
func (m *Metrics) paced(workload string, interval time.Duration) {
	if m != nil {
		m.interval.WithLabelValues(workload).Set(interval.Seconds())
	}
}

// late counts that no checkpoint has counted for longer than the interval.
func (m *Metrics) late(workload string) {
	if m != nil {
		m.exceeded.WithLabelValues(workload).Inc()
	}
}

func (m *Metrics) scrubbed(r ScrubReport) {
	if m == nil {
		return
	}
	m.verified.Add(float64(r.Bytes))
	m.damage.Add(float64(r.Bad))
	if r.Whole {
		m.passes.Inc()
	}
}

func (m *Metrics) badReply(peer string) {
	if m != nil {
		m.bad.WithLabelValues(peer).Inc()
	}
}

// push follows one checkpoint to its replicas, as long as it is the newest.
type push struct {
	m        *Metrics
	workload string
	missing  int // guarded by m.mu, as is what follows
	zones    map[string]bool
	spread   bool // it is to be in several zones
}

func (m *Metrics) trackPush(workload string, factor int, self Peer, peers []Peer, spread bool, began time.Time) *push {
	p := &push{m: m, workload: workload, missing: factor - 1, zones: map[string]bool{self.Zone: true}, spread: spread}
	if m == nil {
		return p
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newest == nil {
		m.newest = make(map[string]*push)
	}
	m.newest[workload] = p
	m.lag.begin(workload, peers, began)
	p.show()
	return p
}

// show sets the gauges. The caller holds m.mu.
func (p *push) show() {
	p.m.under.WithLabelValues(p.workload).Set(float64(max(0, p.missing)))
	near := 0.0
	if p.spread && len(p.zones) < 2 {
		near = 1
	}
	p.m.spread.WithLabelValues(p.workload).Set(near)
}

// holds notes that a peer has it.
func (p *push) holds(peer Peer) {
	if p.m == nil {
		return
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.m.newest[p.workload] != p {
		return
	}
	p.missing--
	p.zones[peer.Zone] = true
	p.show()
	p.m.lag.caughtUp(lagKey{p.workload, peer.Name})
}

type lagKey struct{ workload, peer string }

// lag knows since when each replica is behind.
type lag struct {
	now  func() time.Time
	desc *prometheus.Desc

	mu     sync.Mutex
	behind map[lagKey]time.Time // zero: it is not
}

// begin notes a new checkpoint, which only peers are to hold.
func (l *lag) begin(workload string, peers []Peer, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.behind
	l.behind = make(map[lagKey]time.Time, len(old)+len(peers))
	for k, since := range old {
		if k.workload != workload {
			l.behind[k] = since
		}
	}
	for _, p := range peers {
		k := lagKey{workload, p.Name}
		if l.behind[k] = old[k]; old[k].IsZero() {
			l.behind[k] = at
		}
	}
}

func (l *lag) caughtUp(k lagKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.behind[k]; ok {
		l.behind[k] = time.Time{}
	}
}

// Describe implements prometheus.Collector.
func (l *lag) Describe(ch chan<- *prometheus.Desc) { ch <- l.desc }

// Collect implements prometheus.Collector.
func (l *lag) Collect(ch chan<- prometheus.Metric) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, since := range l.behind {
		behind := 0.0
		if !since.IsZero() {
			behind = max(0, now.Sub(since).Seconds())
		}
		ch <- prometheus.MustNewConstMetric(l.desc, prometheus.GaugeValue, behind, k.workload, k.peer)
	}
}
