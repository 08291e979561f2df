package engine

import (
	"bytes"
	"fmt"
	"os"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/seal"
)

// TierConfig keeps one checkpoint of a workload for each Every until it is older
// than Within.
type TierConfig struct {
	Every  Duration `toml:"every"`
	Within Duration `toml:"within"`
}

// storeOptions says how this node's store writes.
func (c Config) storeOptions() (checkpoint.Options, error) {
	o := checkpoint.DefaultOptions()
	o.Compression, o.Level = c.FaultTolerance.CheckpointCompression, c.Checkpoint.CompressionLevel
	o.BackgroundRate = int64(c.Checkpoint.BackgroundRate.N)
	if c.Checkpoint.EncryptionKeyring == "" {
		return o, nil
	}
	var err error
	o.Keys, err = readKeyring(c.Checkpoint.EncryptionKeyring, c.Checkpoint.EncryptionIdentity)
	return o, err
}

// readKeyring opens a keyring file with an identity file.
func readKeyring(keyring, identity string) (*seal.Keyring, error) {
	file, err := os.ReadFile(keyring)
	if err != nil {
		return nil, fmt.Errorf("checkpoint.encryption_keyring: %w", err)
	}
	id, err := os.ReadFile(identity)
	if err != nil {
		return nil, fmt.Errorf("checkpoint.encryption_identity: %w", err)
	}
	k, err := seal.Open(file, bytes.NewReader(id))
	if err != nil {
		return nil, fmt.Errorf("checkpoint.encryption_keyring %s with checkpoint.encryption_identity %s: %w", keyring, identity, err)
	}
	return k, nil
}

// retention is what the store keeps.
func (c Config) retention() checkpoint.Retention {
	r := checkpoint.Retention{All: c.FaultTolerance.CheckpointRetention.Duration, MaxBytes: int64(c.Checkpoint.MaxBytes.N)}
	for _, t := range c.Checkpoint.Tiers {
		r.Tiers = append(r.Tiers, checkpoint.Tier{Every: t.Every.Duration, Within: t.Within.Duration})
	}
	return r
}

// checkStore reports what of [checkpoint] cannot work.
func (c Config) checkStore(bad func(key, format string, args ...any)) {
	s := c.Checkpoint
	if s.CompressionLevel < 1 || s.CompressionLevel > 22 {
		bad("checkpoint.compression_level", "%d is not within 1 (fastest) and 22 (smallest)", s.CompressionLevel)
	}
	if (s.EncryptionKeyring == "") != (s.EncryptionIdentity == "") {
		bad("checkpoint.encryption_keyring", "it and checkpoint.encryption_identity are needed together; name both files, or neither")
	}
	if s.ScrubWithin.Duration != 0 && s.ScrubWithin.Duration < checkpoint.DefaultManagerConfig().Sweep {
		bad("checkpoint.scrub_within", "%s is shorter than 1h; 0 verifies nothing in the background", s.ScrubWithin)
	}
	if c.FaultTolerance.CheckpointRetention.Duration > 0 {
		if err := c.retention().Validate(); err != nil {
			bad("checkpoint.tiers", "%v", err)
		}
	}
}
