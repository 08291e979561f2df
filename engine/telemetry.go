package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/detect"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/predict"
)

// telemetry scrapes what this node can see, keeps windows of it and scores
// them. What cannot be read is reported as such and goes stale; it is never
// taken for a value.
type telemetry struct {
	node       string
	gpus       gpu.Source // nil: this node has none that can be read
	siblings   features.Siblings
	host       *features.Host
	targets    *targets
	remote     *remoteWrite // nil: remote writes are not received
	owners     owners
	lanes      *lanes
	judged     *judgement
	unusual    *unusual        // nil: nothing is watched for what is unlike its past
	unlike     standings       // components that are unlike what their model was trained on, scoreAll's
	counts     forestall.Grade // that a healthy component counts as which is unusual; Healthy: no other
	recorder   *recorder       // nil: nothing is recorded
	refilled   refill
	forgotten  []forestall.Component // that were taken out for good
	filling    filling
	past       *past // nil: nothing is known
	twins      twins
	lastXIDs   *lastXIDs
	recovering *recoveries // nil: no failure's end is looked for

	silent      map[forestall.Component]bool // GPUs whose telemetry has collapsed, scoreAll's
	kernelLost  uint64                       // records of the kernel's log, scrapeHost's
	refillLimit int64                        // samples
	scrape      time.Duration
	timeout     time.Duration
	score       time.Duration // 0: prediction is off
	now         func() time.Time
	log         *slog.Logger
	metrics     *metrics

	failed    func(forestall.Failure) // told each failure that an event proves
	incidents func() (incidents []forestall.Incident, current bool)
	odds      func(kind forestall.Kind, sha256 string) float64 // of a champion, as agreed on; nil: as the cards have them

	mu       sync.Mutex
	scorings uint64
	risks    []forestall.Risk
	gone     map[forestall.Component]bool
	failing  map[string]bool // sources whose last read went wrong, to log the change only
}

// Run scrapes and scores until ctx ends. Scoring many components takes long;
// no scrape waits for it.
func (t *telemetry) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	if t.recorder != nil && t.refillLimit > 0 {
		t.takeUp(ctx, &all)
		all.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(max(5*time.Minute, 10*t.scrape)):
				t.refilled.unheard(t.lanes, t.unusual, t.log)
			}
		})
	}
	all.Go(func() { t.targets.Run(ctx, t.now) })
	all.Go(func() { t.scrapePages(ctx) })
	if t.remote != nil {
		all.Go(func() { t.remote.Run(ctx, t) })
	}
	t.scrapeNode(ctx)
	if t.score > 0 {
		all.Go(func() {
			if t.refilled.any() { // there is something to judge
				t.scoreAll()
			}
			every(ctx, t.score, t.scoreAll)
		})
	}
	every(ctx, t.scrape, func() { t.scrapeNode(ctx) })
	return nil
}

// every calls f at the interval until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f()
		}
	}
}

// Risks returns the newest risk of each component that this node scores.
func (t *telemetry) Risks() []forestall.Risk {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.risks
}

// scrapeNode reads what this engine reads itself.
func (t *telemetry) scrapeNode(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	var wg sync.WaitGroup
	if t.host != nil {
		wg.Go(func() { t.scrapeHost() })
	}
	if t.gpus != nil {
		wg.Go(func() { t.scrapeGPUs(ctx) })
	}
	wg.Wait()
}

// scrapePages reads the targets' pages, each in its turn. A scraper ends by itself
// when its target is too slow.
func (t *telemetry) scrapePages(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-t.targets.changed:
		}
		pages, wait := t.targets.due(t.now(), t.scrape)
		for _, p := range pages {
			wg.Go(func() {
				t.scrapePage(ctx, p)
				t.targets.done(p)
			})
		}
		timer.Reset(wait)
	}
}

func (t *telemetry) scrapeHost() {
	start := t.now()
	samples, err := t.host.Read(start, nil)
	t.sourceState("host", err)
	if err == nil {
		t.push(samples, t.now().Sub(start))
	}
	t.take("host", t.hostEvents())
}

// hostEvents returns what the host has seen; simulated GPUs are none that its
// kernel's log speaks of.
func (t *telemetry) hostEvents() []forestall.Event {
	if lost := t.host.LostKernelRecords(); lost > t.kernelLost {
		t.log.Warn("the kernel overwrote lines of its log before they were read; events may be missing", "times", lost-t.kernelLost)
		t.kernelLost = lost
	}
	events := t.host.Events()
	if _, simulated := t.gpus.(*gpu.Sim); simulated {
		events = slices.DeleteFunc(events, func(e forestall.Event) bool { return e.Component.Kind == forestall.KindGPU })
	}
	return events
}

