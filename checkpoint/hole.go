package checkpoint

import (
	"bytes"
	"fmt"
)

// Holes of files are not read: they are extents of one chunk of zeros. What is
// restored has holes where there are zeros.

// zeroChunk is how long that chunk is.
const zeroChunk = 4 << 20

// largestHole is 64 TiB: 16 million extents.
const largestHole = maxTree / 16 * zeroChunk

// zeros returns n bytes of zeros as extents.
func (p *patcher) zeros(n int64) ([]extent, error) {
	if n > largestHole {
		return nil, fmt.Errorf("%w: a hole of %d bytes, at most %d are possible; keep the file outside of what is saved", ErrTooLarge, n, int64(largestHole))
	}
	if p.zero == nil {
		h, err := p.b.add(make([]byte, zeroChunk))
		if err != nil {
			return nil, err
		}
		x := whole(ref{h, zeroChunk})
		p.zero = &x
	}
	out := make([]extent, 0, n/zeroChunk+1)
	for ; n > 0; n -= zeroChunk {
		x := *p.zero
		x.length = uint32(min(n, zeroChunk))
		out = append(out, x)
	}
	return out, nil
}

// withoutShort joins the ranges of data of a file where less than least bytes are
// between them, or between them and its ends.
func withoutShort(data []PageRange, size, least int64) []PageRange {
	var out []PageRange
	at := int64(0) // where the last one ends
	for _, r := range data {
		switch n := len(out); {
		case r.Offset-at >= least:
			out = append(out, r)
		case n == 0:
			out = append(out, PageRange{0, r.end()})
		default:
			out[n-1].Length = r.end() - out[n-1].Offset
		}
		at = r.end()
	}
	if n := len(out); n == 0 && size < least {
		out = append(out, PageRange{0, size})
	} else if n > 0 && size-at < least {
		out[n-1].Length = size - out[n-1].Offset
	}
	return out
}

// holeSize is what a restore leaves out, in steps of as much, if it is all zeros.
const holeSize = 64 << 10

var zeroBlock [holeSize]byte

// eachFilled calls do for the parts of b, which belongs at at of a file, that are
// not blocks of zeros.
func eachFilled(b []byte, at int64, do func(b []byte, at int64) error) error {
	for len(b) > 0 {
		n, zeros := 0, false
		for n < len(b) {
			step := min(len(b)-n, holeSize-int((at+int64(n))%holeSize))
			is := bytes.Equal(b[n:n+step], zeroBlock[:step])
			if n > 0 && is != zeros {
				break
			}
			zeros = is
			n += step
		}
		if !zeros {
			if err := do(b[:n], at); err != nil {
				return err
			}
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}
