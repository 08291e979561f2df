package train

import "math"

// expTable holds 2^(i/64).
var expTable = func() (t [64]float64) {
	for i := range t {
		t[i] = math.Exp2(float64(i) / 64)
	}
	return t
}()

// sigmoid returns 1/(1+e^-x) to 1e-10 of its value, for x of at most 700 either
// way, in half the time that math.Exp takes: gradients are rounded to 24 bits
// anyway. e^-x is 2^(n/64) times a cubic polynomial of what is left
// (Tang 1989).
func sigmoid(x float64) float64 {
	const (
		perLn2  = 64 / math.Ln2
		ln2     = math.Ln2 / 64
		shifter = 3 << 51 // adding it leaves the whole number in the low bits
	)
	if x = -x; math.Abs(x) > 700 {
		x = math.Copysign(700, x)
	}
	shifted := x*perLn2 + shifter
	n := int64(math.Float64bits(shifted)) // its low bits
	r := x - (shifted-shifter)*ln2
	p := 1 + r*(1+r*(0.5+r*(1.0/6)))
	scale := math.Float64frombits(uint64(n>>6+1023) << 52)
	return 1 / (1 + p*expTable[n&63]*scale)
}
