package train

import "math"

// poissonInterval returns the exact 95 % interval of the mean of a Poisson
// distribution of which n events were seen (Garwood 1936): of none 0 to 3.69.
func poissonInterval(n int) Interval {
	const tail = 0.025
	i := Interval{High: bisect(float64(n), float64(n)+10*math.Sqrt(float64(n)+1), func(mean float64) bool { return poissonAtMost(n, mean) > tail })}
	if n > 0 {
		i.Low = bisect(0, float64(n), func(mean float64) bool { return poissonAtLeast(n, mean) < tail })
	}
	return i
}

// bisect returns where below turns false, between low and high.
func bisect(low, high float64, below func(float64) bool) float64 {
	for range 100 {
		mid := (low + high) / 2
		if below(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// poissonAtMost is the probability of at most n events where mean > n are
// expected: its terms fall from the n-th on.
func poissonAtMost(n int, mean float64) (p float64) {
	term := poissonTerm(n, mean)
	for k := n; k >= 0 && term > 1e-18*p; k-- {
		p += term
		term *= float64(k) / mean
	}
	return p
}

// poissonAtLeast is the probability of at least n events where mean < n are
// expected.
func poissonAtLeast(n int, mean float64) (p float64) {
	term := poissonTerm(n, mean)
	for k := n; term > 1e-18*p; k++ {
		p += term
		term *= mean / float64(k+1)
	}
	return p
}

func poissonTerm(n int, mean float64) float64 {
	factorial, _ := math.Lgamma(float64(n) + 1)
	return math.Exp(float64(n)*math.Log(mean) - mean - factorial)
}

// widen takes the wider of two intervals at each end.
func (i Interval) widen(o Interval) Interval {
	return Interval{math.Min(i.Low, o.Low), math.Max(i.High, o.High)}
}
