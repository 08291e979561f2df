package table

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDirectory: a directory is called one.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || err.Error() != dir+": it is a directory; name a file" {
		t.Errorf("Open says %v", err)
	}
}

// TestPipe: a pipe without a writer is refused, not waited for.
func TestPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("named pipes cannot be made here: %v", err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "write it to a file first") {
		t.Errorf("Open says %v", err)
	}
}
