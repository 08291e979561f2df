package train

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// exact10 holds the powers of ten that a float64 represents exactly.
var exact10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// shortNumber reads the number at the start of text when it is a plain decimal
// whose digits fit into 53 bits and a comma or the end follows it: then one
// division of two exact numbers is the nearest float64 (Clinger 1990). It
// returns the number's length; ok is false for everything else, right or wrong.
func shortNumber(text []byte) (v float64, n int, ok bool) {
	negative := text[0] == '-'
	if negative {
		n = 1
	}
	var digits uint64
	first, point := n, -1
	for ; n < len(text) && text[n] != ','; n++ {
		c := text[n] - '0'
		switch {
		case c <= 9:
			digits = digits*10 + uint64(c)
		case text[n] == '.' && point < 0:
			point = n
		default:
			return 0, 0, false
		}
	}
	count, decimals := n-first, 0
	if point >= 0 {
		count--
		decimals = n - point - 1
	}
	if count == 0 || count > 18 || digits >= 1<<53 {
		return 0, 0, false
	}
	v = float64(digits) / exact10[decimals]
	if negative {
		v = -v
	}
	return v, n, true
}

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
	s := string(cell)
	v, err := strconv.ParseFloat(s, 64)
	switch {
	case math.IsInf(v, 0):
		return 0, fmt.Errorf("%.40q is infinite; write a missing value as an empty cell", s)
	case err != nil || strings.ContainsAny(s, "xXpP_"):
		return 0, fmt.Errorf("%.40q is not a number; missing is an empty cell, NA or nan", s)
	case v != v: // +nan and the like
		return 0, errors.New("a signed nan; missing is an empty cell, NA or nan")
	}
	return v, nil
}
