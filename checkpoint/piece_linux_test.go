package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// What is written in place after the first copy is found in the mapping, and a
// file that is another one or has another length by then is read.
func TestFreezeLooksAtMappedFiles(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	writeFiles(t, src, map[string]string{"f": noise(1, 3<<20), "g": noise(2, 2<<20), "h": noise(3, 2<<20)})
	st := must[*Staged](t)(d.Precopy(t.Context(), Snapshot{Workload: "w", Source: src}))
	s := scribbler{t, src, nil}
	s.write(filepath.Join(src, "f"), 70000, []byte(noise(4, 9000)))
	s.write(filepath.Join(src, "g"), 2<<20, []byte("longer"))
	writeFiles(t, src, map[string]string{"h.new": noise(5, 2<<20)})
	if err := os.Rename(filepath.Join(src, "h.new"), filepath.Join(src, "h")); err != nil {
		t.Fatal(err)
	}
	want := readTree(t, src)
	if err := st.Freeze(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	for name, mapped := range map[string]bool{"f": true, "g": false, "h": false} {
		if got := st.asides[name].mapped(); got != mapped {
			t.Errorf("%s mapped: %v", name, got)
		}
	}
	cp := must[forestall.Checkpoint](t)(st.Save(t.Context(), 0))
	target := filepath.Join(t.TempDir(), "t")
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, want, readTree(t, target))
}

// A file that becomes shorter while it is looked at is an error, not the end of
// the process.
func TestMappedFileBecomesShorter(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	path := filepath.Join(src, "f")
	writeFiles(t, src, map[string]string{"f": noise(1, 2<<20)})
	st := must[*Staged](t)(d.Precopy(t.Context(), Snapshot{Workload: "w", Source: src}))
	defer st.Discard()
	a := st.asides["f"]
	a.seen = seenAs(must[os.FileInfo](t)(os.Stat(path)))
	if !a.mapped() {
		t.Skip("this file system maps no files")
	}
	if err := os.Truncate(path, 1<<20+5); err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < 2<<20; at += pieceSize {
		p := piece{a: a, at: at, buf: make([]byte, pieceSize), seed: d.pages.seed}
		if err := p.visit(true, (*piece).compare); !errors.Is(err, ErrChanged) {
			t.Errorf("piece at %d: error %v, want ErrChanged", at, err)
		}
	}
}
