package checkpoint

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

// lossFS knows which names a power failure leaves in directories that are made
// below its root: those that were there at the directory's last sync.
type lossFS struct {
	durable.OS
	root string

	mu    sync.Mutex
	names map[string]map[string]bool // by directory
}

func (l *lossFS) SyncDir(path string) error {
	names, err := os.ReadDir(path)
	if err != nil { // a file, whose content is not followed here
		return l.OS.SyncDir(path)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names[path] = make(map[string]bool)
	for _, n := range names {
		l.names[path][n.Name()] = true
	}
	return l.OS.SyncDir(path)
}

// survives reports whether path would be found after a power failure.
func (l *lossFS) survives(path string) bool {
	for ; path != l.root; path = filepath.Dir(path) {
		if !l.names[filepath.Dir(path)][filepath.Base(path)] {
			return false
		}
	}
	return true
}

// What a restore has made is found after a power failure, also in directories that
// it had to make above it.
func TestRestoreSurvivesPowerLoss(t *testing.T) {
	t.Parallel()
	src := filepath.Join(t.TempDir(), "src")
	writeFiles(t, src, map[string]string{"single": "x", "many/a": "y", "many/b": "z"})
	d := openDir(t, small())
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	for name, restore := range map[string]func(target string) error{
		".":      func(target string) error { return d.Restore(t.Context(), cp.ID, target) },
		"single": func(target string) error { return d.RestoreState(t.Context(), cp.ID, "single", target) },
		"many":   func(target string) error { return d.RestoreState(t.Context(), cp.ID, "many", target) },
	} {
		l := &lossFS{root: t.TempDir(), names: make(map[string]map[string]bool)}
		d.aim = l
		target := filepath.Join(l.root, "new", "newer", "target")
		if err := restore(target); err != nil {
			t.Fatal(err)
		}
		if path := filepath.Join(target, filepath.Clean(name)); !l.survives(path) {
			t.Errorf("%s: %s may be gone after a power failure", name, path)
		}
	}
}
