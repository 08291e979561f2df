package model

import "math"

// width is how many points of a quadrature are handled at once.
const width = 4

// vector holds one number for each of them. Go keeps a struct of four numbers in
// registers, and an array not.
type vector struct{ a, b, c, d float64 }

func (v vector) add(u vector) vector { return vector{v.a + u.a, v.b + u.b, v.c + u.c, v.d + u.d} }

func (v vector) sub(u vector) vector { return vector{v.a - u.a, v.b - u.b, v.c - u.c, v.d - u.d} }

func (v vector) mul(u vector) vector    { return vector{v.a * u.a, v.b * u.b, v.c * u.c, v.d * u.d} }
func (v vector) times(x float64) vector { return vector{v.a * x, v.b * x, v.c * x, v.d * x} }
func (v vector) inverse() vector        { return vector{1 / v.a, 1 / v.b, 1 / v.c, 1 / v.d} }
func (v vector) sum() float64           { return v.a + v.b + v.c + v.d }
func all(x float64) vector              { return vector{x, x, x, x} }

// points are some points of a quadrature on [0,1].
type points struct {
	t      vector
	rest   vector // 1 - t
	weight vector
}

// quadrature returns Gauss-Legendre points and weights that integrate
// polynomials up to that degree over [0,1] without an error. Their number is a
// multiple of width.
func quadrature(degree int) []points {
	n := (degree/2 + width) / width * width
	t, weight := make([]float64, n), make([]float64, n)
	for i := range n / 2 {
		x, w := legendre(n, i)
		t[i], weight[i] = (1-x)/2, w/2
		t[n-1-i], weight[n-1-i] = (1+x)/2, w/2
	}
	out := make([]points, n/width)
	for i := range out {
		t, r, w := t[i*width:], t[n-(i+1)*width:], weight[i*width:]
		out[i] = points{vector{t[0], t[1], t[2], t[3]}, vector{r[3], r[2], r[1], r[0]}, vector{w[0], w[1], w[2], w[3]}}
	}
	return out
}

// legendre returns root i, from the largest, of the Legendre polynomial of
// degree n, and its Gauss weight on [-1,1], by Newton's method on the three-term
// recurrence (Abramowitz and Stegun 1964, 22.7.10 and 25.4.29).
func legendre(n, i int) (x, weight float64) {
	x = math.Cos(math.Pi * (float64(i) + 0.75) / (float64(n) + 0.5))
	for range 100 {
		p, before := 1.0, 0.0
		for k := range n {
			p, before = (float64(2*k+1)*x*p-float64(k)*before)/float64(k+1), p
		}
		slope := float64(n) * (x*p - before) / (x*x - 1)
		weight = 2 / ((1 - x*x) * slope * slope)
		dx := p / slope
		x -= dx
		if math.Abs(dx) < 1e-15 {
			break
		}
	}
	return x, weight
}
