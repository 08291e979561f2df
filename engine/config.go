package engine

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// Config is forestall.toml. Every key has the default that DefaultConfig
// gives; an unknown key, a value of the wrong type and a value that cannot
// work are errors. docs/configuration.md describes each key.
type Config struct {
	Engine         EngineConfig         `toml:"engine"`
	FaultTolerance FaultToleranceConfig `toml:"fault_tolerance"`
	Cluster        ClusterConfig        `toml:"cluster"`
	Migration      MigrationConfig      `toml:"migration"`
	CircuitBreaker BreakerConfig        `toml:"circuit_breaker"`
	Policy         PolicyConfig         `toml:"policy"`
	Features       FeaturesConfig       `toml:"features"`
	GPU            GPUConfig            `toml:"gpu"`
	Model          ModelConfig          `toml:"model"`
	API            APIConfig            `toml:"api"`
	Workloads      []WorkloadConfig     `toml:"workload"`
}

// EngineConfig says who this engine is and where it keeps its files.
type EngineConfig struct {
	Name    string `toml:"name"`     // of this node; empty: the host name
	Zone    string `toml:"zone"`     // failure domain, for geo-distributed replicas
	DataDir string `toml:"data_dir"` // ledger, shims' run directories
}

// FaultToleranceConfig is the section that most users need.
type FaultToleranceConfig struct {
	CheckpointInterval    Duration `toml:"checkpoint_interval"`
	CheckpointRetention   Duration `toml:"checkpoint_retention"`
	CheckpointCompression string   `toml:"checkpoint_compression"`
	CheckpointStorage     string   `toml:"checkpoint_storage"`
	HeartbeatInterval     Duration `toml:"heartbeat_interval"`
	FailureThreshold      int      `toml:"failure_threshold"`
	DetectionWindow       Duration `toml:"detection_window"`
	RecoveryStrategy      string   `toml:"recovery_strategy"`
	RecoveryTimeout       Duration `toml:"recovery_timeout"`
	MaxRecoveryAttempts   int      `toml:"max_recovery_attempts"`
	ReplicationFactor     int      `toml:"replication_factor"`
	ConsistencyLevel      string   `toml:"consistency_level"`
	GeoDistributed        bool     `toml:"geo_distributed"`
	PredictionEnabled     bool     `toml:"prediction_enabled"`
	PredictionModel       string   `toml:"prediction_model"`
	PredictionInterval    Duration `toml:"prediction_interval"`
}

// ClusterConfig joins engines to a cluster. With no nodes the engine is alone.
type ClusterConfig struct {
	// Nodes lists the cluster as "NAME=HOST" or "NAME=HOST:PORT", the same on
	// every node, this one included; the first QuorumSize are the voters.
	// PORT (default 7071) is the peer port, PORT+1 Raft's, PORT+2 gossip's.
	Nodes                 []string `toml:"nodes"`
	Profile               string   `toml:"profile"`
	QuorumSize            int      `toml:"quorum_size"`
	LeaderElectionTimeout Duration `toml:"leader_election_timeout"`
	// AllowPlaintext permits addresses other than loopback although peers do
	// not authenticate each other yet.
	AllowPlaintext bool `toml:"allow_plaintext"`
}

// MigrationConfig bounds and directs preemptive moves.
type MigrationConfig struct {
	Strategy            string `toml:"strategy"`
	PreserveGPUAffinity bool   `toml:"preserve_gpu_affinity"`
	MaxConcurrent       int    `toml:"max_concurrent"`
	MaxPerHour          int    `toml:"max_per_hour"`
}

// BreakerConfig keeps moves away from a node on which they keep failing.
type BreakerConfig struct {
	FailureThreshold int      `toml:"failure_threshold"`
	ResetTimeout     Duration `toml:"reset_timeout"`
	HalfOpenRequests int      `toml:"half_open_requests"`
}

// PolicyConfig says what predictions may do on their own. Periodic checkpoints
// and the recovery of declared workloads always act.
type PolicyConfig struct {
	Checkpoint forestall.Mode `toml:"checkpoint"`
	Migrate    forestall.Mode `toml:"migrate"`
	Drain      forestall.Mode `toml:"drain"`
	SuspectAt  float64        `toml:"suspect_at"`
	FailingAt  float64        `toml:"failing_at"`
	HoldOut    float64        `toml:"hold_out"`
}

// FeaturesConfig says what is scraped and how often.
type FeaturesConfig struct {
	ScrapeInterval Duration       `toml:"scrape_interval"`
	ScrapeTimeout  Duration       `toml:"scrape_timeout"`
	Host           bool           `toml:"host"` // this host's own procfs
	Targets        []TargetConfig `toml:"target"`
}

