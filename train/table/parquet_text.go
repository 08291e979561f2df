package table

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/parquet-go/parquet-go/format"
)

// truths returns the values of false and true.
func (c *cursor) truths() []float64 {
	if c.words == nil {
		return []float64{0, 1}
	}
	return []float64{c.words.code([]byte("0")), c.words.code([]byte("1"))}
}

// written returns the code of a number's decimal text, all digits of whole ones.
func (c *cursor) written(bits uint64) float64 {
	var room [32]byte
	text := room[:0]
	switch {
	case c.kind == format.Float:
		text = strconv.AppendFloat(text, float64(math.Float32frombits(uint32(bits))), 'f', -1, 32)
	case c.kind == format.Double:
		text = strconv.AppendFloat(text, math.Float64frombits(bits), 'f', -1, 64)
	case c.kind == format.Int32 && c.unsigned:
		text = strconv.AppendUint(text, uint64(uint32(bits)), 10)
	case c.kind == format.Int32:
		text = strconv.AppendInt(text, int64(int32(bits)), 10)
	case c.unsigned:
		text = strconv.AppendUint(text, bits, 10)
	default:
		text = strconv.AppendInt(text, int64(bits), 10)
	}
	return c.words.code(text)
}

// said returns what stands for a text: its code or, of a time that is text, its
// value; where it is none, an infinite one.
func (c *cursor) said(text []byte) float64 {
	if c.times == nil {
		return c.words.code(text)
	}
	v, err := c.times.parse(text)
	if err != nil {
		return math.Inf(1)
	}
	return v
}

// textHead is the length in front of a text.
const textHead = 4

// plainTexts holds texts one after the other, each behind its length.
type plainTexts struct {
	text []byte
	said func(text []byte) float64
}

func (d *plainTexts) decode(dst []float64) error {
	for i := range dst {
		if len(d.text) < textHead {
			return errPageEnds
		}
		n := binary.LittleEndian.Uint32(d.text)
		if int64(n) > int64(len(d.text)-textHead) {
			return errPageEnds
		}
		dst[i] = d.said(d.text[textHead : textHead+n])
		d.text = d.text[textHead+n:]
	}
	return nil
}

// deltaTexts holds the lengths of all texts, then the texts.
type deltaTexts struct {
	lengths *delta
	text    []byte
	said    func(text []byte) float64
	some    [512]float64
}

func newDeltaTexts(text []byte, rows int, said func(text []byte) float64) (*deltaTexts, error) {
	if len(text) == 0 { // all values are null
		return &deltaTexts{lengths: &delta{}, said: said}, nil
	}
	length := func(bits uint64) float64 { return float64(int64(bits)) }
	d := &deltaTexts{said: said}
	// The texts begin where the lengths end, which reading them tells.
	ahead, err := newDelta(text, length)
	if err != nil {
		return nil, err
	}
	if ahead.total > rows {
		return nil, fmt.Errorf("%d lengths of texts in a page of %d values", ahead.total, rows)
	}
	for ahead.total > 0 {
		if err := ahead.decode(d.some[:min(len(d.some), ahead.total)]); err != nil {
			return nil, err
		}
	}
	d.text = ahead.text
	d.lengths, err = newDelta(text, length)
	return d, err
}

func (d *deltaTexts) decode(dst []float64) error {
	for len(dst) > 0 {
		lengths := d.some[:min(len(d.some), len(dst))]
		if err := d.lengths.decode(lengths); err != nil {
			return err
		}
		for i, n := range lengths {
			if !(n >= 0 && n <= float64(len(d.text))) {
				return errPageEnds
			}
			dst[i] = d.said(d.text[:int(n)])
			d.text = d.text[int(n):]
		}
		dst = dst[len(lengths):]
	}
	return nil
}
