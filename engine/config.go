package engine

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
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
	Checkpoint     CheckpointConfig     `toml:"checkpoint"`
	Cluster        ClusterConfig        `toml:"cluster"`
	TLS            PeerTLSConfig        `toml:"tls"`
	Migration      MigrationConfig      `toml:"migration"`
	CircuitBreaker BreakerConfig        `toml:"circuit_breaker"`
	Policy         PolicyConfig         `toml:"policy"`
	Features       FeaturesConfig       `toml:"features"`
	Telemetry      TelemetryConfig      `toml:"telemetry"`
	GPU            GPUConfig            `toml:"gpu"`
	Model          ModelConfig          `toml:"model"`
	Drift          DriftConfig          `toml:"drift"`
	Anomaly        AnomalyConfig        `toml:"anomaly"`
	API            APIConfig            `toml:"api"`
	Workloads      []WorkloadConfig     `toml:"workload,omitempty"`
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
	// AllowPlaintext permits addresses other than loopback without [tls], by which
	// peers would authenticate each other.
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
	// Alarms for each 1,000 component-days that failing and suspect may raise;
	// 0: the fixed thresholds hold.
	AlarmBudget   float64 `toml:"alarm_budget"`
	SuspectBudget float64 `toml:"suspect_budget"`
	Hysteresis    float64 `toml:"hysteresis"`
	HoldOut       float64 `toml:"hold_out"`
	// How long a GPU that failed gives good readings until its incident ends by
	// itself; 0: it does not.
	Probation Duration `toml:"probation"`
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
	// What a candidate that runs in the champion's shadow may come to on its own.
	Promote       forestall.Mode `toml:"promote"`
	TrialMin      Duration       `toml:"trial_min"`
	TrialFailures int            `toml:"trial_failures"`
	TrialMax      Duration       `toml:"trial_max"`
	// Whether the champion's odds are corrected by what came of its predictions, and
	// by how much at the most.
	Recalibrate    forestall.Mode `toml:"recalibrate"`
	RecalibrateMax float64        `toml:"recalibrate_max"`
}

// DriftConfig says when telemetry is no longer of the kind that a model was
// trained on.
type DriftConfig struct {
	Window Duration `toml:"window"`
	PSI    float64  `toml:"psi"`
	Blind  float64  `toml:"blind"`
}

// APIConfig says where the HTTP API listens.
type APIConfig struct {
	Address  string          `toml:"address"`  // of this machine's loopback
	Loopback string          `toml:"loopback"` // operate | read: what callers there may do without a token
	Auth     RightsConfig    `toml:"auth,omitempty"`
	Remote   RemoteAPIConfig `toml:"remote"`
}

const (
	loopbackOperate = "operate"
	loopbackRead    = "read"
)

// WorkloadConfig declares a workload to keep alive.
type WorkloadConfig struct {
	Name               string     `toml:"name"`
	Kind               string     `toml:"kind"` // agent | service
	Command            []string   `toml:"command"`
	Env                []string   `toml:"env"`
	StateDir           string     `toml:"state_dir"`
	GPUs               int        `toml:"gpus"`
	Memory             Bytes      `toml:"memory"`
	Nodes              []string   `toml:"nodes"`
	CheckpointInterval Duration   `toml:"checkpoint_interval"`
	StopTimeout        Duration   `toml:"stop_timeout"`
	LossCost           float64    `toml:"loss_cost"`
	Compression        string     `toml:"compression"` // none | fastest | default | better | best; empty: checkpoint.compression_level
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
		Checkpoint:     defaultCheckpoint(),
		Cluster:        ClusterConfig{Profile: "standard", QuorumSize: 3, LeaderElectionTimeout: Duration{10 * time.Second}},
		TLS:            defaultPeerTLS(),
		Migration:      MigrationConfig{Strategy: "load_balanced", PreserveGPUAffinity: true, MaxConcurrent: 4, MaxPerHour: 60},
		CircuitBreaker: BreakerConfig{FailureThreshold: 5, ResetTimeout: Duration{time.Minute}, HalfOpenRequests: 3},
		Policy: PolicyConfig{
			Checkpoint: forestall.Observe, Migrate: forestall.Observe, Drain: forestall.Observe,
			SuspectAt: 0.2, FailingAt: 0.6, Hysteresis: 0.2, Probation: Duration{time.Hour},
		},
		Features:  FeaturesConfig{ScrapeInterval: Duration{5 * time.Second}, ForgetAfter: Duration{6 * time.Hour}, Windows: []Duration{{time.Minute}, {5 * time.Minute}}, Host: true, RemoteWrite: defaultRemoteWrite()},
		Telemetry: defaultTelemetry(),
		GPU:       GPUConfig{Source: "auto", SimGPUs: 8, SimSeed: 1},
		Model:     defaultModel(),
		Drift:     defaultDrift(),
		Anomaly:   defaultAnomaly(),
		API:       APIConfig{Address: "127.0.0.1:7070", Loopback: loopbackOperate},
	}
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
	if len(w.Env) == 0 {
		w.Env = nil // as it comes back from the ledger
	}
	if len(w.Nodes) == 0 {
		w.Nodes = nil
	}
	return forestall.Workload{
		Name: w.Name, Kind: kind, Command: w.Command, Env: w.Env, StateDir: w.StateDir, Hook: hook,
		Needs:    forestall.Needs{GPUs: w.GPUs, MemoryBytes: int64(w.Memory.N), Nodes: w.Nodes},
		Interval: w.CheckpointInterval.Duration, Stop: stop, LossCost: w.LossCost,
		Compression: forestall.Compression(w.Compression),
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
		if !c.Cluster.AllowPlaintext && !c.TLS.On() && !isLoopback(m.host) {
			return nil, fmt.Errorf("cluster.nodes: %q is not a loopback address, and peers do not authenticate each other: anyone who reaches the port could start processes. Give [tls] ca, cert and key; or, on a network that you trust, set cluster.allow_plaintext = true", s)
		}
		for _, other := range members {
			if other.name == m.name {
				return nil, fmt.Errorf("cluster.nodes: %q repeats the name %q", s, other.name)
			}
			if other.host == m.host && max(other.port-m.port, m.port-other.port) < 3 {
				return nil, fmt.Errorf("cluster.nodes: %q overlaps %q: each takes PORT, PORT+1 and PORT+2", s, other.name)
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

// SetData keeps everything the engine writes under dir.
func (c *Config) SetData(dir string) {
	c.Engine.DataDir = dir
	c.FaultTolerance.CheckpointStorage = filepath.Join(dir, "checkpoints")
}