// scrapeGPUs reads the node's GPUs at once, under one time, and sets them beside
// each other.
func (t *telemetry) scrapeGPUs(ctx context.Context) {
	devices, err := t.gpus.Devices(ctx)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return // the engine ends; being too slow is an error
	}
	t.sourceState("gpu", err)
	if err != nil {
		return
	}
	start := t.now()
	groups, latencies := make([][]forestall.Sample, len(devices)), make([]time.Duration, len(devices))
	var wg sync.WaitGroup
	for i, d := range devices {
		wg.Go(func() { groups[i], latencies[i] = t.scrapeGPU(ctx, d.Index, start) })
	}
	wg.Wait()
	t.siblings.Append(groups)
	read := make([]forestall.Component, len(devices))
	for i, samples := range groups {
		read[i] = forestall.GPU(t.node, devices[i].Index)
		t.push(samples, latencies[i])
	}
	for _, c := range t.absent(read) {
		t.pushMissing(c, start, notMeasured)
	}
	t.take("gpu", t.gpus.Events())
}

// scrapeGPU reads one GPU and returns its samples; none if it gave none, which
// has been noted then.
func (t *telemetry) scrapeGPU(ctx context.Context, index int, start time.Time) ([]forestall.Sample, time.Duration) {
	c := forestall.GPU(t.node, index)
	began := t.now()
	samples, err := t.gpus.Read(ctx, start, t.node, index, nil)
	latency := t.now().Sub(began)
	var silent *gpu.SilentError
	switch {
	case errors.As(err, &silent):
		// Its source works and it was asked: that it reports nothing is an
		// observation, but proves no failure.
		if silent.Waited == 0 {
			latency = notMeasured
		}
		t.pushMissing(c, start, latency)
		t.sourceState(c.String(), err)
	case errors.Is(err, gpu.ErrGone):
		// The device was asked and is not there: that is an observation, all
		// of its metrics missing, and evidence of its own kind.
		t.pushMissing(c, start, latency)
		if t.firstGone(c) {
			t.take("gpu", []forestall.Event{{Component: c, Kind: forestall.EventFellOffBus, Time: start, Detail: err.Error()}})
		}
	case err != nil:
		t.sourceState(c.String(), err)
	default:
		t.sourceState(c.String(), nil)
		t.clearGone(c)
		return samples, latency
	}
	return nil, 0
}

// absent returns the GPUs that were there before this engine started and are not
// among those that a source has described, their siblings.
func (t *telemetry) absent(described []forestall.Component) []forestall.Component {
	return t.refilled.missing(described, t.now(), max(time.Minute, 3*t.scrape))
}

// never is the life of a claim that any source may take over.
func never() bool { return false }

// pushMissing takes note that a component was asked and reported nothing.
func (t *telemetry) pushMissing(c forestall.Component, at time.Time, latency time.Duration) {
	t.filling.gate.RLock()
	defer t.filling.gate.RUnlock()
	if err := t.lanes.pushMissing(c, at, latency); err != nil {
		t.log.Warn("reading rejected", "component", c, "error", err)
		return
	}
	t.recovering.spoil(c, "it reports nothing")
	t.filling.keepMissing(c, at, latency)
	t.unusual.scrape(c, at, nil)
	t.recorder.scrape(c, at, nil, latency)
}

func (t *telemetry) scrapePage(ctx context.Context, p *page) {
	at := t.now()
	groups, latency, err := p.scraper.Scrape(ctx, at)
	if err != nil && ctx.Err() != nil {
		return // the engine ends, which tells nothing of the page
	}
	var refused refusals
	described, taken := slices.Clone(p.scraper.Repeated()), 0
	claim := func(c forestall.Component) bool {
		err := t.claim(c, p.id, func() bool { return t.targets.scraped(p) })
		if refused.add(err); err == nil {
			taken++
		}
		return err == nil
	}
	for _, c := range described {
		if claim(c) {
			t.lanes.hear(c, at)
		}
	}
	for _, samples := range groups {
		described = append(described, samples[0].Component)
		if claim(samples[0].Component) {
			t.push(samples, latency)
		}
	}
	for _, c := range t.absent(described) {
		if t.claim(c, p.id, never) == nil {
			t.pushMissing(c, at, latency)
		}
	}
	if err == nil {
		err = together(refused.err(), p.scraper.Refused())
	}
	t.targets.read(p, at, taken, err)
	t.sourceState(p.url, err)
	t.take(p.url, p.scraper.Events())
	t.undescribed(p.id, p.scraper.Forgotten())
}

// together makes one line of two errors, either of which may be nil.
func together(a, b error) error {
	if a != nil && b != nil {
		return fmt.Errorf("%w; %w", a, b)
	}
	return cmp.Or(a, b)
}

// reads reports whether the component is this node's own, which the engine reads
// itself: nobody else can tell it anything about that.
func (t *telemetry) reads(c forestall.Component) bool {
	return c == forestall.Node(t.node) && t.host != nil || c.Kind == forestall.KindGPU && c.NodeName() == t.node && t.gpus != nil
}

// claim makes source the component's one source, unless it has another.
func (t *telemetry) claim(c forestall.Component, source string, alive func() bool) error {
	switch {
	case t.host != nil && c == forestall.Node(t.node):
		return fmt.Errorf("%s is this host, which features.host = true reads already", c)
	case t.gpus != nil && c.Kind == forestall.KindGPU && c.NodeName() == t.node:
		return fmt.Errorf("%s is this node's, which the engine reads itself", c)
	}
	return t.owners.claim(c, source, alive)
}

