package live_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/checkpoint/delta"
	"github.com/stratoswarm/forestall/checkpoint/live"
	"golang.org/x/sys/unix"
)

// A file that somebody has mapped is restored with the values, in place.
func TestRestoreAMappedFile(t *testing.T) {
	store, path := openStore(t), filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("0123456789abcdef"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapping, err := unix.Mmap(int(f.Fd()), 0, 1_600_000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapping) }()
	r, err := delta.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := live.NewManager(store, live.DefaultConfig("w"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	value := 1
	for _, err := range []error{m.Track("value", &value), m.Region("db", r)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	copy(mapping[700_000:], "first")
	was := bytes.Clone(mapping)
	first := create(t, m, "")
	copy(mapping[700_000:], "other")
	copy(mapping[5:], "other")
	value = 2
	second := create(t, m, "")
	if err := m.Restore(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if value != 1 || !bytes.Equal(mapping, was) {
		t.Errorf("value %d, the mapping is the first checkpoint's: %v", value, bytes.Equal(mapping, was))
	}
	// What is saved after a restore is what is there.
	third := create(t, m, "")
	if err := m.Restore(t.Context(), second.ID); err != nil || value != 2 || string(mapping[5:10]) != "other" {
		t.Errorf("value %d, mapping %q, error %v", value, mapping[5:10], err)
	}
	if err := m.Restore(t.Context(), third.ID); err != nil || !bytes.Equal(mapping, was) {
		t.Errorf("the third checkpoint is not what was restored before it: %v", err)
	}
	// One that is another file by now is refused before anything is touched.
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(t.Context(), second.ID); !errors.Is(err, delta.ErrRemapped) || value != 1 {
		t.Errorf("value %d, error %v; want ErrRemapped and 1", value, err)
	}
}

// The memory of another process is saved, and a restore says what to do with it.
func TestRestoreOfAnotherProcess(t *testing.T) {
	store := openStore(t)
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Skipf("no process to look at: %v", err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	r, err := delta.OpenProcess(cmd.Process.Pid, nil, delta.Options{Method: delta.Hash})
	if err != nil {
		t.Skipf("other processes cannot be looked at here: %v", err)
	}
	m, err := live.NewManager(store, live.DefaultConfig("w"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	value := 1
	for _, err := range []error{m.Track("value", &value), m.Region("process", r)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cp := create(t, m, "")
	value = 2
	err = m.Restore(t.Context(), cp.ID)
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), `state "process"`) || !strings.Contains(err.Error(), "RestoreState") || value != 2 {
		t.Errorf("value %d, error %v", value, err)
	}
	if err := m.Restore(t.Context(), cp.ID, "value"); err != nil || value != 1 {
		t.Errorf("value %d, error %v", value, err)
	}
	into := t.TempDir()
	if err := store.RestoreState(t.Context(), cp.ID, "process", into); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(filepath.Join(into, "process")); err != nil || fi.Size() != r.Size() {
		t.Errorf("the memory is not in its file: %v", err)
	}
}
