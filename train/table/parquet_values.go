package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/parquet-go/parquet-go/format"
)

// oldDictionary is PLAIN_DICTIONARY, which is deprecated and still written.
const oldDictionary format.Encoding = 2

// decoder reads on the values of a page that are not null. Its input is what the
// file says: whatever that is, a decoder fails rather than read beyond it.
type decoder interface {
	decode(dst []float64) error
}

// errPageEnds says that a page holds fewer values than its header says.
var errPageEnds = errors.New("the page ends too early")

// decoder returns the decoder of the values in text, at most rows of them.
func (c *cursor) decoder(rows int, encoding format.Encoding, text []byte) (decoder, error) {
	whole := c.kind == format.Int32 || c.kind == format.Int64
	switch {
	case encoding == format.Plain:
		return c.plain(text), nil
	case encoding == oldDictionary || encoding == format.RLEDictionary:
		if c.dict == nil {
			return nil, errors.New("its dictionary is missing")
		}
		if len(text) == 0 { // all values are null
			return &indexed{dict: c.dict}, nil
		}
		if text[0] > 32 {
			return nil, fmt.Errorf("its indexes have %d bits", text[0])
		}
		return &indexed{dict: c.dict, index: hybrid{text: text[1:], width: uint(text[0])}}, nil
	case encoding == format.RLE && c.kind == format.Boolean:
		if len(text) < 4 || uint64(binary.LittleEndian.Uint32(text)) > uint64(len(text)-4) {
			return nil, errPageEnds
		}
		return &indexed{dict: c.truths(), index: hybrid{text: text[4:], width: 1}}, nil
	case encoding == format.DeltaLengthByteArray && c.kind == format.ByteArray:
		return newDeltaTexts(text, rows, c.said)
	case encoding == format.DeltaBinaryPacked && whole:
		return newDelta(text, c.number())
	case encoding == format.ByteStreamSplit && widthOf(c.kind) > 0:
		return &split{text: text, width: widthOf(c.kind), number: c.number()}, nil
	}
	return nil, fmt.Errorf("values of type %v are encoded as %v, which is not supported", c.kind, encoding)
}

// widthOf returns the bytes of a value, 0 for booleans and texts.
func widthOf(kind format.Type) int {
	switch kind {
	case format.Int32, format.Float:
		return 4
	case format.Int64, format.Double:
		return 8
	}
	return 0
}

// leastSize returns the bytes that a value takes at least, 0 for booleans.
func (c *cursor) leastSize() int {
	switch c.kind {
	case format.ByteArray:
		return textHead
	case format.Int96:
		return size96
	}
	return widthOf(c.kind)
}

// number returns what turns the bits of a value into a number, or into the code
// of its text.
func (c *cursor) number() func(bits uint64) float64 {
	switch {
	case c.words != nil:
		return c.written
	case c.times != nil && c.tick > 0:
		return c.times.ticks(c.tick, c.kind)
	case c.kind == format.Float:
		return func(bits uint64) float64 { return float64(math.Float32frombits(uint32(bits))) }
	case c.kind == format.Double:
		return math.Float64frombits
	case c.kind == format.Int32 && c.unsigned:
		return func(bits uint64) float64 { return float64(uint32(bits)) }
	case c.kind == format.Int32:
		return func(bits uint64) float64 { return float64(int32(bits)) }
	case c.unsigned:
		return func(bits uint64) float64 { return float64(bits) }
	}
	return func(bits uint64) float64 { return float64(int64(bits)) }
}

// plain returns the decoder of values that lie one after the other.
func (c *cursor) plain(text []byte) decoder {
	if c.kind == format.Boolean {
		return &indexed{dict: c.truths(), index: hybrid{packed: text, run: 8 * len(text), width: 1}}
	}
	if c.kind == format.ByteArray {
		return &plainTexts{text, c.said}
	}
	if c.kind == format.Int96 {
		return &plain96{text, c.times}
	}
	return &plain{text: text, width: widthOf(c.kind), number: c.number(), double: c.kind == format.Double && c.words == nil}
}

type plain struct {
	text   []byte
	width  int
	number func(uint64) float64
	double bool
}

func (d *plain) decode(dst []float64) error {
	if len(dst) > len(d.text)/d.width {
		return errPageEnds
	}
	text := d.text[:len(dst)*d.width]
	d.text = d.text[len(text):]
	switch {
	case d.double:
		for i := range dst {
			dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(text[8*i:]))
		}
	case d.width == 8:
		for i := range dst {
			dst[i] = d.number(binary.LittleEndian.Uint64(text[8*i:]))
		}
	default:
		for i := range dst {
			dst[i] = d.number(uint64(binary.LittleEndian.Uint32(text[4*i:])))
		}
	}
	return nil
}

// indexed holds indexes of a dictionary.
type indexed struct {
	dict  []float64
	index hybrid
	at    [512]uint32
}

func (d *indexed) decode(dst []float64) error {
	for len(dst) > 0 {
		at := d.at[:min(len(d.at), len(dst))]
		if err := d.index.read(at); err != nil {
			return err
		}
		for i, k := range at {
			if int(k) >= len(d.dict) {
				return fmt.Errorf("an index of %d in a dictionary of %d values", k, len(d.dict))
			}
			dst[i] = d.dict[k]
		}
		dst = dst[len(at):]
	}
	return nil
}

// split holds the first bytes of all values, then the second bytes, and so on.
type split struct {
	text   []byte
	width  int
	at     int
	number func(uint64) float64
}

