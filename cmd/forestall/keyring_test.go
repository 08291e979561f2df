package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/checkpoint"
)

func TestKeyring(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	try := func(args ...string) (string, string, int) {
		var out, wrong bytes.Buffer
		code := run(append([]string{"keyring"}, args...), &out, &wrong)
		return out.String(), wrong.String(), code
	}
	must := func(args ...string) string {
		t.Helper()
		out, wrong, code := try(args...)
		if code != 0 {
			t.Fatalf("%v: %s", args, wrong)
		}
		return out
	}
	alice := strings.TrimSpace(must("identity", "--out", at("alice")))
	bob := strings.TrimSpace(must("identity", "--out", at("bob")))
	must("new", "--recipient", alice, "--out", at("ring"))
	if _, wrong, code := try("new", "--recipient", alice, "--out", at("ring")); code == 0 || !strings.Contains(wrong, "exists") {
		t.Errorf("a keyring was overwritten: %s", wrong)
	}
	if out := must("rotate", at("ring"), "--identity", at("alice")); !strings.Contains(out, "2 data keys") {
		t.Errorf("rotate says %q", out)
	}
	must("rewrap", at("ring"), "--identity", at("alice"), "--recipient", bob)
	if _, wrong, code := try("show", at("ring"), "--identity", at("alice")); code == 0 || !strings.Contains(wrong, "not wrapped for this identity") {
		t.Errorf("a recipient that was removed can open it: %s", wrong)
	}
	if out := must("show", at("ring"), "--identity", at("bob")); !strings.Contains(out, "data keys   2") || !strings.Contains(out, bob) || strings.Contains(out, alice) {
		t.Errorf("show says %q", out)
	}
	if out := must("show", at("ring"), "--identity", at("bob"), "--json"); !strings.Contains(out, `"keys": 2`) {
		t.Errorf("show --json says %q", out)
	}
	for _, name := range []string{"alice", "ring"} {
		fi, err := os.Stat(at(name))
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v)", name, fi.Mode(), err)
		}
	}
}

// The commands that look into a store by themselves open encrypted ones with the
// keyring, and say what is lacking.
func TestCheckpointsOfAnEncryptedStore(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	try := func(args ...string) (string, string, int) {
		var out, wrong bytes.Buffer
		code := run(args, &out, &wrong)
		return out.String(), wrong.String(), code
	}
	recipient, _, _ := try("keyring", "identity", "--out", at("id"))
	if _, wrong, code := try("keyring", "new", "--recipient", strings.TrimSpace(recipient), "--out", at("ring")); code != 0 {
		t.Fatal(wrong)
	}
	flags := sealFlags{at("ring"), at("id")}
	keys, err := flags.keys()
	if err != nil {
		t.Fatal(err)
	}
	opt := checkpoint.DefaultOptions()
	opt.Keys = keys
	d, err := checkpoint.OpenDir(at("store"), opt)
	if err != nil {
		t.Fatal(err)
	}
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	cp, err := d.Save(t.Context(), checkpoint.Snapshot{Workload: "w", Source: src})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, wrong, code := try("checkpoints", "verify", cp.ID, "--store", at("store")); code == 0 || !strings.Contains(wrong, "is encrypted with keyring "+keys.Set()) {
		t.Errorf("without keys: %d %s", code, wrong)
	}
	if _, wrong, code := try("checkpoints", "verify", cp.ID, "--store", at("store"), "--keyring", at("ring")); code == 0 || !strings.Contains(wrong, "needed together") {
		t.Errorf("without identity: %d %s", code, wrong)
	}
	if _, wrong, code := try("checkpoints", "verify", cp.ID, "--store", at("store"), "--keyring", at("ring"), "--identity", at("id")); code != 0 {
		t.Errorf("with keys: %s", wrong)
	}
}
