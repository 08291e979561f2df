package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// slack is how many bytes must be readable after the text of a chunk: number
// looks ahead.
const slack = 40

// exact10 holds the powers of ten that a float64 represents exactly; its length
// is one of two, which spares checks.
var exact10 = [32]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// whole10 holds powers of ten as whole numbers.
var whole10 = [8]uint64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7}

// number reads the plain decimal number at the start of text: up to 15 digits
// and, after a point, up to 15 more, that make a whole number below 2^53. One
// division of two exact numbers is then the nearest float64 (Clinger 1990). It
// returns the number's length, and 0 for everything else, right or wrong. slack
// bytes can be read; what follows the number is the caller's to judge.
//
// Digits before a point are few; those after it are read eight at a time. The
// sign takes no jump: it is as good as random, and a jump that was foretold
// wrongly takes longer than the arithmetic.
func number(text []byte) (v float64, n int) {
	minus := int((uint32(text[0]^'-') - 1) >> 31)
	text = text[minus:]
	m := uint64(text[0] - '0')
	if m > 9 {
		return 0, 0
	}
	n = 1
	for ; text[n] != '.'; n++ {
		c := uint64(text[n] - '0')
		if c > 9 {
			return signed(float64(m), minus), minus + n
		}
		if n == 15 {
			return 0, 0
		}
		m = m*10 + c
	}
	tail := text[n+1:]
	d := binary.LittleEndian.Uint64(tail) ^ 0x3030303030303030 // digits are 0 to 9
	other := (d&0x7f7f7f7f7f7f7f7f + 0x7676767676767676 | d) & 0x8080808080808080
	decimals := 8
	if other != 0 {
		decimals = bits.TrailingZeros64(other) >> 3
		m = m*whole10[decimals&7] + value(d, decimals)
	} else {
		m = m*1e8 + value(d, 8)
		for ; decimals < 16; decimals++ {
			c := uint64(tail[decimals] - '0')
			if c > 9 {
				break
			}
			m = m*10 + c
		}
	}
	if n+decimals > 18 || m >= 1<<53 || decimals == 16 {
		return 0, 0
	}
	return signed(float64(m)/exact10[decimals&31], minus), minus + n + 1 + decimals
}

// value returns the number that the n lowest bytes of d write, the first of them
// its highest digit. Three multiplications join neighbours to pairs, to fours, to
// eight.
func value(d uint64, n int) uint64 {
	d <<= 64 - 8*uint(n) // zeros in front
	d = d*10 + d>>8
	const mask = 0x000000ff000000ff
	return (d&mask*(100+1000000<<32) + d>>16&mask*(1+10000<<32)) >> 32
}

func signed(v float64, minus int) float64 {
	return math.Float64frombits(math.Float64bits(v) | uint64(minus)<<63)
}

// NotNumber is that a column which is to hold numbers holds something else, by
// its type or in a cell.
type NotNumber struct {
	Column string
	text   string
}

func (e *NotNumber) Error() string { return e.text }

// parseNumber reads a cell: a finite decimal number, or missing (empty, NA,
// nan), which is NaN.
func parseNumber(cell []byte) (float64, error) {
	cell = bytes.TrimSpace(cell)
	switch len(cell) {
	case 0:
		return missing, nil
	case 2, 3:
		if s := strings.ToLower(string(cell)); s == "na" || s == "nan" {
			return missing, nil
		}
	}
	v, err := strconv.ParseFloat(string(cell), 64)
	switch {
	case math.IsInf(v, 0):
		return 0, fmt.Errorf("%.40q is infinite; write a missing value as an empty cell", cell)
	case err != nil && bytes.IndexByte(cell, '\n') >= 0:
		return 0, fmt.Errorf("%.40q goes over the end of a line; is a quote never closed?", cell)
	case err != nil || bytes.ContainsAny(cell, "xXpP_"):
		return 0, &NotNumber{text: fmt.Sprintf("%.40q is not a number; missing is an empty cell, NA or nan", cell)}
	case v != v: // +nan and the like
		return 0, errors.New("a signed nan; missing is an empty cell, NA or nan")
	}
	return v, nil
}
