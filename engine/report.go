package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/predict"
)

// report is what a node tells the leader at every report interval, and at once
// when something failed.
type report struct {
	Self      migrate.Join                     `json:"self"`
	Scored    uint64                           `json:"scored"`            // counts the node's scorings
	Models    map[forestall.Kind]modelReport   `json:"models,omitempty"`  // with Risks
	Risks     []forestall.Risk                 `json:"risks,omitempty"`   // of the newest, if the leader lacks it
	Alarms    map[string]predict.AlarmCounts   `json:"alarms,omitempty"`  // that thresholds would have raised; with Risks
	Known     string                           `json:"known,omitempty"`   // version of the cluster's risks that the node has
	Members   map[string]forestall.MemberState `json:"members,omitempty"` // as gossip shows them from there
	Failures  []failureReport                  `json:"failures,omitempty"`
	Recovered map[forestall.Component]string   `json:"recovered,omitempty"` // GPUs with an open incident that work again, and why that is believed
}

// failureReport is a failure that the leader has not confirmed yet. Epoch is
// the run that failed, 0 where it is not a workload.
type failureReport struct {
	forestall.Failure
	Epoch forestall.Epoch `json:"epoch,omitempty"`
}

// reportReply tells the node how the rest of the cluster does. Risks travel
// only when they have changed.
type reportReply struct {
	Leader  string                         `json:"leader"`
	Lacks   bool                           `json:"lacks,omitempty"`   // the leader lacks the node's newest risks
	Version string                         `json:"version,omitempty"` // of Risks
	Risks   []forestall.Risk               `json:"risks,omitempty"`   // nil: those that the node knows still hold
	Alarms  map[string]predict.AlarmCounts `json:"alarms,omitempty"`  // of all nodes; with Risks
}

// outbox keeps failures until the leader has taken them. Of those that would be one
// incident it keeps the first: a GPU can say every second that it is gone, and there
// may be no leader for days.
type outbox struct {
	mu       sync.Mutex
	failures []failureReport
	kick     chan struct{} // of capacity 1: something waits
}

func newOutbox() *outbox { return &outbox{kick: make(chan struct{}, 1)} }

func (o *outbox) add(f failureReport) {
	o.mu.Lock()
	if !slices.ContainsFunc(o.failures, func(p failureReport) bool {
		return p.Component == f.Component && p.Kind == f.Kind && p.Epoch == f.Epoch
	}) {
		o.failures = append(o.failures, f)
	}
	o.mu.Unlock()
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

func (o *outbox) pending() []failureReport {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.failures)
}

// taken forgets the first n, which the leader has confirmed.
func (o *outbox) taken(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures = slices.Delete(o.failures, 0, n)
}

// reportLoop reports to the leader until ctx ends.
func (e *Engine) reportLoop(ctx context.Context) error {
	tick := time.NewTicker(e.timing.report)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-e.outbox.kick:
		}
		e.reportOnce(ctx)
	}
}

func (e *Engine) reportOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, max(e.timing.report, time.Second))
	defer cancel()
	failures := e.outbox.pending()
	scored, risks := e.telemetry.scored()
	r := report{Self: e.self(), Scored: scored, Members: e.gossip(), Failures: failures, Recovered: e.recovered()}
	e.mu.Lock()
	r.Known = e.cluster.version
	if e.cluster.lacks || e.cluster.sent != scored {
		r.Risks, r.Alarms, r.Models = risks, e.telemetry.judged.counts(), e.modelReports()
	}
	e.mu.Unlock()

	reply, err := askLeader(ctx, e, "/peer/report", r, e.takeReport)
	if err != nil {
		if !errors.Is(err, errNoLeader) && ctx.Err() == nil {
			e.log.Debug("report not taken", "error", err)
		}
		return
	}
	e.outbox.taken(len(failures))
	e.telemetry.judged.hear(reply.Alarms, e.now())
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cluster.sent, e.cluster.lacks = scored, reply.Lacks
	e.cluster.heard(reply.Leader, e.now())
	if reply.Version != e.cluster.version {
		e.cluster.version, e.cluster.risks = reply.Version, reply.Risks
	}
}

// told is what the leader last told this node, and what it was told.
type told struct {
	at      time.Time
	leader  string
	before  string    // who led before it
	left    time.Time // when that one last answered
	version string
	risks   []forestall.Risk
	sent    uint64 // scoring that the leader has
	lacks   bool
}

// heard notes that a leader has answered. The one before it is remembered: it may be
// the death of that one which made this the leader.
func (t *told) heard(leader string, now time.Time) {
	if leader != t.leader {
		t.before, t.left = t.leader, t.at
	}
	t.leader, t.at = leader, now
}

// clusterRisks returns the other nodes' risks as the leader last told them, or
// Unknown for each when it has been silent for too long.
func (e *Engine) clusterRisks() []forestall.Risk {
	e.mu.Lock()
	defer e.mu.Unlock()
	silence := e.now().Sub(e.cluster.at)
	if silence <= e.timing.fresh {
		return e.cluster.risks
	}
	return unknown(e.cluster.risks, "the leader has told this node nothing for "+silence.Round(time.Second).String())
}

func unknown(risks []forestall.Risk, note string) []forestall.Risk {
	blind := make([]forestall.Risk, len(risks))
	for i, r := range risks {
		blind[i] = forestall.UnknownRisk(r.Component, r.Time, note)
		blind[i].Horizon = r.Horizon
	}
	return blind
}

// self describes this node for the ledger.
func (e *Engine) self() migrate.Join {
	return migrate.Join{
		Name: e.name, Address: e.address, API: e.apiURL(), Zone: e.cfg.Engine.Zone,
		GPUs: e.gpuCount, MemoryBytes: hostMemory(), GPUModel: e.gpuModel, GPUDriver: e.gpuDriver,
	}
}

// hostMemory returns the bytes of memory of this host, 0 if it does not tell.
func hostMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