// TargetConfig is one Prometheus exposition page.
type TargetConfig struct {
	URL    string `toml:"url"`
	Preset string `toml:"preset"` // dcgm | node
	Node   string `toml:"node"`   // whose components it describes; empty: this engine's
}

// GPUConfig chooses where GPU telemetry comes from.
type GPUConfig struct {
	Source  string `toml:"source"`   // auto | nvml | none | sim
	SimGPUs int    `toml:"sim_gpus"` // how many the simulator shows
	SimSeed uint64 `toml:"sim_seed"`
}

// ModelConfig names a model directory for each kind of component, or
// "builtin", or "none".
type ModelConfig struct {
	GPU  string `toml:"gpu"`
	Node string `toml:"node"`
}

// APIConfig says where the HTTP API listens.
type APIConfig struct {
	Address string `toml:"address"`
}

// WorkloadConfig declares a workload to keep alive.
type WorkloadConfig struct {
	Name               string     `toml:"name"`
	Kind               string     `toml:"kind"` // agent | service
	Command            []string   `toml:"command"`
	Env                []string   `toml:"env"`
	StateDir           string     `toml:"state_dir"`
	GPUs               int        `toml:"gpus"`
	Nodes              []string   `toml:"nodes"`
	CheckpointInterval Duration   `toml:"checkpoint_interval"`
	StopTimeout        Duration   `toml:"stop_timeout"`
	LossCost           float64    `toml:"loss_cost"`
	Hook               HookConfig `toml:"hook"`
}

// HookConfig says how a workload writes its state down.
type HookConfig struct {
	Kind    string   `toml:"kind"` // none | signal | http | command
	Signal  string   `toml:"signal"`
	AckFile string   `toml:"ack_file"`
	URL     string   `toml:"url"`
	Command []string `toml:"command"`
	Timeout Duration `toml:"timeout"`
}

// DefaultConfig returns the configuration of an engine that is given none.
func DefaultConfig() Config {
	return Config{
		Engine: EngineConfig{DataDir: "/var/lib/forestall"},
		FaultTolerance: FaultToleranceConfig{
			CheckpointInterval:    Duration{5 * time.Minute},
			CheckpointRetention:   Duration{7 * 24 * time.Hour},
			CheckpointCompression: "zstd",
			CheckpointStorage:     "/var/lib/forestall/checkpoints",
			HeartbeatInterval:     Duration{5 * time.Second},
			FailureThreshold:      3,
			DetectionWindow:       Duration{30 * time.Second},
			RecoveryStrategy:      "fastest_node",
			RecoveryTimeout:       Duration{5 * time.Minute},
			MaxRecoveryAttempts:   3,
			ReplicationFactor:     3,
			ConsistencyLevel:      "quorum",
			GeoDistributed:        true,
			PredictionEnabled:     true,
			PredictionModel:       "gradient_boost",
			PredictionInterval:    Duration{time.Minute},
		},
		Cluster:        ClusterConfig{Profile: "standard", QuorumSize: 3, LeaderElectionTimeout: Duration{10 * time.Second}},
		Migration:      MigrationConfig{Strategy: "load_balanced", PreserveGPUAffinity: true, MaxConcurrent: 4, MaxPerHour: 60},
		CircuitBreaker: BreakerConfig{FailureThreshold: 5, ResetTimeout: Duration{time.Minute}, HalfOpenRequests: 3},
		Policy: PolicyConfig{
			Checkpoint: forestall.Observe, Migrate: forestall.Observe, Drain: forestall.Observe,
			SuspectAt: 0.2, FailingAt: 0.6,
		},
		Features: FeaturesConfig{ScrapeInterval: Duration{5 * time.Second}, ScrapeTimeout: Duration{3 * time.Second}, Host: true},
		GPU:      GPUConfig{Source: "auto", SimGPUs: 8, SimSeed: 1},
		Model:    ModelConfig{GPU: "builtin", Node: "builtin"},
		API:      APIConfig{Address: "127.0.0.1:7070"},
	}
}

// Strategies that choose a target node.
var strategies = []string{"fastest_node", "load_balanced", "lowest_risk"}

