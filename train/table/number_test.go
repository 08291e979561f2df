package table

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// padded returns text with what may be read behind it.
func padded(text string, behind byte) []byte {
	b := make([]byte, len(text)+slack)
	copy(b, text)
	for i := len(text); i < len(b); i++ {
		b[i] = behind
	}
	return b
}

// checkNumber compares number with strconv on what it took for a number.
func checkNumber(t *testing.T, text string, behind byte) (read bool) {
	t.Helper()
	v, n := number(padded(text, behind))
	if n == 0 {
		return false
	}
	took := (text + strings.Repeat(string(behind), slack))[:n]
	want, err := strconv.ParseFloat(took, 64)
	if err != nil || math.Float64bits(v) != math.Float64bits(want) {
		t.Errorf("%q: %q is %v, want %v, %v", text, took, v, want, err)
	}
	return true
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "-0": true, "7": true, "1234567": true, "-123456789012345": true, "1234567890123456": false, "1.": true,
		".5": false, ".": false, "-": false, "-.": false, "": false, "+1": false, "x": false, "--1": false, "1.2.3": true,
		"1234567.12345678": true, "1234567.123456789": true, "12345.1234567890": true, "0.123456789012345": true,
		"0.1234567890123456": false, "123456789012345.123": false, "0.000000000000001": true, "9.00719925474099": true,
		"9.007199254740991": true, "9.007199254740992": false, "0.00000000": true,
	} {
		if got := checkNumber(t, text, ','); got != want {
			t.Errorf("%q: read %v, want %v", text, got, want)
		}
	}
	rng := rand.New(rand.NewPCG(7, 8))
	for range 100_000 {
		v := rng.NormFloat64() * math.Pow(10, float64(rng.IntN(16)-8))
		checkNumber(t, strconv.FormatFloat(v, 'g', 1+rng.IntN(16), 64), ',')
		checkNumber(t, strconv.FormatFloat(v, 'f', rng.IntN(16), 64), '\n')
		checkNumber(t, strconv.FormatInt(int64(v), 10), '\r')
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"1", "-0.5", ".", "1.", "123456789012345678", "9007199254740993", "-", "1e5", "00000000000000000000001", "0.1,2"} {
		f.Add(s, byte(','))
	}
	f.Fuzz(func(t *testing.T, s string, behind byte) { checkNumber(t, s, behind) })
}

// BenchmarkNumber reads numbers of six significant digits, as %g prints them.
func BenchmarkNumber(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 10))
	texts := make([][]byte, 4096)
	size := 0
	for i := range texts {
		text := strconv.FormatFloat(rng.NormFloat64()*math.Pow(10, float64(i%5-2)), 'g', 6, 64)
		texts[i] = padded(text, ',')
		size += len(text)
	}
	b.SetBytes(int64(size / len(texts)))
	for i := 0; b.Loop(); i++ {
		number(texts[i%len(texts)])
	}
}