// forget drops what a source described that has been away for too long.
func (t *telemetry) forget(id, name string) {
	components := t.owners.release(id)
	t.drop(components)
	t.mu.Lock()
	delete(t.failing, name)
	t.mu.Unlock()
	t.metrics.scrapeErrors.DeleteLabelValues(name)
	t.log.Info("telemetry of a source that is gone dropped", "source", name, "components", len(components))
}

// newest returns the newest value of a metric in a component's windows.
func (t *telemetry) newest(c forestall.Component, metric string) float64 {
	v := math.NaN()
	t.lanes.with(c, func(w *features.Window) { v = w.Newest(metric) })
	return v
}

// notMeasured is the latency of samples that were sent, not fetched.
const notMeasured = time.Duration(-1)

func (t *telemetry) push(samples []forestall.Sample, latency time.Duration) {
	if len(samples) == 0 {
		return
	}
	samples = t.past.append(samples, samples[0].Component, samples[0].Time)
	t.filling.gate.RLock()
	defer t.filling.gate.RUnlock()
	err := t.lanes.push(samples, latency)
	t.sourceState(windowsOf(samples[0].Component), err)
	if err != nil {
		return
	}
	t.recovering.read(samples[0].Component, t.now(), samples)
	t.filling.keep(samples, latency)
	t.unusual.scrape(samples[0].Component, samples[0].Time, samples)
	t.recorder.scrape(samples[0].Component, samples[0].Time, samples, latency)
	t.metrics.samples.Add(float64(len(samples)))
	if latency >= 0 {
		t.metrics.scrapeSeconds.WithLabelValues(samples[0].Component.Kind.String()).Observe(latency.Seconds())
	}
}

// take reports the events that prove a failure.
func (t *telemetry) take(source string, events []forestall.Event) {
	for _, e := range events {
		if e.Kind == forestall.EventScrapeError || !t.twins.fresh(e, source) {
			continue // sourceState tells the former once
		}
		t.past.event(e)
		t.log.Info("event", "component", e.Component, "kind", e.Kind, "code", e.Code, "detail", e.Detail)
		if f, ok := detect.EventFailure(e); ok {
			t.recovering.fail(f.Component, t.now(), f)
			t.failed(f)
		}
	}
}

// sourceState logs when a source begins and ceases to fail, once each.
func (t *telemetry) sourceState(source string, err error) {
	t.mu.Lock()
	was := t.failing[source]
	t.failing[source] = err != nil
	t.mu.Unlock()
	switch {
	case err != nil:
		t.metrics.scrapeErrors.WithLabelValues(source).Inc()
		if !was {
			t.log.Warn("cannot read telemetry, or not all of it; components that it describes no more will show as unknown", "source", source, "error", err)
		}
	case was:
		t.log.Info("telemetry can be read again", "source", source)
	}
}

func (t *telemetry) firstGone(c forestall.Component) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.gone[c]
	t.gone[c] = true
	return !was
}

func (t *telemetry) clearGone(c forestall.Component) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.gone, c)
}

func (t *telemetry) scoreAll() {
	now := t.now()
	t.setOdds()
	risks, shadows := t.lanes.score(now)
	risks = slices.DeleteFunc(risks, func(r forestall.Risk) bool {
		// A workload's risk is that of what it runs on; no model judges the
		// telemetry of agents and services yet.
		return r.Component.NodeName() == ""
	})
	for _, r := range t.collapsed(risks) {
		t.take("risks", []forestall.Event{{Component: r.Component, Kind: forestall.EventTelemetryCollapse, Time: now, Detail: strings.TrimPrefix(r.Note, predict.Collapse)}})
	}
	t.recovering.judge(risks, t.lanes.judged)
	incidents, current := t.incidents()
	t.judged.take(now, risks, shadows, incidents, current)
	t.setThresholds()
	t.recorder.scores(risks, t.lanes)
	t.apply(risks, now)
	t.mu.Lock()
	t.risks = risks
	t.scorings++
	t.mu.Unlock()
}

// setOdds has the next scores corrected as the cluster has agreed.
func (t *telemetry) setOdds() {
	if t.odds == nil {
		return
	}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		if champion, _ := t.lanes.of(kind); champion != nil {
			odds := t.odds(kind, champion.digest)
			champion.scorer.SetOdds(kind, odds)
			t.judged.correct(kind, odds)
		}
	}
}

// setThresholds has the next scores graded by the thresholds that hold then.
func (t *telemetry) setThresholds() {
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		champion, _ := t.lanes.of(kind)
		if champion == nil {
			continue
		}
		if suspect, failing, ok := champion.scorer.Thresholds(kind); ok {
			suspect, failing = t.judged.threshold(kind, champion.digest, suspect, failing)
			champion.scorer.SetThresholds(kind, suspect, failing)
		}
	}
}

// scored returns the newest risks and how many times this engine has scored.
func (t *telemetry) scored() (uint64, []forestall.Risk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.scorings, t.risks
}
