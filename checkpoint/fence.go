package checkpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/stratoswarm/forestall"
)

// A fence file is magic, version (1 byte), epoch (8 bytes, little endian) and
// CRC-32C of what is before and the workload's name, so that no workload's fence
// is taken for another's. In version 1 the name was left out.
const (
	fenceMagic   = "FFNC"
	fenceVersion = 2
	fenceLen     = 4 + 1 + 8 + 4
)

func encodeFence(workload string, e forestall.Epoch) []byte {
	b := append([]byte(fenceMagic), fenceVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(e))
	return binary.LittleEndian.AppendUint32(b, fenceSum(b, workload))
}

func fenceSum(b []byte, workload string) uint32 {
	return crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, []byte(workload))
}

func decodeFence(workload string, b []byte) (forestall.Epoch, error) {
	if len(b) != fenceLen || string(b[:4]) != fenceMagic || b[4] < 1 || b[4] > fenceVersion {
		return 0, errors.New("is not a fence of version 1 or 2")
	}
	if b[4] == 1 {
		workload = ""
	}
	if binary.LittleEndian.Uint32(b[13:]) != fenceSum(b[:13], workload) {
		return 0, errors.New("checksum does not match")
	}
	return forestall.Epoch(binary.LittleEndian.Uint64(b[5:])), nil
}

// loadFences reads every fence. One that cannot be read is not taken for zero:
// its workload is refused until an operator has looked.
func (d *Dir) loadFences() error {
	dir := filepath.Join(d.path, fenceDir)
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list fences: %w", err)
	}
	for _, e := range names {
		path := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read fence %s: %w", path, err)
		}
		l := d.lane(e.Name())
		fence, err := decodeFence(e.Name(), b)
		l.fence = max(l.fence, fence)
		if err != nil {
			l.bad = corrupt(path, "%v; which epochs of the workload are over is unknown: remove the file once no old run of it can be alive", err)
			d.opt.Logger.Error("fence cannot be read", "error", l.bad)
		}
	}
	return nil
}

// Fence makes the store refuse checkpoints of workload with an epoch lower
// than e. It is durable before Fence returns. Raising to the present fence is
// done already; a lower e wraps [forestall.ErrStaleEpoch].
func (d *Dir) Fence(ctx context.Context, workload string, e forestall.Epoch) error {
	if err := forestall.CheckName(workload); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("fence %s at epoch %s: %w", workload, e, err)
	}
	l := d.lane(workload)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admit(workload, e); err != nil {
		return err
	}
	if e == l.fence {
		return nil
	}
	if err := d.replace(filepath.Join(d.path, fenceDir, workload), encodeFence(workload, e)); err != nil {
		return fmt.Errorf("fence %s at epoch %s: %w", workload, e, err)
	}
	if err := d.catalogue.note(true, record{recordFence, nameHash(workload), e}); err != nil {
		return fmt.Errorf("fence %s at epoch %s: %w", workload, e, d.diskFull(err))
	}
	l.fence = e
	return nil
}

// Fenced returns the lowest epoch of workload that the store accepts; 0 when
// it was never fenced. An unreadable fence wraps [ErrCorrupt].
func (d *Dir) Fenced(workload string) (forestall.Epoch, error) {
	l := d.lane(workload)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fence, l.bad
}

// admit refuses epochs below the fence. The caller holds l.mu.
func (l *lane) admit(workload string, e forestall.Epoch) error {
	if l.bad != nil {
		return l.bad
	}
	if e < l.fence {
		return fmt.Errorf("%w: epoch %s of workload %q is over, the store is fenced at %s", forestall.ErrStaleEpoch, e, workload, l.fence)
	}
	return nil
}
