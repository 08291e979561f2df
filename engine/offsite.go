package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint/s3"
	"github.com/stratoswarm/forestall/migrate"
)

// CheckpointConfig is how close together checkpoints may be taken, how the nodes'
// stores keep them, and where they are kept besides.
type CheckpointConfig struct {
	Shortest           Duration     `toml:"shortest_interval"`   // 0: always checkpoint_interval
	CompressionLevel   int          `toml:"compression_level"`   // of zstd
	EncryptionKeyring  string       `toml:"encryption_keyring"`  // file; empty: nothing is encrypted
	EncryptionIdentity string       `toml:"encryption_identity"` // file that opens it
	Tiers              []TierConfig `toml:"tiers"`               // of checkpoints older than checkpoint_retention
	MaxBytes           Bytes        `toml:"max_bytes"`           // of a node's packs; 0: no limit
	ScrubWithin        Duration     `toml:"scrub_within"`        // every chunk is verified once in as long; 0: never
	BackgroundRate     Bytes        `toml:"background_rate"`     // a second, of GC and scrub; 0: no limit
	S3                 S3Config     `toml:"s3"`
}

// S3Config names a bucket for off-site copies. They do not count as replicas:
// no checkpoint waits for them.
type S3Config struct {
	Endpoint    string   `toml:"endpoint"` // empty: Amazon's
	Region      string   `toml:"region"`
	Bucket      string   `toml:"bucket"` // empty: no off-site copies
	Prefix      string   `toml:"prefix"`
	Credentials string   `toml:"credentials"` // env | file | instance
	File        string   `toml:"credentials_file"`
	Profile     string   `toml:"credentials_profile"`
	Retention   Duration `toml:"retention"` // 0: checkpoint_retention
	GCInterval  Duration `toml:"gc_interval"`
	GCGrace     Duration `toml:"gc_grace"`
}

func defaultCheckpoint() CheckpointConfig {
	return CheckpointConfig{CompressionLevel: 1, ScrubWithin: Duration{30 * 24 * time.Hour}, BackgroundRate: Bytes{100 << 20}, S3: S3Config{Credentials: s3.CredentialsEnv, GCInterval: Duration{6 * time.Hour}, GCGrace: Duration{24 * time.Hour}}}
}

// Store returns the configuration of the bucket; ok is false when none is named.
func (c S3Config) Store() (cfg s3.Config, ok bool) {
	cfg = s3.DefaultConfig()
	cfg.Endpoint, cfg.Region, cfg.Bucket, cfg.Prefix = c.Endpoint, c.Region, c.Bucket, c.Prefix
	cfg.Credentials, cfg.File, cfg.Profile, cfg.Grace = c.Credentials, c.File, c.Profile, c.GCGrace.Duration
	return cfg, c.Bucket != ""
}

func (c CheckpointConfig) check(bad func(key, format string, args ...any)) {
	store, ok := c.S3.Store()
	if !ok {
		if c.S3.Endpoint != "" || c.S3.Prefix != "" || c.S3.Region != "" {
			bad("checkpoint.s3.bucket", "it is empty; name the bucket, or remove the section")
		}
		return
	}
	if err := store.Validate(); err != nil {
		bad("checkpoint.s3", "%v", err)
	}
	if c.S3.Retention.Duration < 0 {
		bad("checkpoint.s3.retention", "must not be negative; 0 is checkpoint_retention")
	}
	if c.S3.GCInterval.Duration <= 0 {
		bad("checkpoint.s3.gc_interval", "must be longer than 0")
	}
}

// openOffsite sets up the copies in a bucket, where one is named.
func (e *Engine) openOffsite() (err error) {
	store, ok := e.cfg.Checkpoint.S3.Store()
	if !ok {
		return nil
	}
	store.Now, store.Logger = e.now, e.log
	retention := e.cfg.Checkpoint.S3.Retention.Duration
	if retention == 0 {
		retention = e.cfg.FaultTolerance.CheckpointRetention.Duration
	}
	e.offsite, err = s3.NewCopier(s3.CopierConfig{
		Local: e.chunks, Store: store, Retention: retention, Sweep: e.cfg.Checkpoint.S3.GCInterval.Duration, Parallel: 2,
		Heads: e.heads, Keep: e.isKept, Registerer: e.registry, Now: e.now, Logger: e.log,
	})
	if err != nil {
		return fmt.Errorf("checkpoint.s3: %w", err)
	}
	return nil
}

// heads lists the newest checkpoints that count.
func (e *Engine) heads() (ids []string) {
	e.ledger.View(func(s *migrate.State) {
		for _, w := range s.Workloads {
			if w.Head != nil {
				ids = append(ids, w.Head.ID)
			}
		}
	})
	return ids
}

// isHead reports whether a checkpoint is the newest that counts of its workload.
func (e *Engine) isHead(c forestall.Checkpoint) (head bool) {
	e.ledger.View(func(s *migrate.State) {
		w := s.Workloads[c.Workload]
		head = w != nil && w.Head != nil && w.Head.ID == c.ID
	})
	return head
}

// isKept reports whether retention must leave a checkpoint, here and off-site.
func (e *Engine) isKept(c forestall.Checkpoint) bool { return e.isHead(c) || e.isPinned(c.ID) }

// fetch brings a checkpoint to this node, from its peers or, when none of them
// can give it, from the off-site store.
func (e *Engine) fetch(ctx context.Context, id string, from []string) error {
	err := e.replicas.Fetch(ctx, id, from)
	if err == nil || e.offsite == nil || ctx.Err() != nil {
		return err
	}
	if oerr := e.offsite.Fetch(ctx, id); oerr != nil {
		return fmt.Errorf("%w; off-site: %w", err, oerr)
	}
	e.log.Warn("a checkpoint came from the off-site store: no peer had it", "checkpoint", short(id), "peers", err)
	return nil
}

// runOffsite copies until ctx ends.
func (e *Engine) runOffsite(ctx context.Context) error {
	if e.offsite == nil {
		<-ctx.Done()
		return nil
	}
	return e.offsite.Run(ctx)
}
