package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/builtin"
)

// openTelemetry opens the sources, loads the models and refuses those that do
// not fit the telemetry.
func (e *Engine) openTelemetry() (err error) {
	t := &telemetry{
		node:        e.name,
		refillLimit: e.cfg.Telemetry.RefillSamples,
		forgotten:   e.cfg.Features.forgotten(),
		scrape:      e.cfg.Features.ScrapeInterval.Duration,
		timeout:     e.cfg.Features.timeout(),
		now:         e.now, log: e.log, metrics: e.metrics,
		lanes:  newLanes(),
		owners: owners{of: map[forestall.Component]owner{}},
		gone:   map[forestall.Component]bool{}, failing: map[string]bool{},
		failed:    func(f forestall.Failure) { e.outbox.add(failureReport{Failure: f}) },
		incidents: e.knownIncidents,
		odds: func(kind forestall.Kind, sha256 string) float64 {
			roles, _ := e.modelRoles(kind)
			return roles.OddsOf(sha256)
		},
		past: &past{read: e.ledgerPast, now: e.now},
	}
	e.telemetry = t
	if err := e.openGPUs(t); err != nil {
		return err
	}
	if t.lastXIDs, err = openLastXIDs(e.cfg.Engine.DataDir, e.now, e.log); err != nil {
		return fmt.Errorf("engine.data_dir: %w", err)
	}
	if e.cfg.Features.Host {
		if t.host, err = features.NewHost(e.name, features.HostOptions{Newest: t.newest, LastXIDs: &t.lastXIDs.LastXIDs}); err != nil {
			return fmt.Errorf("read this host's telemetry: %w; set features.host = false to do without", err)
		}
		e.closers = append(e.closers, t.host)
		if err := t.host.KernelLog(); err != nil {
			e.log.Info("the kernel's log is not read: it tells of XIDs, machine checks, failing disks and links", "reason", err)
		}
	}
	mappings, err := features.NewMappings(e.cfg.Features.Map)
	if err != nil {
		return fmt.Errorf("features.map: %w", err)
	}
	if err := e.checkOwnTargets(t, mappings); err != nil {
		return err
	}
	if t.targets, err = openTargets(e.cfg.Features, mappings, e.name, t.newest, &t.lastXIDs.LastXIDs, e.log); err != nil {
		return err
	}
	t.targets.gone = func(p *page) { t.forget(p.id, p.url) }
	if t.remote, err = openRemoteWrite(e.cfg.Features, mappings, t.newest, &t.lastXIDs.LastXIDs, e.now, e.log); err != nil {
		return fmt.Errorf("features.remote_write: %w", err)
	}
	if t.remote != nil {
		e.closers = append(e.closers, t.remote.listener)
	}
	e.extra = mappings.Extra
	e.scoring = e.scoringConfig(t)
	t.recovering = &recoveries{probation: e.cfg.Policy.Probation.Duration, stale: e.scoring.Stale, of: map[forestall.Component]*recovery{}}
	for kind, where := range map[forestall.Kind]string{forestall.KindGPU: e.cfg.Model.GPU, forestall.KindNode: e.cfg.Model.Node, forestall.KindAgent: "none", forestall.KindService: "none"} {
		m, err := loadModel(kind, where)
		if err != nil {
			return fmt.Errorf("model.%s = %q: %w", kind, where, err)
		}
		l, err := newLane(kind, m, e.scoring, mappings.Extra(kind))
		if err != nil {
			return fmt.Errorf("model.%s = %q: %w", kind, where, err)
		}
		e.configured[kind] = l
		t.lanes.set(l, nil)
	}
	if err := e.openUnusual(t); err != nil {
		return fmt.Errorf("anomaly: %w", err)
	}
	if t.judged, err = e.openJudgement(); err != nil {
		return err
	}
	for _, kind := range laneKinds {
		champion, _ := t.lanes.of(kind)
		t.judged.work(champion, nil, nil)
	}
	t.setThresholds()
	if e.cfg.FaultTolerance.PredictionEnabled {
		t.score = e.cfg.FaultTolerance.PredictionInterval.Duration
	}
	e.registry.MustRegister(unused{t.lanes})
	if t.remote != nil {
		e.registry.MustRegister(t.remote)
	}
	e.registry.MustRegister(t.lanes, t.judged.accuracy, modelStanding{e}, fleetStanding{e}, sourceUp{t})
	return nil
}

// ledgerPast returns what the ledger knows of failures and nodes.
func (e *Engine) ledgerPast() ledgerPast {
	known := ledgerPast{places: map[string]features.Place{}}
	first := func(t time.Time) {
		if known.since.IsZero() || t.Before(known.since) {
			known.since = t
		}
	}
	e.ledger.View(func(s *migrate.State) {
		known.incidents = s.AllIncidents()
		for name, n := range s.Nodes {
			known.places[name] = features.Place{Zone: n.Zone, Model: n.GPUModel, Driver: n.GPUDriver, GPUs: n.GPUs}
			first(n.Since)
		}
	})
	for _, in := range known.incidents {
		first(in.Start)
	}
	return known
}

