package checkpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
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
	if fenceOfV1(b) {
		workload = ""
	}
	if binary.LittleEndian.Uint32(b[13:]) != fenceSum(b[:13], workload) {
		return 0, errors.New("checksum does not match")
	}
	return forestall.Epoch(binary.LittleEndian.Uint64(b[5:])), nil
}

func fenceOfV1(b []byte) bool { return b[4] == 1 }

// loadFences reads every fence. Those of a store of version 1 are written anew. One that cannot be read is not taken for zero:
// its workload is refused until an operator has looked.
func (d *Dir) loadFences(version int, known stock) error {
	dir := filepath.Join(d.path, fenceDir)
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list fences: %w", err)
	}
	vanished := maps.Clone(known.fences)
	for _, e := range names {
		delete(vanished, nameHash(e.Name()))
		path := filepath.Join(dir, e.Name())
		l := d.lane(e.Name())
		var fence forestall.Epoch
		b, err := d.read(path)
		if err == nil {
			fence, err = decodeFence(e.Name(), b)
		}
		if err == nil && fenceOfV1(b) {
			if version == 2 {
				err = errors.New("is of version 1 in a store of version 2")
			} else if err := d.replace(path, encodeFence(e.Name(), fence)); err != nil {
				return err
			}
		}
		if err == nil && known.read && fence != l.fence {
			d.opt.Logger.Warn("fence differs from the catalogue; the higher one counts", "path", path, "fence", fence, "catalogue", l.fence)
		}
		l.fence = max(l.fence, fence)
		if err != nil {
			l.bad = corrupt(path, "%v; which epochs of the workload are over is unknown: remove the file once no old run of it can be alive", err)
			d.opt.Logger.Error("fence cannot be read", "error", l.bad)
		}
	}
	if len(vanished) > 0 {
		d.opt.Logger.Error("fences have vanished; those of the catalogue count", "path", dir, "fences", len(vanished))
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
	if err := d.takeBack(l); err != nil {
		return fmt.Errorf("fence %s at epoch %s: %w", workload, e, err)
	}
	if err := d.replace(filepath.Join(d.path, fenceDir, workload), encodeFence(workload, e)); err != nil {
		return fmt.Errorf("fence %s at epoch %s: %w", workload, e, err)
	}
	if err := d.catalogue.note(true, record{recordFence, nameHash(workload), uint64(e)}); err != nil {
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
