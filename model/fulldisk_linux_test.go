package model

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSaveOnAFullDisk: where the card does not fit any more the old model stays
// whole, and nothing is left beside it.
func TestSaveOnAFullDisk(t *testing.T) {
	mnt := t.TempDir()
	if err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, "nr_blocks=5"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(mnt, 0); err != nil {
			t.Error(err)
		}
	}()
	dir := filepath.Join(mnt, "model")
	if err := Save(dir, golden(t), smallCard()); err != nil {
		t.Fatal(err)
	}
	large := smallCard()
	large.Training.Notes = strings.Repeat("long ", 4000)
	if err := Save(dir, other(t), large); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v, want ENOSPC", err)
	}
	if m, err := Load(dir); err != nil || m.Card.TreesSHA256 != Digest(golden(t)) {
		t.Errorf("the old model: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("files %v, %v", files, err)
	}
}

// other returns other trees than golden for the same features.
func other(t *testing.T) []byte {
	text := strings.Replace(string(golden(t)), "shrinkage=1", "shrinkage=0.5", 1)
	if text == string(golden(t)) {
		t.Fatal("the golden model has no shrinkage=1")
	}
	return []byte(text)
}
