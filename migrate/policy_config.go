package migrate

import (
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
)

// Modes says which predictive tiers act. Reactions to failures always do.
type Modes struct {
	Checkpoint forestall.Mode
	Migrate    forestall.Mode
	Drain      forestall.Mode
}

// Costs are a workload's, measured on it.
type Costs struct {
	CheckpointPause time.Duration // it stands still for one checkpoint
	MovePause       time.Duration // from its final checkpoint until it runs elsewhere
	Recovery        time.Duration // from its failure until it runs again
}

// PolicyConfig says what the policy weighs.
type PolicyConfig struct {
	Modes              Modes
	CheckpointInterval time.Duration // of workloads that have none of their own
	CheckpointGap      time.Duration // a preemptive checkpoint is never sooner after another one
	Confirm            int           // scorings in a row that a move's condition must hold
	Margin             float64       // gain that a move must promise to begin, as a share of its cost; to stay wanted it must not cost more than it saves
	HoldOut            float64       // share of preemptive checkpoints left undone, so that the model can learn from what follows
	Repeat             time.Duration // before the same decision is said again, or a move that was aborted
	MaxRiskAge         time.Duration // an older risk is unknown
	Defaults           Costs         // for what was not measured yet
	RetryMin           time.Duration // before the second restart in a row, doubling
	RetryMax           time.Duration
}

// DefaultPolicyConfig observes.
func DefaultPolicyConfig() PolicyConfig {
	return PolicyConfig{
		Modes:              Modes{forestall.Observe, forestall.Observe, forestall.Observe},
		CheckpointInterval: 5 * time.Minute,
		CheckpointGap:      time.Minute,
		Confirm:            2,
		Margin:             0.25,
		Repeat:             time.Minute,
		MaxRiskAge:         5 * time.Minute,
		Defaults:           Costs{CheckpointPause: time.Second, MovePause: 10 * time.Second, Recovery: 30 * time.Second},
		RetryMin:           time.Second,
		RetryMax:           5 * time.Minute,
	}
}

// Validate names the first field that cannot work.
func (c PolicyConfig) Validate() error {
	for _, m := range []struct {
		name string
		mode forestall.Mode
	}{{"checkpoint", c.Modes.Checkpoint}, {"migrate", c.Modes.Migrate}, {"drain", c.Modes.Drain}} {
		if err := new(forestall.Mode).UnmarshalText([]byte(m.mode)); err != nil {
			return fmt.Errorf("policy tier %s: %w", m.name, err)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"checkpoint_interval", c.CheckpointInterval},
		{"repeat", c.Repeat},
		{"max_risk_age", c.MaxRiskAge},
		{"retry_min", c.RetryMin},
	} {
		if d.value <= 0 {
			return fmt.Errorf("policy %s: %s must be positive", d.name, d.value)
		}
	}
	switch {
	case c.CheckpointGap < 0:
		return fmt.Errorf("policy checkpoint_gap: %s is negative", c.CheckpointGap)
	case c.RetryMax < c.RetryMin:
		return fmt.Errorf("policy retry_max: %s is shorter than retry_min, %s", c.RetryMax, c.RetryMin)
	case c.Confirm < 1:
		return fmt.Errorf("policy confirm: %d must be at least 1", c.Confirm)
	case !(c.Margin >= 0):
		return fmt.Errorf("policy margin: %g must be 0 or more", c.Margin)
	case !(c.HoldOut >= 0 && c.HoldOut < 1):
		return fmt.Errorf("policy hold_out: %g must be in [0, 1)", c.HoldOut)
	}
	return nil
}

// or returns c with what is zero taken from d.
func (c Costs) or(d Costs) Costs {
	if c.CheckpointPause == 0 {
		c.CheckpointPause = d.CheckpointPause
	}
	if c.MovePause == 0 {
		c.MovePause = d.MovePause
	}
	if c.Recovery == 0 {
		c.Recovery = d.Recovery
	}
	return c
}
