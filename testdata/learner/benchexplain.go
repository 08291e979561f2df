package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/stratoswarm/forestall/model"
)

// explanation compares TreeSHAP, row by row on one thread, with XGBoost's on its
// own model of the same parameters. What the first explanation prepares is not
// timed.
func (b *benchmark) explanation(context.Context) error {
	const w, rows = syntheticFeatures, 2000
	ours, err := model.ReadEnsemble(bytes.NewReader(b.text))
	if err != nil {
		return err
	}
	n := min(len(b.label), rows)
	dst := make([]float64, w+1)
	if err := ours.Contributions(b.values[:w], dst); err != nil {
		return err
	}
	worst := 0.0
	var rate [2][]float64
	for range max(3, b.rounds) {
		start := time.Now()
		for i := range n {
			if err := ours.Contributions(b.values[i*w:(i+1)*w], dst); err != nil {
				return err
			}
			sum := 0.0
			for _, c := range dst {
				sum += c
			}
			worst = max(worst, math.Abs(sum-b.scores[i]))
		}
		rate[0] = append(rate[0], float64(n)/time.Since(start).Seconds())
	}
	theirs, peerRate := "-", ""
	if b.px != nil {
		for range max(3, b.rounds) {
			a, err := b.px.explain(b.params, n)
			if err != nil {
				return err
			}
			rate[1] = append(rate[1], float64(n)/a.Seconds)
		}
		m := median(rate[1])
		theirs, peerRate = fmt.Sprintf("%.0f rows/s", m), fmt.Sprintf(" (%.1fx)", median(rate[0])/m)
	}
	b.add("explanation (TreeSHAP), one thread; peer: XGBoost", fmt.Sprintf("%.0f rows/s%s", median(rate[0]), peerRate), theirs, "", true)
	b.add(fmt.Sprintf("largest difference of an explanation's sum to the score, %d rows", n), fmt.Sprintf("%.2g", worst), "", "at most 1e-9", worst <= 1e-9)
	return nil
}
