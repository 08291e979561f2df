package engine

import (
	"errors"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

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
	if ft.PredictionInterval.Duration > 24*time.Hour {
		bad("fault_tolerance.prediction_interval", "%s is longer than a day", ft.PredictionInterval)
	}

	if s := c.Checkpoint.Shortest.Duration; s < 0 || s > ft.CheckpointInterval.Duration {
		bad("checkpoint.shortest_interval", "%s is not between 0 (always checkpoint_interval) and fault_tolerance.checkpoint_interval, %s",
			c.Checkpoint.Shortest, ft.CheckpointInterval)
	}
	c.Checkpoint.check(bad)
	c.checkStore(bad)
	oneOf("cluster.profile", c.Cluster.Profile, "standard", "fast")
	if !slices.Contains([]int{1, 3, 5, 7}, c.Cluster.QuorumSize) {
		bad("cluster.quorum_size", "%d voters are not one of 1, 3, 5, 7: an even number tolerates no more failures", c.Cluster.QuorumSize)
	}
	positive("cluster.leader_election_timeout", c.Cluster.LeaderElectionTimeout)
	c.TLS.check(c.Cluster.AllowPlaintext, bad)
	nodes, err := c.members()
	if err != nil {
		errs = append(errs, err)
	} else if len(nodes) > 0 && c.Engine.Name != "" && !slices.ContainsFunc(nodes, func(m member) bool { return m.name == c.Engine.Name }) {
		bad("engine.name", "%q is not among cluster.nodes", c.Engine.Name)
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
	p.checkAlarms(bad)
	if !(0 <= p.HoldOut && p.HoldOut < 1) || math.IsNaN(p.HoldOut) {
		bad("policy.hold_out", "%g is not a share of alarms between 0 and 1", p.HoldOut)
	}

	if p.Probation.Duration < 0 {
		bad("policy.probation", "%s is negative; 0: no incident of a GPU ends by time alone", p.Probation)
	}

	positive("features.scrape_interval", c.Features.ScrapeInterval)
	mappings := c.Features.check(bad)
	if name, err := c.name(); err == nil {
		gpus := c.GPU.Source == "nvml" || c.GPU.Source == "sim" && c.GPU.SimGPUs > 0 // of auto only the start tells
		c.ownTargets(mappings, name, c.Features.Host, gpus, bad)
	}
	c.Telemetry.check(bad)
	c.Model.check(bad)
	c.Drift.check(bad)
	c.Anomaly.check(bad)
	oneOf("gpu.source", c.GPU.Source, "auto", "nvml", "none", "sim")
	between("gpu.sim_gpus", c.GPU.SimGPUs, 0, 64)
	if err := checkLoopback(c.API.Address); err != nil {
		bad("api.address", "%v", err)
	}
	oneOf("api.loopback", c.API.Loopback, loopbackOperate, loopbackRead)
	c.API.check(bad)

	seen, stateDirs := map[string]bool{}, map[string]string{}
	for _, wc := range c.Workloads {
		w := wc.workload()
		if err := w.Validate(); err != nil {
			errs = append(errs, err)
		}
		if seen[w.Name] {
			bad("workload", "the name %q is given twice", w.Name)
		}
		for _, n := range w.Needs.Nodes {
			if len(nodes) > 0 && !slices.ContainsFunc(nodes, func(m member) bool { return m.name == n }) {
				bad(fmt.Sprintf("workload %q: nodes", w.Name), "%q is not among cluster.nodes", n)
			}
		}
		if err := checkEnv(w.Env); err != nil {
			bad(fmt.Sprintf("workload %q: env", w.Name), "%v", err)
		}
		if s := w.Hook.Signal; w.Hook.Kind == forestall.HookSignal && (unix.SignalNum(s) == 0 || s == "SIGKILL" || s == "SIGSTOP") {
			bad(fmt.Sprintf("workload %q: hook.signal", w.Name), "%q is not a signal that a program can handle, such as SIGUSR1", s)
		}
		seen[w.Name] = true
		if w.StateDir == "" {
			continue
		}
		if err := c.checkStateDir(w.StateDir); err != nil {
			bad(fmt.Sprintf("workload %q: state_dir", w.Name), "%v", err)
		}
		for other, dir := range stateDirs {
			if within(dir, w.StateDir) || within(w.StateDir, dir) {
				bad(fmt.Sprintf("workload %q: state_dir", w.Name), "%q overlaps that of %q; a restore replaces the whole directory", w.StateDir, other)
			}
		}
		stateDirs[w.Name] = w.StateDir
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func checkLoopback(address string) error {
	host, port, err := net.SplitHostPort(address)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return fmt.Errorf("%q is not HOST:PORT with a port up to 65535", address)
	}
	if !isLoopback(host) {
		return fmt.Errorf("%q is not a loopback address, and nobody is asked there who they are; [api.remote] is for other hosts", address)
	}
	return nil
}

// checkEnv refuses what is no variable, and those that Forestall sets itself.
func checkEnv(env []string) error {
	for _, kv := range env {
		key, _, ok := strings.Cut(kv, "=")
		switch {
		case !ok || key == "":
			return fmt.Errorf("%q is not KEY=VALUE", kv)
		case strings.HasPrefix(key, "FORESTALL_"):
			return fmt.Errorf("%s is set by Forestall; choose another name", key)
		}
	}
	return nil
}

// checkStateDir refuses a state directory whose replacement by a restore would
// take the engine's own files with it.
func (c Config) checkStateDir(dir string) error {
	own := []string{
		filepath.Join(c.Engine.DataDir, "raft"), filepath.Join(c.Engine.DataDir, "run"), c.FaultTolerance.CheckpointStorage, c.recordings(),
	}
	for _, o := range own {
		if within(o, dir) || within(dir, o) {
			return fmt.Errorf("%q and the engine's own %q lie in each other; a restore replaces the whole directory", dir, o)
		}
	}
	return nil
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
