package storetest

import (
	"fmt"
	"io"
	"slices"
	"syscall"
)

// readKinds are what may happen to the reading of a file.
var readKinds = []struct {
	name   string
	weight int
}{
	{"read error", 35}, // EIO
	{"short read", 30}, // the file seems to end early
	{"flipped bit", 35},
}

// ReadAt reads a file of a store that is a directory, or does what was drawn
// instead. Faults pass: what was just hit is given rightly the next time, so
// that whoever reads twice before condemning anything loses nothing.
func (f *Faults) ReadAt(path string, b []byte, at int64, read func([]byte, int64) (int, error)) (int, error) {
	kind, place := f.drawRead(fmt.Sprint(path, "@", at))
	if kind == "read error" {
		return 0, fmt.Errorf("%w: %w", errInjected, syscall.EIO)
	}
	n, err := read(b, at)
	if n == 0 {
		return n, err
	}
	switch kind {
	case "short read":
		return int(place % uint64(n)), io.EOF
	case "flipped bit":
		b[place%uint64(n)] ^= 1 << (place >> 32 % 8)
	}
	return n, err
}

func (f *Faults) drawRead(where string) (kind string, place uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.hit, where); i >= 0 {
		f.hit = slices.Delete(f.hit, i, i+1)
		return "", 0
	}
	if f.share == 0 || f.rng.Float64() >= f.share {
		return "", 0
	}
	n := f.rng.IntN(100)
	for _, k := range readKinds {
		if n -= k.weight; n < 0 {
			f.hits[k.name]++
			f.hit = append(f.hit, where)
			return k.name, f.rng.Uint64()
		}
	}
	panic("the weights do not add up to 100")
}
