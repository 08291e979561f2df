package migrate

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ExecutorConfig says how moves are carried out.
type ExecutorConfig struct {
	RecoveryStrategy  Strategy // of starts and recoveries
	MigrationStrategy Strategy // of preemptive moves
	KeepGPUsNear      bool     // preserve_gpu_affinity

	MaxAttempts     int           // starts, each in an epoch of its own, before a move is given up
	RecoveryTimeout time.Duration // after which no further target is tried

	SaveTimeout  time.Duration // one final checkpoint, beside the hook's own timeout
	FenceTimeout time.Duration // one attempt
	StopTimeout  time.Duration // one attempt, beside the workload's own stop time
	StartTimeout time.Duration // one attempt, restore included
	StepAttempts int           // of Save and Start on one node
	BackoffMin   time.Duration // between attempts, doubling
	BackoffMax   time.Duration

	Breaker BreakerConfig

	// RetryAfter is Policy.RetryAfter, to say how long the pause is when a
	// workload is given up; nil: it isn't said.
	RetryAfter func(tries int) time.Duration

	Conditions func() Conditions     // of the nodes, at each choice of a target; nil: nothing is known
	Now        func() time.Time      // nil: time.Now
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
}

// BreakerConfig is the circuit breaker that each target node has: an open one
// is passed over.
type BreakerConfig struct {
	Failures int           // failure_threshold: failed starts in a row that open it
	Reset    time.Duration // reset_timeout: how long it stays open
	HalfOpen int           // half_open_requests: starts that must then succeed
}

// DefaultExecutorConfig returns the defaults of forestall.toml.
func DefaultExecutorConfig() ExecutorConfig {
	return ExecutorConfig{
		RecoveryStrategy:  FastestNode,
		MigrationStrategy: LoadBalanced,
		KeepGPUsNear:      true,
		MaxAttempts:       3,
		RecoveryTimeout:   5 * time.Minute,
		SaveTimeout:       time.Minute,
		FenceTimeout:      5 * time.Second,
		StopTimeout:       10 * time.Second,
		StartTimeout:      2 * time.Minute,
		StepAttempts:      3,
		BackoffMin:        50 * time.Millisecond,
		BackoffMax:        2 * time.Second,
		RetryAfter:        Policy{DefaultPolicyConfig()}.RetryAfter,
		Breaker:           BreakerConfig{Failures: 5, Reset: time.Minute, HalfOpen: 3},
	}
}

// Validate names the first field that cannot work.
func (c ExecutorConfig) Validate() error {
	for _, s := range []struct {
		name  string
		value Strategy
	}{{"recovery_strategy", c.RecoveryStrategy}, {"[migration] strategy", c.MigrationStrategy}} {
		if err := new(Strategy).UnmarshalText([]byte(s.value)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"recovery_timeout", c.RecoveryTimeout},
		{"save timeout", c.SaveTimeout},
		{"fence timeout", c.FenceTimeout},
		{"stop timeout", c.StopTimeout},
		{"start timeout", c.StartTimeout},
		{"shortest backoff", c.BackoffMin},
		{"reset_timeout", c.Breaker.Reset},
	} {
		if d.value <= 0 {
			return fmt.Errorf("%s: %s must be positive", d.name, d.value)
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"max_recovery_attempts", c.MaxAttempts},
		{"attempts per step", c.StepAttempts},
		{"failure_threshold", c.Breaker.Failures},
		{"half_open_requests", c.Breaker.HalfOpen},
	} {
		if n.value < 1 {
			return fmt.Errorf("%s: %d must be at least 1", n.name, n.value)
		}
	}
	if c.BackoffMax < c.BackoffMin {
		return fmt.Errorf("longest backoff: %s is shorter than the shortest, %s", c.BackoffMax, c.BackoffMin)
	}
	return nil
}

// backoff returns the pause after the n-th failed attempt, n from 1.
func (c ExecutorConfig) backoff(n int) time.Duration {
	return doubled(c.BackoffMin, c.BackoffMax, n)
}

// doubled returns first x 2^(n-1), at most limit.
func doubled(first, limit time.Duration, n int) time.Duration {
	d := first
	for i := 1; i < n && d < limit; i++ {
		d *= 2
	}
	return min(d, limit)
}
