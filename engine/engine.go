// Package engine wires the packages to one daemon: it reads forestall.toml,
// adapts the packages' interfaces to each other and runs them as one value.
//
// It decides nothing itself: what fails is said by detect, what is at risk by
// predict, what to do by migrate's policy, and what was agreed by its ledger.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/s3"
	"github.com/stratoswarm/forestall/consensus"
	"github.com/stratoswarm/forestall/detect"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/internal/certs"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/workload"
)

// Options is what an engine is given beside its configuration.
type Options struct {
	Version string
	Shim    []string // argv prefix that runs a shim: {"/usr/bin/forestall", "shim"}
	NVML    []string // argv of the child that calls NVML: {"/usr/bin/forestall", "nvml-child"}; nil: none
	Logger  *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Engine is the daemon of one node. Make it with New, run it once with Run.
type Engine struct {
	cfg      Config
	name     string
	version  string
	address  string // host:port of the peer listener, "" alone
	nodes    []member
	timing   timing
	started  time.Time
	now      func() time.Time
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *metrics

	telemetry   *telemetry
	configured  map[forestall.Kind]*lane // the models that forestall.toml names
	scoring     laneConfig
	extra       func(forestall.Kind) []features.Metric // of mapping tables
	models      *modelFiles
	sim         *gpu.Sim // nil unless GPUs are simulated
	gpuCount    int
	gpuModel    string // of its GPUs; empty: there are none, or they do not tell
	gpuDriver   string
	gpuNote     string // why this engine reads no GPUs itself; "" where it does, or is not to
	heartbeats  *detect.Heartbeats
	detected    *detect.Metrics
	members     *detect.Members // nil alone
	witnesses   *detect.Witnesses
	supervisor  *workload.Supervisor
	chunks      *checkpoint.Dir
	replicas    *checkpoint.Replicator
	manager     *checkpoint.Manager
	offsite     *s3.Copier // nil: no off-site copies
	ledger      *migrate.Ledger
	leases      *migrate.Leases
	policy      migrate.Policy
	policyState migrate.PolicyState // the leader loop's
	executor    *migrate.Executor
	node        *consensus.Node
	api         *api.Server
	peers       *http.Server
	listener    net.Listener // of peers; nil alone
	client      *http.Client
	secure      *certs.Peers // by which peers know each other; nil: plaintext, or alone

	apiCertificate *certs.Source // that other hosts are shown; nil: none

	leaderTerm  atomic.Uint64 // in which it leads and its ledger has caught up; 0: it does not lead
	starts      keyed         // one start of a workload at a time
	renewing    sync.Map      // runKeys whose renewal is under way
	renewals    sync.WaitGroup
	noLease     atomic.Bool
	current     atomic.Bool // its replica of the ledger has caught up with the leader's since its start
	outbox      *outbox
	contact     contact // with the leader
	holds       *holds
	reports     *reports             // the leader's
	leftSince   map[string]time.Time // the leader loop's: nodes that left in good order
	leadsSince  time.Time            // the leader loop's
	checkpoints sync.WaitGroup       // preemptive ones under way, the leader's
	shim        []string
	nvml        []string
	mu          sync.Mutex
	cluster     told

	closers []io.Closer // what New opened, in the order to close it
}

// New opens everything an engine needs and starts nothing. An error names what
// could not be had; nothing is left open then.
func New(cfg Config, o Options) (_ *Engine, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	name, err := cfg.name()
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		cfg: cfg, name: name, version: o.Version, timing: profileTiming(cfg.Cluster.Profile),
		started: o.Now(), now: o.Now, log: o.Logger.With("node", name),
		registry: prometheus.NewRegistry(), ledger: migrate.NewLedger(), shim: o.Shim, nvml: o.NVML,
		configured: map[forestall.Kind]*lane{}, outbox: newOutbox(), holds: newHolds(), reports: newReports(),
	}
	e.client = &http.Client{Transport: e.peerTransport()}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	e.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	e.metrics = newMetrics(e.registry)
	e.registry.MustRegister(standing{e})
	e.detected = detect.NewMetrics(e.registry)
	for _, open := range []func() error{
		e.openCluster, e.openData, e.openCheckpoints, e.openOffsite, e.openWorkloads, e.openModels,
		e.openTelemetry, e.openRecording, e.openConsensus, e.openMigrate, e.openAPI,
	} {
		if err := open(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// openCluster finds this node in cluster.nodes and takes its peer port.
func (e *Engine) openCluster() (err error) {
	if e.nodes, err = e.cfg.members(); err != nil {
		return err
	}
	if e.alone() {
		return nil
	}
	self, ok := e.member(e.name)
	if !ok {
		return fmt.Errorf("this node is called %q, which cluster.nodes does not list; set engine.name or add it", e.name)
	}
	e.address = self.peerAddress()
	if err := e.openSecure(); err != nil {
		return err
	}
	l, err := listen(e.address, "cluster.nodes")
	if err != nil {
		return err
	}
	if e.listener = l; e.secure != nil {
		e.listener = e.secure.Listen(l, certs.HTTP)
	}
	e.closers = append(e.closers, e.listener)
	return nil
}

// listen takes a port; an occupied one is an error that names the key to change.
func listen(address, key string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: another program, perhaps another engine, has this port; end it or choose another in %s: %w", address, key, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s (%s): %w", address, key, err)
	}
	return l, nil
}

// openData makes the data directory.
func (e *Engine) openData() error {
	if err := os.MkdirAll(e.cfg.Engine.DataDir, 0o700); err != nil {
		return fmt.Errorf("engine.data_dir: %w; choose a directory that this user can write, with --data or in forestall.toml", err)
	}
	return nil
}

// openWorkloads opens what watches workloads.
func (e *Engine) openWorkloads() (err error) {
	ft := e.cfg.FaultTolerance
	e.heartbeats = detect.NewHeartbeats(detect.HeartbeatConfig{
		Interval: ft.HeartbeatInterval.Duration, Threshold: ft.FailureThreshold, Window: ft.DetectionWindow.Duration, Metrics: e.detected,
	})
	e.supervisor, err = workload.NewSupervisor(workload.Config{
		Dir: filepath.Join(e.cfg.Engine.DataDir, "run"), Node: e.name, Shim: e.shim, Logger: e.log,
	})
	return err
}

// URL returns the base URL of the API.
func (e *Engine) URL() string { return e.api.URL() }

// alone reports whether this engine is its own cluster.
func (e *Engine) alone() bool { return len(e.cfg.Cluster.Nodes) == 0 }

// member returns a node of cluster.nodes.
func (e *Engine) member(name string) (member, bool) {
	for _, m := range e.nodes {
		if m.name == name {
			return m, true
		}
	}
	return member{}, false
}

// peer returns the address of another engine's peer listener.
func (e *Engine) peer(name string) (address string, ok bool) {
	if m, ok := e.member(name); ok {
		return m.peerAddress(), true
	}
	e.ledger.View(func(s *migrate.State) {
		if n := s.Nodes[name]; n != nil {
			address, ok = n.Address, n.Address != ""
		}
	})
	return address, ok
}

// spec returns what the ledger says of a workload.
func (e *Engine) spec(name string) (w forestall.Workload, ok bool) {
	e.ledger.View(func(s *migrate.State) {
		if state := s.Workloads[name]; state != nil {
			w, ok = state.Spec, true
		}
	})
	return w, ok
}

func (e *Engine) close() {
	for _, c := range e.closers {
		if c != nil {
			c.Close()
		}
	}
	if e.node != nil {
		_ = e.node.Close() // it was to end at once
	}
}

// Run runs the engine until ctx ends or a part of it fails. Workloads go on
// running afterwards.
//
// Actors are stopped in the order in which they were added, each once the one
// before has ended: first what begins new work, then what finishes work under
// way and needs the ledger and the peers for it, then those, and the API last,
// so that an operator sees as much of the end as possible.
func (e *Engine) Run(ctx context.Context) error {
	defer e.close()
	adopt, cancel := context.WithTimeout(ctx, time.Minute)
	err := e.supervisor.Adopt(adopt)
	cancel()
	if err != nil {
		return fmt.Errorf("take over running workloads: %w", err)
	}
	if err := e.stopUnleased(ctx); err != nil {
		return err
	}
	for _, s := range e.supervisor.List() {
		e.watch(s.Workload, s.Epoch)
	}

	var group run.Group
	stop := make(chan struct{})
	group.Add(func() error {
		select {
		case <-ctx.Done():
		case <-stop:
		}
		return nil
	}, func(error) { close(stop) })
	for _, actor := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"leader", e.lead},
		{"checkpoints", e.manager.Run},
		{"off-site copies", e.runOffsite},
		{"pins", e.mirrorPins},
		{"join", e.join},
		{"telemetry", e.telemetry.Run},
		{"predictions", e.telemetry.judged.Run},
		{"last XIDs", e.telemetry.lastXIDs.Run},
		{"models", e.runModels},
		{"fleet", e.watchFleet},
		{"recording", e.runRecording},
		{"heartbeats", e.watchHeartbeats},
		{"reports", e.reportLoop},
		{"exits", e.watchExits},
		{"leases", e.renewLeases},
		{"supervisor", e.supervisor.Run},
		{"replication", e.replicas.Run},
		{"members", e.runMembers},
		{"consensus", e.node.Run},
		{"peers", e.servePeers},
		{"certificates", e.runSecure},
		{"api", e.api.Run},
	} {
		// An actor's context is not ctx's child: it ends in its turn.
		actorCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		group.Add(func() error {
			defer close(ended)
			if err := actor.run(actorCtx); err != nil && actorCtx.Err() == nil {
				return fmt.Errorf("%s: %w", actor.name, err)
			}
			return nil
		}, func(error) {
			cancel()
			<-ended
		})
	}
	e.log.Info("engine runs", "version", e.version, "api", e.api.URL(), "remote_api", e.api.RemoteURL(), "peers", e.address, "profile", e.cfg.Cluster.Profile,
		"data", e.cfg.Engine.DataDir, "checkpoints", e.cfg.FaultTolerance.CheckpointStorage)
	if err := group.Run(); err != nil {
		e.log.Error("engine ends", "error", err)
		return err
	}
	e.log.Info("engine ended; workloads go on", "workloads", len(e.supervisor.List()))
	return nil
}

