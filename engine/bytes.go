package engine

import (
	"math"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Bytes is a size that is written with its unit: "512MiB", "16GiB"; "0" is
// none. A bare number is an error, because its unit would be a guess. It is a
// struct for the same reason as Duration.
type Bytes struct{ N uint64 }

var byteUnits = []string{"B", "KiB", "MiB", "GiB", "TiB"}

// UnmarshalText reads a size; the error shows the accepted form, and is as that
// of Duration.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "0" {
		b.N = 0
		return nil
	}
	for i := len(byteUnits) - 1; i >= 0; i-- {
		digits, ok := strings.CutSuffix(s, byteUnits[i])
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || n > math.MaxInt64>>(10*i) {
			break
		}
		b.N = n << (10 * i)
		return nil
	}
	return unstable.NewParserError(text, `size %q is not one such as "512MiB" or "16GiB"`, s)
}

// MarshalText writes what UnmarshalText reads.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String returns the size in the largest unit that gives a whole number.
func (b Bytes) String() string {
	if b.N == 0 {
		return "0"
	}
	n, unit := b.N, 0
	for n%1024 == 0 && unit < len(byteUnits)-1 {
		n, unit = n/1024, unit+1
	}
	return strconv.FormatUint(n, 10) + byteUnits[unit]
}