// checkOwnTargets refuses pages that describe what this engine reads itself.
func (e *Engine) checkOwnTargets(t *telemetry, mappings *features.Mappings) (err error) {
	e.cfg.ownTargets(mappings, e.name, t.host != nil, t.gpus != nil, func(key, format string, args ...any) {
		err = cmp.Or(err, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	})
	return err
}

// ownTargets reports pages that describe what the engine of a node reads itself.
func (c Config) ownTargets(mappings *features.Mappings, node string, host, gpus bool, bad func(key, format string, args ...any)) {
	for i, target := range c.Features.Targets {
		mapping, err := mappings.Get(target.Preset)
		if err != nil || target.nodeOf(node) != node {
			continue
		}
		key := fmt.Sprintf("features.target[%d]", i)
		switch {
		case mapping.Kind() == forestall.KindNode && host:
			bad(key, "%s describes this host, which features.host = true reads already; a component has one source: set features.host = false, or give the target the node that it describes", target.URL)
		case mapping.Kind() == forestall.KindGPU && gpus:
			bad(key, "%s describes this node's GPUs, which gpu.source = %q reads already; a component has one source: set gpu.source = \"none\", or give the target the node that it describes", target.URL, c.GPU.Source)
		}
	}
}

// loadModel reads a model directory, the built-in model, or none.
func loadModel(kind forestall.Kind, where string) (*model.Model, error) {
	switch where {
	case "none", "":
		return nil, nil
	case "builtin":
		return builtin.Builtin(kind)
	}
	return model.Load(where)
}

// openGPUs finds the node's GPUs, or notes why there are none.
func (e *Engine) openGPUs(t *telemetry) error {
	switch e.cfg.GPU.Source {
	case "none":
		return nil
	case "sim":
		if e.cfg.GPU.SimGPUs == 0 {
			e.gpuNote = "gpu.sim_gpus = 0"
			return nil
		}
		sim, err := gpu.NewSim(gpu.SimConfig{Node: e.name, GPUs: e.cfg.GPU.SimGPUs, Seed: e.cfg.GPU.SimSeed, Details: true, Now: e.now, Wait: gpu.Sleep})
		if err != nil {
			return err
		}
		e.sim, t.gpus, e.gpuCount = sim, sim, e.cfg.GPU.SimGPUs
		e.closers = append(e.closers, sim)
		devices, err := sim.Devices(context.Background())
		e.gpuModel = modelOfGPUs(devices)
		return err
	}
	source, err := gpu.OpenNVML(context.Background(), gpu.NVMLConfig{
		Command: e.nvml, Node: e.name, Deadline: t.timeout * 2 / 3, Now: e.now, Logger: e.log,
	})
	if err != nil {
		if e.cfg.GPU.Source == "nvml" {
			return fmt.Errorf(`gpu.source = "nvml": %w; gpu.source = "auto" runs without GPU telemetry where there is none`, err)
		}
		e.gpuNote = err.Error()
		e.log.Info("no GPU telemetry", "reason", err)
		return nil
	}
	e.closers = append(e.closers, source)
	devices, err := source.Devices(context.Background())
	if err != nil {
		return err
	}
	t.gpus, e.gpuCount = source, len(devices)
	e.gpuModel, e.gpuDriver = modelOfGPUs(devices), source.Driver()
	e.log.Info("GPUs are read through NVML", "driver", source.Driver(), "gpus", len(devices), "name", devices[0].Name)
	return nil
}

// modelOfGPUs returns the product's name of a node's GPUs; where there are several
// they are joined, for such a node is a kind of its own.
func modelOfGPUs(devices []gpu.Device) string {
	var names []string
	for _, d := range devices {
		if d.Name != "" && !slices.Contains(names, d.Name) {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " + ")
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// scoringConfig is how probabilities are graded.
func (e *Engine) scoringConfig(t *telemetry) laneConfig {
	c := predict.DefaultConfig()
	c.SuspectAt, c.FailingAt, c.Hysteresis = e.cfg.Policy.SuspectAt, e.cfg.Policy.FailingAt, e.cfg.Policy.Hysteresis
	c.Stale = max(3*t.scrape, t.scrape+t.timeout)
	c.Drift = predict.DriftConfig{Window: e.cfg.Drift.Window.Duration, PSI: e.cfg.Drift.PSI, Blind: e.cfg.Drift.Blind}
	return laneConfig{c, e.cfg.Features.windows()}
}
