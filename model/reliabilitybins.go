package model

import (
	"cmp"
	"math"
	"slices"
)

// ReliabilityBin is a group of rows of similar probability and what came of
// them.
type ReliabilityBin struct {
	ReliabilityPoint
	Positives int
	Low, High float64 // the lowest probability of the bin and the highest
	// Wilson's 95 % interval of what was observed.
	ObservedLow, ObservedHigh float64
}

// ReliabilityBins returns the reliability curve: the rows by rising probability in
// so many bins of about equal counts, rows of one probability in one bin. Where
// failures are rare the last bin would hold nearly all of them, so while it
// holds more than twice its share of the positives, and at least 20 rows for
// each bin, it is cut into as many bins again.
func ReliabilityBins(p []float64, label []bool, bins int) []ReliabilityBin {
	order := make([]int32, len(p))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int { return cmp.Compare(p[i], p[j]) })
	var out []ReliabilityBin
	for total := count(label); len(order) > 0; {
		var last []int32
		first := len(out)
		for k, rest := 0, order; len(rest) > 0; k++ {
			n := max(1, int(math.Round(float64(len(rest))/float64(max(bins-k, 1)))))
			for n < len(rest) && p[rest[n]] == p[rest[n-1]] {
				n++
			}
			last = rest[:n]
			out = append(out, reliabilityBin(p, label, last))
			rest = rest[n:]
		}
		whole := len(out) == first+1 // one probability, or one bin was asked for
		if whole || float64(out[len(out)-1].Positives*bins) <= 2*total || len(last) < 20*bins {
			break
		}
		out, order = out[:len(out)-1], last
	}
	return out
}

func reliabilityBin(p []float64, label []bool, rows []int32) ReliabilityBin {
	b := ReliabilityBin{ReliabilityPoint: ReliabilityPoint{Rows: len(rows)}, Low: p[rows[0]], High: p[rows[len(rows)-1]]}
	for _, i := range rows {
		b.Mean += p[i] / float64(len(rows))
		if label[i] {
			b.Positives++
		}
	}
	b.Mean = min(max(b.Mean, b.Low), b.High) // whatever rounding did
	b.Observed = ratio(b.Positives, b.Rows)
	b.ObservedLow, b.ObservedHigh = Wilson(b.Positives, b.Rows)
	return b
}

// Wilson returns the 95 % score interval of a share of which n of rows were
// seen (Wilson 1927); 0 and 1 of no rows.
func Wilson(n, rows int) (low, high float64) {
	if rows == 0 {
		return 0, 1
	}
	const z = 1.959963984540054
	size, share := float64(rows), float64(n)/float64(rows)
	centre := (share + z*z/(2*size)) / (1 + z*z/size)
	half := z / (1 + z*z/size) * math.Sqrt(share*(1-share)/size+z*z/(4*size*size))
	low, high = max(0, centre-half), min(1, centre+half)
	if n == 0 {
		low = 0
	}
	if n == rows {
		high = 1
	}
	return low, high
}
