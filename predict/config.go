package predict

import (
	"fmt"
	"time"
)

// Config says how probabilities are graded. A model's card may name thresholds
// of its own, which then take the place of SuspectAt and FailingAt.
type Config struct {
	SuspectAt  float64       // probability from which a component is Suspect
	FailingAt  float64       // probability from which it is Failing
	Hysteresis float64       // a grade is left only below its threshold x (1 - Hysteresis)
	Stale      time.Duration // a window whose newest scrape is older is Unknown
	Drift      DriftConfig
	Reasons    int // how many reasons a risk gives at most
}

// DefaultConfig returns the configuration that the engine starts from.
func DefaultConfig() Config {
	return Config{SuspectAt: 0.1, FailingAt: 0.5, Hysteresis: 0.2, Stale: 30 * time.Second, Drift: DefaultDriftConfig(), Reasons: 5}
}

// Validate names the first field that is out of its range.
func (c Config) Validate() error {
	switch {
	case !(c.SuspectAt > 0 && c.SuspectAt < 1):
		return fmt.Errorf("predict: SuspectAt is %v; it must be between 0 and 1", c.SuspectAt)
	case !(c.FailingAt > c.SuspectAt && c.FailingAt < 1):
		return fmt.Errorf("predict: FailingAt is %v; it must be between SuspectAt (%v) and 1", c.FailingAt, c.SuspectAt)
	case !(c.Hysteresis >= 0 && c.Hysteresis < 1):
		return fmt.Errorf("predict: Hysteresis is %v; it must be at least 0 and less than 1", c.Hysteresis)
	case c.Stale <= 0:
		return fmt.Errorf("predict: Stale is %v; it must be positive", c.Stale)
	case c.Reasons < 0:
		return fmt.Errorf("predict: Reasons is %d; it must not be negative", c.Reasons)
	}
	return c.Drift.Validate()
}
