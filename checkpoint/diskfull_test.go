package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stratoswarm/forestall"
)

// TestDiskFullAtEveryWrite lets each write of a checkpoint in turn find the
// disk full, having written half.
func TestDiskFullAtEveryWrite(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	kept := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	for at := int64(1); ; at++ {
		writeFiles(t, src, map[string]string{"model/weights": noise(uint64(at)+10, 16<<10)})
		var n atomic.Int64
		d.write = func(path string, data []byte, sync bool) error {
			if n.Add(1) != at {
				return writeNew(path, data, sync)
			}
			return halfWritten(path, data)
		}
		_, err := d.Save(t.Context(), Snapshot{Workload: "w", Source: src})
		if err == nil {
			if at < 5 {
				t.Errorf("only %d writes were made", at-1)
			}
			break
		}
		if !errors.Is(err, ErrDiskFull) || !errors.Is(err, syscall.ENOSPC) ||
			!strings.Contains(err.Error(), d.path) || !strings.Contains(err.Error(), "checkpoint_retention") {
			t.Errorf("write %d: %v, want ErrDiskFull with the path and a remedy", at, err)
		}
		noTemporaryFiles(t, d)
		if cps := must[[]forestall.Checkpoint](t)(d.List("")); len(cps) != 1 {
			t.Errorf("write %d: %d checkpoints visible, want the first only", at, len(cps))
		}
		if err := d.Verify(t.Context(), kept.ID); err != nil {
			t.Errorf("write %d: the first checkpoint suffered: %v", at, err)
		}
	}
}

// halfWritten does what a full disk does to writeNew.
func halfWritten(path string, data []byte) error {
	if err := writeNew(path, data[:len(data)/2], false); err != nil {
		return err
	}
	os.Remove(path)
	return fmt.Errorf("write %s: %w", path, syscall.ENOSPC)
}
