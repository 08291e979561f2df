package foreign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Care says what [Ledger.Run] does, and how often.
type Care struct {
	Every     time.Duration // between two looks
	Verify    time.Duration // each entry is verified once in as long; 0: never
	Contents  bool          // of those that were registered with hashes, read every byte
	Retention Retention     // Keep 0: nothing is dropped
	Logger    *slog.Logger
}

// Validate names the first field that cannot work and what it may be.
func (c Care) Validate() error {
	switch {
	case c.Every <= 0:
		return fmt.Errorf("care for foreign checkpoints: Every %v must be positive", c.Every)
	case c.Verify < 0:
		return fmt.Errorf("care for foreign checkpoints: Verify %v must not be negative; 0 is never", c.Verify)
	case c.Retention.Keep < 0 || c.Retention.Age < 0:
		return fmt.Errorf("care for foreign checkpoints: Keep %d and Age %v of the retention must not be negative", c.Retention.Keep, c.Retention.Age)
	case c.Logger == nil:
		return errors.New("care for foreign checkpoints: Logger is nil; slog.Default() is one")
	}
	return nil
}

// Run verifies entries when their turn comes and applies the retention, at once
// and then every c.Every, until ctx ends; then it returns nil. What it finds
// damaged it logs, and looks at again when its turn comes; the retention does not
// count it among what is kept.
func (l *Ledger) Run(ctx context.Context, c Care) error {
	if err := c.Validate(); err != nil {
		return err
	}
	ticker := time.NewTicker(c.Every)
	defer ticker.Stop()
	tried := make(map[string]time.Time) // what was found damaged, by ID
	for {
		if c.Verify > 0 {
			l.verifyDue(ctx, c, tried)
		}
		if c.Retention.Keep > 0 && ctx.Err() == nil {
			dropped, err := l.Prune(ctx, c.Retention, false)
			for _, e := range dropped {
				delete(tried, e.ID)
				c.Logger.Info("foreign checkpoint dropped", "workload", e.Workload, "id", e.ID, "path", e.Path, "data_too", c.Retention.Data)
			}
			if err != nil && ctx.Err() == nil {
				c.Logger.Error("retention of foreign checkpoints", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// verifyDue verifies the entries whose turn it is.
func (l *Ledger) verifyDue(ctx context.Context, c Care, tried map[string]time.Time) {
	all, err := l.List("")
	if err != nil {
		c.Logger.Error("list foreign checkpoints", "error", err)
	}
	for _, e := range all {
		last := tried[e.ID]
		if e.Verified != nil && e.Verified.After(last) {
			last = *e.Verified
		}
		if now := l.now(); ctx.Err() != nil || now.Sub(last) < c.Verify {
			continue
		}
		err := l.Verify(ctx, e.ID, c.Contents && e.Hashed())
		switch {
		case err == nil:
			delete(tried, e.ID)
		case ctx.Err() == nil:
			tried[e.ID] = l.now()
			c.Logger.Error("foreign checkpoint is damaged", "workload", e.Workload, "id", e.ID, "path", e.Path, "error", err)
		}
	}
}

// Hashed reports whether the contents were hashed when the entry was registered.
func (e Entry) Hashed() bool {
	return slices.ContainsFunc(e.Files, func(f File) bool { return f.Hash != "" })
}
