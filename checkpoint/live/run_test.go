package live_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/live"
)

func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		store, err := checkpoint.OpenDir(dir, checkpoint.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		a := newAgent(64 << 10)
		m := manage(t, store, a, func(c *live.Config) { c.Retention = time.Hour })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(3*time.Hour + time.Second)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		kept, err := store.Timeline("agent-7")
		if err != nil {
			t.Fatal(err)
		}
		if got := kept[len(kept)-1].Sequence; got != 37 {
			t.Errorf("%d checkpoints in 3 h, want one every 5 min", got)
		}
		if len(kept) < 12 || len(kept) > 14 {
			t.Errorf("%d are kept, want those of the last hour", len(kept))
		}
		for i := range kept[1:] {
			if gap := kept[i+1].Time.Sub(kept[i].Time); gap > 5*time.Minute {
				t.Errorf("%v between two checkpoints", gap)
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	for _, tc := range []struct {
		want   string
		change func(*live.Config)
	}{
		{"workload", func(c *live.Config) { c.Workload = "" }},
		{"pace", func(c *live.Config) { c.Pace.Longest = 0 }},
		{"retention", func(c *live.Config) { c.Retention = 0 }},
		{"retention tier 1", func(c *live.Config) { c.Tiers = []checkpoint.Tier{{Every: 0, Within: time.Hour}} }},
		{"must not be negative", func(c *live.Config) { c.MaxBytes = -1 }},
		{"rounds", func(c *live.Config) { c.Rounds.Most = -1 }},
		{"Jitter", func(c *live.Config) { c.Jitter = nil }},
	} {
		c := live.DefaultConfig("w")
		tc.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.want, err)
		}
	}
}

// Run keeps what the tiers do, and makes a store that is too large smaller.
func TestRunKeepsTiers(t *testing.T) {
	for name, c := range map[string]struct {
		change      func(*live.Config)
		least, most int
	}{
		"tiers": {func(c *live.Config) {
			c.Retention, c.Tiers = 30*time.Minute, []checkpoint.Tier{{Every: time.Hour, Within: 24 * time.Hour}}
		}, 11, 14}, // of 6 hours one each, and the last half
		"size limit": {func(c *live.Config) { c.Retention, c.MaxBytes = 24*time.Hour, 1 }, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			synctest.Test(t, func(t *testing.T) {
				store, err := checkpoint.OpenDir(dir, checkpoint.DefaultOptions())
				if err != nil {
					t.Fatal(err)
				}
				m := manage(t, store, newAgent(64<<10), c.change)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- m.Run(ctx) }()
				time.Sleep(6*time.Hour + time.Second)
				synctest.Wait()
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				kept, err := store.Timeline("agent-7")
				if err != nil || len(kept) < c.least || len(kept) > c.most {
					t.Errorf("%d are kept (%v), want %d to %d", len(kept), err, c.least, c.most)
				}
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
