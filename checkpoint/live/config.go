package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/delta"
)

// Config says whose states these are, when checkpoints are taken and how long
// they are kept.
type Config struct {
	Workload  string            // its name in the store
	Epoch     forestall.Epoch   // of this run; a store that is fenced higher refuses it
	Pace      checkpoint.Pace   // between automatic checkpoints
	Retention time.Duration     // checkpoints of the workload older than this are dropped, but never the newest, nor the newest that is whole
	Tiers     []checkpoint.Tier // of older ones, those that a tier picks are kept; as in the retention of others that keep checkpoints of the workload in the store
	MaxBytes  int64             // of the whole store's packs; over it the workload's oldest go, but no others; 0: any
	// Compression is how states are compressed, by their names. States that it does
	// not name are compressed as the store does ([checkpoint.Options]); what does
	// not shrink is stored as it is in any case.
	Compression map[string]forestall.Compression
	// Hold makes the program stand still and returns how to let it go on. nil:
	// nothing writes to the states while a checkpoint is taken.
	Hold func(ctx context.Context) (release func(), err error)
	// FailureRate says how often the program fails, for Pace; nil: unknown.
	FailureRate func() checkpoint.FailureRate
	// Push brings a checkpoint to other machines and returns who holds it, as
	// [checkpoint.Replicator.Push] does; nil: the store alone has it.
	Push   func(ctx context.Context, id string) (replicas []string, err error)
	Verify bool           // as [checkpoint.Regions.Verify], at every checkpoint
	Rounds delta.Rounds   // of copying before the hold
	Jitter func() float64 // in [0,1): spreads programs that were started together
	Now    func() time.Time
	Logger *slog.Logger
}

// DefaultConfig returns a checkpoint of workload every 5 minutes, kept for 7
// days, without a hold.
func DefaultConfig(workload string) Config {
	return Config{
		Workload:  workload,
		Pace:      checkpoint.Pace{Longest: 5 * time.Minute, Share: 0.5},
		Retention: 7 * 24 * time.Hour,
		Rounds:    delta.DefaultRounds(),
		Jitter:    rand.Float64,
		Now:       time.Now,
		Logger:    slog.New(slog.DiscardHandler),
	}
}

// Validate names the first field that cannot work and what it may be.
func (c Config) Validate() error {
	if err := forestall.CheckName(c.Workload); err != nil {
		return fmt.Errorf("workload: %w", err)
	}
	if err := c.Pace.Validate(); err != nil {
		return fmt.Errorf("pace: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Compression)) {
		if !slices.Contains(forestall.Compressions, c.Compression[name]) {
			return fmt.Errorf("compression of state %q: %q is not one of %v", name, c.Compression[name], forestall.Compressions)
		}
	}
	switch {
	case c.Retention <= 0:
		return fmt.Errorf("retention %v must be positive", c.Retention)
	case c.retention().Validate() != nil:
		return c.retention().Validate()
	case c.Rounds.Most < 0 || c.Rounds.Enough < 0:
		return fmt.Errorf("rounds: Most %d and Enough %d must not be negative", c.Rounds.Most, c.Rounds.Enough)
	case c.Jitter == nil || c.Now == nil || c.Logger == nil:
		return errors.New("one of Jitter, Now or Logger is nil; DefaultConfig has them")
	}
	return nil
}

func (c Config) retention() checkpoint.Retention {
	return checkpoint.Retention{All: c.Retention, Tiers: c.Tiers, MaxBytes: c.MaxBytes}
}
