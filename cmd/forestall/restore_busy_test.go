package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRestoreRefusesADirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	if err := notInUse(dir, ""); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sleep", "60")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err := notInUse(dir, "")
	if kerr := cmd.Process.Kill(); kerr != nil {
		t.Fatal(kerr)
	}
	_ = cmd.Wait()
	if err == nil || !strings.Contains(err.Error(), "/bin/sleep 60") {
		t.Errorf("a directory in which sleep works: %v", err)
	}
	if err := notInUse(dir, ""); err != nil {
		t.Errorf("when it has ended: %v", err)
	}
}

func TestRestoreRefusesADirectoryWithOpenFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a b"), strings.Repeat("x", 4096))
	put(t, filepath.Join(dir, "other"), "x")
	f, err := os.Open(filepath.Join(dir, "a b"))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(state, how string) {
		t.Helper()
		if err := notInUse(dir, state); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "a b")+how) {
			t.Errorf("state %q: %v, want %q", state, err, how)
		}
	}
	refused("", " open")
	refused("a b", " open")
	if err := notInUse(dir, "other"); err != nil {
		t.Errorf("a state of which nothing is open: %v", err)
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	refused("", " mapped")
	if err := os.Remove(filepath.Join(dir, "a b")); err != nil {
		t.Fatal(err)
	}
	refused("a b", " (deleted) mapped")
	if err := syscall.Munmap(m); err != nil {
		t.Fatal(err)
	}
	if err := notInUse(dir, ""); err != nil {
		t.Errorf("when it is closed: %v", err)
	}
}
