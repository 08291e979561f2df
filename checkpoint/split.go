package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Memory often has pages that do not compress between pages that do. A
// compressor that meets the former in every block loses time and some of the
// latter's ratio, so each page is sampled, and only those that promise to
// shrink are compressed, all of a chunk's together.

const splitPage = 4 << 10

// pageMap says which pages of a content are kept as they are. The first is what
// is before the first page boundary.
type pageMap struct {
	first  int    // bytes of the first page
	length int    // of the content
	bits   []byte // 1: raw
	raw    int    // pages
}

func (m pageMap) count() int {
	return (m.length-m.first+splitPage-1)/splitPage + 1
}

// bounds returns where page i lies.
func (m pageMap) bounds(i int) (from, to int) {
	if i == 0 {
		return 0, m.first
	}
	from = m.first + (i-1)*splitPage
	return from, min(from+splitPage, m.length)
}

func (m pageMap) isRaw(i int) bool { return m.bits[i/8]>>(i%8)&1 == 1 }

// split samples the pages of content, which begins phase bytes into one.
func split(content []byte, phase int) pageMap {
	m := pageMap{first: min(splitPage-phase%splitPage, len(content)), length: len(content)}
	n := m.count()
	m.bits = make([]byte, (n+7)/8)
	for i := range n {
		from, to := m.bounds(i)
		if incompressible(content[from:to]) {
			m.bits[i/8] |= 1 << (i % 8)
			m.raw++
		}
	}
	return m
}

// samples is how many bytes of a page are looked at.
const samples = 192

// incompressible reports whether the bytes of a page are spread about as evenly
// as random ones: of 192 sampled, random bytes make 71.6 equal pairs on average
// with a standard deviation of 8.4; what has 5 deviations more is worth
// compressing. Repetitions of random-looking data escape it.
func incompressible(page []byte) bool {
	const most = 113
	if len(page) < 2*samples {
		return false
	}
	var seen [256]uint8
	pairs, step := 0, len(page)/samples
	for i := range samples {
		b := page[i*step]
		pairs += int(seen[b])
		seen[b]++
	}
	return pairs <= most
}

// gather appends the raw or the other pages of content to dst.
func (m pageMap) gather(dst, content []byte, raw bool) []byte {
	for i := range m.count() {
		if m.isRaw(i) == raw {
			from, to := m.bounds(i)
			dst = append(dst, content[from:to]...)
		}
	}
	return dst
}

// scatter fills dst from the pages that gather took apart.
func (m pageMap) scatter(dst, plain, raw []byte) []byte {
	for i := range m.count() {
		from, to := m.bounds(i)
		part := &plain
		if m.isRaw(i) {
			part = &raw
		}
		copy(dst[from:to], *part)
		*part = (*part)[to-from:]
	}
	return dst
}

func (m pageMap) rawBytes() (n int) {
	for i := range m.count() {
		if m.isRaw(i) {
			from, to := m.bounds(i)
			n += to - from
		}
	}
	return n
}

// append encodes the map.
func (m pageMap) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(m.first))
	return append(b, m.bits...)
}

// readSplit takes the map of a content of length bytes off the front of b.
func readSplit(b []byte, length int) (m pageMap, rest []byte, err error) {
	if len(b) < 2 {
		return m, nil, errors.New("is cut off")
	}
	m.first, m.length = int(binary.LittleEndian.Uint16(b)), length
	if m.first == 0 || m.first > min(splitPage, length) {
		return m, nil, fmt.Errorf("has a first page of %d bytes", m.first)
	}
	n := (m.count() + 7) / 8
	if len(b) < 2+n {
		return m, nil, errors.New("is cut off")
	}
	m.bits = b[2 : 2+n]
	return m, b[2+n:], nil
}
