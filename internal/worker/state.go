package worker

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// StateFile is the worker's state in its state directory: magic, step (8 bytes,
// little endian), size (8 bytes), data, SHA-256 of all before.
const StateFile = "state"

const (
	stateMagic  = "FSTWRK01"
	stateHeader = len(stateMagic) + 16
	maxState    = 1 << 30
	maxSteps    = 1 << 33 // 13 years of the default pace, and half an hour to verify
)

// ErrCorrupt is wrapped when a state isn't what its number of steps makes it.
var ErrCorrupt = errors.New("corrupt worker state")

// state is the array after some steps. Step n hashes the result of step n-1,
// n and the block that it then replaces.
type state struct {
	step uint64
	data []byte // whole blocks of sha256.Size
}

func newState(size int) *state {
	return &state{data: make([]byte, max(1, size/sha256.Size)*sha256.Size)}
}

func (s *state) block(n uint64) []byte {
	i := int(n%uint64(len(s.data)/sha256.Size)) * sha256.Size
	return s.data[i : i+sha256.Size]
}

func (s *state) advance() {
	var in [2*sha256.Size + 8]byte
	copy(in[:], s.block(s.step))
	s.step++
	binary.LittleEndian.PutUint64(in[sha256.Size:], s.step)
	copy(in[sha256.Size+8:], s.block(s.step))
	sum := sha256.Sum256(in[:])
	copy(s.block(s.step), sum[:])
}

func (s *state) encode() []byte {
	b := make([]byte, 0, stateHeader+len(s.data)+sha256.Size)
	b = append(b, stateMagic...)
	b = binary.LittleEndian.AppendUint64(b, s.step)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s.data)))
	b = append(b, s.data...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// decodeState reads what encode wrote and repeats all its steps: about 0.1 µs
// each.
func decodeState(b []byte) (*state, error) {
	if len(b) < stateHeader+sha256.Size || string(b[:len(stateMagic)]) != stateMagic {
		return nil, fmt.Errorf("%w: %d bytes that don't begin with %s", ErrCorrupt, len(b), stateMagic)
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, fmt.Errorf("%w: its checksum differs", ErrCorrupt)
	}
	s := &state{
		step: binary.LittleEndian.Uint64(body[len(stateMagic):]),
		data: bytes.Clone(body[stateHeader:]),
	}
	if size := binary.LittleEndian.Uint64(body[len(stateMagic)+8:]); size != uint64(len(s.data)) || size == 0 || size%sha256.Size != 0 || size > maxState {
		return nil, fmt.Errorf("%w: %d bytes of data, its header says %d", ErrCorrupt, len(s.data), size)
	}
	if s.step > maxSteps {
		return nil, fmt.Errorf("%w: %d steps, at most %d can be", ErrCorrupt, s.step, uint64(maxSteps))
	}
	if err := s.verify(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *state) verify() error {
	again := newState(len(s.data))
	for again.step < s.step {
		again.advance()
	}
	if !bytes.Equal(again.data, s.data) {
		return fmt.Errorf("%w: its data are not those of %d steps", ErrCorrupt, s.step)
	}
	return nil
}

// Verify reads the state in a state directory, checks it against its own
// history and returns the number of steps in it. os.ErrNotExist means that
// there is none.
func Verify(dir string) (step uint64, err error) {
	s, err := loadState(filepath.Join(dir, StateFile))
	if err != nil {
		return 0, err
	}
	return s.step, nil
}

func loadState(path string) (*state, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := decodeState(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// save replaces the file at path by the state, atomically and durably.
func (s *state) save(path string) error {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	_, err = f.Write(s.encode())
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("save the state: %w", err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	return nil
}