// Validate reports every value that cannot work, by its key, with the accepted
// values. A zero return means that New can use the configuration; it touches
// no file.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	oneOf := func(key, value string, accepted ...string) {
		if !slices.Contains(accepted, value) {
			bad(key, "%q is not one of %s", value, strings.Join(accepted, ", "))
		}
	}
	positive := func(key string, d Duration) {
		if d.Duration <= 0 {
			bad(key, "must be longer than 0")
		}
	}
	between := func(key string, v, lo, hi int) {
		if v < lo || v > hi {
			bad(key, "%d is not between %d and %d", v, lo, hi)
		}
	}

	if c.Engine.Name != "" {
		if err := forestall.CheckName(c.Engine.Name); err != nil {
			bad("engine.name", "%v", err)
		}
	}
	if !filepath.IsAbs(c.Engine.DataDir) {
		bad("engine.data_dir", "%q is not an absolute path", c.Engine.DataDir)
	}

	ft := c.FaultTolerance
	positive("fault_tolerance.checkpoint_interval", ft.CheckpointInterval)
	positive("fault_tolerance.checkpoint_retention", ft.CheckpointRetention)
	oneOf("fault_tolerance.checkpoint_compression", ft.CheckpointCompression, "zstd", "none")
	if !filepath.IsAbs(ft.CheckpointStorage) {
		bad("fault_tolerance.checkpoint_storage", "%q is not an absolute path", ft.CheckpointStorage)
	}
	positive("fault_tolerance.heartbeat_interval", ft.HeartbeatInterval)
	between("fault_tolerance.failure_threshold", ft.FailureThreshold, 1, 1000)
	if need := ft.HeartbeatInterval.Duration * time.Duration(ft.FailureThreshold); ft.DetectionWindow.Duration < need {
		bad("fault_tolerance.detection_window", "%s is shorter than heartbeat_interval x failure_threshold (%s): no failure could be counted",
			ft.DetectionWindow, Duration{need})
	}
	oneOf("fault_tolerance.recovery_strategy", ft.RecoveryStrategy, strategies...)
	positive("fault_tolerance.recovery_timeout", ft.RecoveryTimeout)
	between("fault_tolerance.max_recovery_attempts", ft.MaxRecoveryAttempts, 1, 100)
	between("fault_tolerance.replication_factor", ft.ReplicationFactor, 1, 9)
	oneOf("fault_tolerance.consistency_level", ft.ConsistencyLevel, "one", "quorum", "all")
	oneOf("fault_tolerance.prediction_model", ft.PredictionModel, "gradient_boost")
	positive("fault_tolerance.prediction_interval", ft.PredictionInterval)

	oneOf("cluster.profile", c.Cluster.Profile, "standard", "fast")
	if !slices.Contains([]int{1, 3, 5, 7}, c.Cluster.QuorumSize) {
		bad("cluster.quorum_size", "%d voters are not one of 1, 3, 5, 7: an even number tolerates no more failures", c.Cluster.QuorumSize)
	}
	positive("cluster.leader_election_timeout", c.Cluster.LeaderElectionTimeout)
	if _, err := c.members(); err != nil {
		errs = append(errs, err)
	}

	oneOf("migration.strategy", c.Migration.Strategy, strategies...)
	between("migration.max_concurrent", c.Migration.MaxConcurrent, 1, 1000)
	between("migration.max_per_hour", c.Migration.MaxPerHour, 1, 100000)
	between("circuit_breaker.failure_threshold", c.CircuitBreaker.FailureThreshold, 1, 1000)
	positive("circuit_breaker.reset_timeout", c.CircuitBreaker.ResetTimeout)
	between("circuit_breaker.half_open_requests", c.CircuitBreaker.HalfOpenRequests, 1, 1000)

	p := c.Policy
	for key, mode := range map[string]forestall.Mode{"checkpoint": p.Checkpoint, "migrate": p.Migrate, "drain": p.Drain} {
		oneOf("policy."+key, string(mode), string(forestall.Observe), string(forestall.Act))
	}
	if !(0 < p.SuspectAt && p.SuspectAt < p.FailingAt && p.FailingAt <= 1) {
		bad("policy.suspect_at, policy.failing_at", "%g and %g must be probabilities, the first smaller", p.SuspectAt, p.FailingAt)
	}
	if !(0 <= p.HoldOut && p.HoldOut < 1) || math.IsNaN(p.HoldOut) {
		bad("policy.hold_out", "%g is not a share of alarms between 0 and 1", p.HoldOut)
	}

	positive("features.scrape_interval", c.Features.ScrapeInterval)
	positive("features.scrape_timeout", c.Features.ScrapeTimeout)
	for i, t := range c.Features.Targets {
		key := fmt.Sprintf("features.target[%d]", i)
		if u, err := url.Parse(t.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad(key+".url", "%q is not an http or https URL", t.URL)
		}
		oneOf(key+".preset", t.Preset, "dcgm", "node")
		if t.Node != "" {
			if err := forestall.CheckName(t.Node); err != nil {
				bad(key+".node", "%v", err)
			}
		}
	}
	oneOf("gpu.source", c.GPU.Source, "auto", "nvml", "none", "sim")
	between("gpu.sim_gpus", c.GPU.SimGPUs, 0, 64)
	if err := checkLoopback(c.API.Address); err != nil {
		bad("api.address", "%v", err)
	}

	seen := map[string]bool{}
	for _, wc := range c.Workloads {
		w := wc.workload()
		if err := w.Validate(); err != nil {
			errs = append(errs, err)
		}
		if seen[w.Name] {
			bad("workload", "the name %q is given twice", w.Name)
		}
		seen[w.Name] = true
	}
	return errors.Join(errs...)
}

