package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/seal"
)

func TestStoreOptions(t *testing.T) {
	dir := t.TempDir()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.New([]string{id.Recipient().String()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keyring, identity := filepath.Join(dir, "keyring"), filepath.Join(dir, "identity")
	for path, b := range map[string][]byte{keyring: ring, identity: []byte(id.String() + "\n")} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "forestall.toml")
	write := func(text string) (Config, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadConfig(path)
	}
	c, err := write(`
[checkpoint]
compression_level = 3
encryption_keyring = "` + keyring + `"
encryption_identity = "` + identity + `"
max_bytes = "2TiB"
scrub_within = "14d"
background_rate = "50MiB"
[[checkpoint.tiers]]
every = "1d"
within = "30d"
`)
	if err != nil {
		t.Fatal(err)
	}
	o, err := c.storeOptions()
	if err != nil || o.Keys == nil || o.Level != 3 || o.BackgroundRate != 50<<20 {
		t.Errorf("options %+v (%v)", o, err)
	}
	r := c.retention()
	if r.All != 7*24*time.Hour || r.MaxBytes != 2<<40 || len(r.Tiers) != 1 || r.Tiers[0] != (checkpoint.Tier{Every: 24 * time.Hour, Within: 30 * 24 * time.Hour}) {
		t.Errorf("retention %+v", r)
	}
	c.Checkpoint.EncryptionIdentity = keyring
	if _, err := c.storeOptions(); err == nil || !strings.Contains(err.Error(), "encryption_identity "+keyring) || strings.Contains(err.Error(), id.String()) {
		t.Errorf("a wrong identity: %v", err)
	}
	for says, text := range map[string]string{
		"compression_level: 0 is not within": "compression_level = 0",
		"needed together":                    `encryption_keyring = "/k"`,
		"shorter than 1h":                    `scrub_within = "5m"`,
		"retention tier 1":                   "[[checkpoint.tiers]]\nevery = \"1h\"\nwithin = \"2d\"",
	} {
		if _, err := write("[checkpoint]\n" + text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want one saying %q", text, err, says)
		}
	}
}