// servePeers answers the other engines.
func (e *Engine) servePeers(ctx context.Context) error {
	if e.alone() {
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/peer/checkpoints/", http.StripPrefix("/peer/checkpoints", checkpoint.Handler(e.chunks)))
	mux.HandleFunc("GET /peer/models/{digest}/{file}", e.models.serve)
	mux.HandleFunc("POST /peer/telemetry", serve(e.ownRecordings))
	mux.HandleFunc("GET /peer/telemetry/{file}", e.serveRecording)
	mux.HandleFunc("POST /peer/report", serve(e.takeReport))
	mux.HandleFunc("POST /peer/acquainted", serve(e.acquainted))
	mux.HandleFunc("POST /peer/lease", serve(e.grantLeases))
	mux.HandleFunc("POST /peer/propose", serve(e.proposeHere))
	mux.HandleFunc("POST /peer/order/checkpoint", serve(e.checkpointNow))
	mux.HandleFunc("POST /peer/order/detail", serve(e.detail))
	mux.HandleFunc("POST /peer/order/pin", serve(e.pin))
	mux.HandleFunc("POST /peer/order/work", serve(e.storeWork))
	mux.HandleFunc("POST /peer/order/save", serve(e.save))
	mux.HandleFunc("POST /peer/order/resume", serve(e.resume))
	mux.HandleFunc("POST /peer/order/stop", serve(e.stop))
	mux.HandleFunc("POST /peer/order/start", serve(e.start))
	e.peers = &http.Server{Handler: guardPeers(e.address, mux), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(e.log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- e.peers.Serve(e.listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if e.peers.Shutdown(limit) != nil {
		_ = e.peers.Close() // cuts what did not end in time
	}
	<-served //nolint:errcheck // http.ErrServerClosed
	return nil
}