// workload turns the configuration's words into the root package's.
func (w WorkloadConfig) workload() forestall.Workload {
	kind, _ := forestall.ParseKind(w.Kind) // Validate names a bad one
	hook := forestall.Hook{
		Kind: forestall.HookKind(w.Hook.Kind), Signal: w.Hook.Signal, AckFile: w.Hook.AckFile,
		URL: w.Hook.URL, Command: w.Hook.Command, Timeout: w.Hook.Timeout.Duration,
	}
	if hook.Kind == "" {
		hook.Kind = forestall.HookNone
	}
	if hook.Timeout == 0 {
		hook.Timeout = 30 * time.Second
	}
	stop := w.StopTimeout.Duration
	if stop == 0 {
		stop = 10 * time.Second
	}
	return forestall.Workload{
		Name: w.Name, Kind: kind, Command: w.Command, Env: w.Env, StateDir: w.StateDir, Hook: hook,
		Needs:    forestall.Needs{GPUs: w.GPUs, Nodes: w.Nodes},
		Interval: w.CheckpointInterval.Duration, Stop: stop, LossCost: w.LossCost,
	}
}

// member is one line of cluster.nodes.
type member struct {
	name  string
	host  string
	port  int
	voter bool
}

const defaultPeerPort = 7071

func (m member) peerAddress() string   { return net.JoinHostPort(m.host, fmt.Sprint(m.port)) }
func (m member) raftAddress() string   { return net.JoinHostPort(m.host, fmt.Sprint(m.port+1)) }
func (m member) gossipAddress() string { return net.JoinHostPort(m.host, fmt.Sprint(m.port+2)) }

// members parses cluster.nodes; nil when the engine is alone.
func (c Config) members() ([]member, error) {
	var members []member
	for i, s := range c.Cluster.Nodes {
		name, address, ok := strings.Cut(s, "=")
		m := member{name: name, host: address, port: defaultPeerPort, voter: i < c.Cluster.QuorumSize}
		if host, port, err := net.SplitHostPort(address); err == nil {
			m.host = host
			if _, err := fmt.Sscan(port, &m.port); err != nil || m.port < 1 || m.port > 65533 {
				return nil, fmt.Errorf("cluster.nodes: %q: port %q is not between 1 and 65533", s, port)
			}
		}
		if !ok || m.host == "" {
			return nil, fmt.Errorf(`cluster.nodes: %q is not "NAME=HOST" or "NAME=HOST:PORT"`, s)
		}
		if err := forestall.CheckName(name); err != nil {
			return nil, fmt.Errorf("cluster.nodes: %w", err)
		}
		if !c.Cluster.AllowPlaintext && !isLoopback(m.host) {
			return nil, fmt.Errorf("cluster.nodes: %q is not a loopback address, and peers do not authenticate each other yet: anyone who reaches the port could start processes. On a network that you trust set cluster.allow_plaintext = true", s)
		}
		for _, other := range members {
			if other.name == m.name || other.host == m.host && other.port == m.port {
				return nil, fmt.Errorf("cluster.nodes: %q repeats %q", s, other.name)
			}
		}
		members = append(members, m)
	}
	if n := len(members); n > 0 && n < c.Cluster.QuorumSize {
		return nil, fmt.Errorf("cluster.nodes: %d nodes cannot hold cluster.quorum_size = %d voters", n, c.Cluster.QuorumSize)
	}
	return members, nil
}

// name returns the node's name: engine.name or the host's.
func (c Config) name() (string, error) {
	if c.Engine.Name != "" {
		return c.Engine.Name, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("engine.name is not set and the host has none: %w", err)
	}
	host, _, _ = strings.Cut(host, ".")
	if err := forestall.CheckName(host); err != nil {
		return "", fmt.Errorf("the host name cannot name a node, set engine.name: %w", err)
	}
	return host, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", address)
	}
	if !isLoopback(host) {
		return fmt.Errorf("%q is not a loopback address; the API has no authentication yet and listens on 127.0.0.1 or [::1] only", address)
	}
	return nil
}

// SetData keeps everything the engine writes under dir.
func (c *Config) SetData(dir string) {
	c.Engine.DataDir = dir
	c.FaultTolerance.CheckpointStorage = filepath.Join(dir, "checkpoints")
}