func (d *split) decode(dst []float64) error {
	n := len(d.text) / d.width
	if len(dst) > n-d.at {
		return errPageEnds
	}
	for i := range dst {
		bits := uint64(0)
		for k := range d.width {
			bits |= uint64(d.text[k*n+d.at+i]) << (8 * k)
		}
		dst[i] = d.number(bits)
	}
	d.at += len(dst)
	return nil
}

// hybrid holds small whole numbers, each run of them either one number and how
// often it occurs or numbers of a few bits packed together.
type hybrid struct {
	text   []byte // runs to come
	width  uint   // bits of a number, at most 32
	run    int    // numbers left in this one
	packed []byte // its numbers; nil: all are value
	bit    int    // of packed, where the next number starts
	value  uint32
}

func (h *hybrid) read(dst []uint32) error {
	if h.width == 0 {
		clear(dst)
		return nil
	}
	for len(dst) > 0 {
		if h.run == 0 {
			if err := h.next(); err != nil {
				return err
			}
			continue
		}
		n := min(h.run, len(dst))
		if h.packed == nil {
			for i := range dst[:n] {
				dst[i] = h.value
			}
		} else {
			for i := range dst[:n] {
				dst[i] = uint32(bitsAt(h.packed, h.bit, h.width))
				h.bit += int(h.width)
			}
		}
		h.run -= n
		dst = dst[n:]
	}
	return nil
}

// next starts the next run.
func (h *hybrid) next() error {
	head, n := binary.Uvarint(h.text)
	if n <= 0 {
		return errPageEnds
	}
	h.text = h.text[n:]
	if head>>1 > maxGroupRows {
		return fmt.Errorf("a run of %d", head>>1)
	}
	if head&1 == 0 {
		bytes := int(h.width+7) / 8
		if len(h.text) < bytes {
			return errPageEnds
		}
		h.packed, h.run, h.value = nil, int(head>>1), 0
		for i, b := range h.text[:bytes] {
			h.value |= uint32(b) << (8 * i)
		}
		h.text = h.text[bytes:]
		return nil
	}
	// Eights of numbers; the last may be cut off where no more are needed.
	bytes := min(int(head>>1)*int(h.width), len(h.text))
	h.packed, h.bit = h.text[:bytes:bytes], 0
	h.run = min(int(head>>1)*8, bytes*8/int(h.width))
	h.text = h.text[bytes:]
	return nil
}

// bitsAt returns width bits, at most 64, of text from the given one on. They are
// in it.
func bitsAt(text []byte, bit int, width uint) uint64 {
	if width == 0 {
		return 0
	}
	at, shift := bit>>3, uint(bit&7)
	var low, high uint64
	if at+9 <= len(text) {
		low, high = binary.LittleEndian.Uint64(text[at:]), uint64(text[at+8])
	} else {
		var rest [9]byte
		copy(rest[:], text[at:])
		low, high = binary.LittleEndian.Uint64(rest[:]), uint64(rest[8])
	}
	return (low>>shift | high<<1<<(63-shift)) & (math.MaxUint64 >> (64 - width))
}

// delta holds the differences of neighbours, packed in blocks: each block has a
// smallest difference, and each of its parts a width of the bits above that.
type delta struct {
	text   []byte
	number func(uint64) float64
	parts  int // of a block
	size   int // numbers of a part
	total  int // numbers left
	last   uint64
	first  bool // last is still to be returned

	least  uint64
	widths []byte // of the parts to come of this block
	packed []byte // of this part
	bit    int
	width  uint
	run    int // numbers left in this part
}

func newDelta(text []byte, number func(uint64) float64) (*delta, error) {
	d := &delta{text: text, number: number, first: true}
	var head [4]uint64 // numbers of a block, its parts, numbers in all, the first
	for i := range head {
		v, n := binary.Uvarint(d.text)
		if n <= 0 {
			return nil, errPageEnds
		}
		head[i] = v
		d.text = d.text[n:]
	}
	if head[1] == 0 || head[0] > 1<<20 || head[0]%head[1] != 0 || head[0]/head[1]%8 != 0 || head[0] == 0 || head[2] > maxGroupRows {
		return nil, fmt.Errorf("blocks of %d numbers in %d parts, %d in all", head[0], head[1], head[2])
	}
	d.parts, d.size, d.total, d.last = int(head[1]), int(head[0]/head[1]), int(head[2]), unzigzag(head[3])
	return d, nil
}

func unzigzag(v uint64) uint64 { return v>>1 ^ -(v & 1) }

func (d *delta) decode(dst []float64) error {
	if len(dst) > d.total {
		return errPageEnds
	}
	d.total -= len(dst)
	for i := range dst {
		if d.first {
			d.first = false
		} else {
			if d.run == 0 {
				if err := d.next(); err != nil {
					return err
				}
			}
			d.last += d.least + bitsAt(d.packed, d.bit, d.width)
			d.bit += int(d.width)
			d.run--
		}
		dst[i] = d.number(d.last)
	}
	return nil
}

// next starts the next part.
func (d *delta) next() error {
	if len(d.widths) == 0 {
		least, n := binary.Uvarint(d.text)
		if n <= 0 || len(d.text)-n < d.parts {
			return errPageEnds
		}
		d.least = unzigzag(least)
		d.widths = d.text[n : n+d.parts]
		d.text = d.text[n+d.parts:]
	}
	d.width = uint(d.widths[0])
	d.widths = d.widths[1:]
	if d.width > 64 {
		return fmt.Errorf("differences of %d bits", d.width)
	}
	bytes := d.size / 8 * int(d.width)
	if bytes > len(d.text) {
		return errPageEnds
	}
	d.packed, d.bit, d.run = d.text[:bytes:bytes], 0, d.size
	d.text = d.text[bytes:]
	return nil
}
