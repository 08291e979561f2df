package keyed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
	"github.com/zeebo/blake3"
)

const fenceName = "FENCE"

// fence says who may use the space: the run with that epoch, and of its
// openings the one with that number.
type fence struct {
	epoch   forestall.Epoch
	opening uint64
}

// A fence file is magic, version, three zero bytes, epoch and opening (8 bytes
// each), and 16 bytes of the BLAKE3 of what is before.
const (
	fenceMagic   = "FKFN"
	fenceVersion = 1
	fenceLen     = 8 + 8 + 8 + sumLen
)

func (f fence) encode() []byte {
	b := append([]byte(fenceMagic), fenceVersion, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.epoch))
	b = binary.LittleEndian.AppendUint64(b, f.opening)
	sum := blake3.Sum256(b)
	return append(b, sum[:sumLen]...)
}

func decodeFence(b []byte) (f fence, err error) {
	if len(b) != fenceLen || string(b[:4]) != fenceMagic || b[4] != fenceVersion {
		return f, errors.New("is not a fence of version 1")
	}
	if sum := blake3.Sum256(b[:fenceLen-sumLen]); string(sum[:sumLen]) != string(b[fenceLen-sumLen:]) {
		return f, errors.New("the checksum does not match")
	}
	return fence{forestall.Epoch(binary.LittleEndian.Uint64(b[8:])), binary.LittleEndian.Uint64(b[16:])}, nil
}

// readFence returns the space's fence; a space that was never opened has none.
// One that cannot be read is not taken for none.
func readFence(dir string) (fence, error) {
	path := filepath.Join(dir, fenceName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fence{}, nil
	}
	if err != nil {
		return fence{}, fmt.Errorf("read fence: %w", err)
	}
	f, err := decodeFence(b)
	if err != nil {
		return fence{}, fmt.Errorf("%w: %s %w; which runs are over is unknown: remove the file once none of them can be alive", ErrCorrupt, path, err)
	}
	return f, nil
}

// raise refuses an epoch below the fence, or makes the run with that epoch the
// one that may use the space. The caller holds the space's lock.
func raise(dir string, epoch forestall.Epoch) (fence, error) {
	f, err := readFence(dir)
	if err != nil {
		return f, err
	}
	if epoch < f.epoch {
		return f, fmt.Errorf("%w: epoch %s is over, the keyed state was opened with %s", forestall.ErrStaleEpoch, epoch, f.epoch)
	}
	f = fence{epoch, f.opening + 1}
	return f, replace(filepath.Join(dir, fenceName), f.encode())
}

// admitted refuses an opening of the space that another has followed.
func (l *Log) admitted() error {
	now, err := readFence(l.dir)
	if err != nil {
		return err
	}
	if now != l.fence {
		return fmt.Errorf("%w: the keyed state was opened again with epoch %s", forestall.ErrStaleEpoch, now.epoch)
	}
	return nil
}

// replace makes b the durable content of path in one step. The caller holds the
// lock.
func replace(path string, b []byte) error {
	tmp := path + tempSuffix
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a run that was killed
		return err
	}
	return durable.Replace(durable.OS{}, path, tmp, b)
}
