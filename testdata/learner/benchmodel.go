package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/dmitryikh/leaves"

	"github.com/stratoswarm/forestall/model"
)

// evaluation compares scoring with leaves, on one thread: all test rows in one
// call, and one row a call. Both read the model that was just trained.
func (b *benchmark) evaluation(_ context.Context) error {
	ours, err := model.ReadEnsemble(bytes.NewReader(b.text))
	if err != nil {
		return err
	}
	theirs, err := leaves.LGEnsembleFromReader(bufio.NewReader(bytes.NewReader(b.text)), false)
	if err != nil {
		return err
	}
	const w = syntheticFeatures
	n := min(len(b.label), 50_000)
	values := b.values[:n*w]
	a, t := make([]float64, n), make([]float64, n)
	var rate, single [2][]float64
	for range max(3, b.rounds) {
		start := time.Now()
		if err := ours.RawBatch(values, a); err != nil {
			return err
		}
		rate[0] = append(rate[0], float64(n)/time.Since(start).Seconds())
		start = time.Now()
		if err := theirs.PredictDense(values, n, w, t, 0, 1); err != nil {
			return err
		}
		rate[1] = append(rate[1], float64(n)/time.Since(start).Seconds())
		single[0] = append(single[0], p50(n, func(i int) { a[i], err = ours.Raw(values[i*w : (i+1)*w]) }))
		if err != nil {
			return err
		}
		single[1] = append(single[1], p50(n, func(i int) { t[i] = theirs.PredictSingle(values[i*w:(i+1)*w], 0) }))
	}
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(a[i]-t[i]))
	}
	batch := [2]float64{median(rate[0]), median(rate[1])}
	one := [2]float64{median(single[0]), median(single[1])}
	b.add("evaluation, one thread; peer: leaves", fmt.Sprintf("%.0f rows/s (%.2fx)", batch[0], batch[0]/batch[1]), fmt.Sprintf("%.0f rows/s", batch[1]), "at least 2.7x", batch[0] >= 2.7*batch[1])
	b.add("single row, p50; peer: leaves", fmt.Sprintf("%.2f us (%.2fx)", one[0], one[0]/one[1]), fmt.Sprintf("%.2f us", one[1]), "at most 0.5x", one[0] <= 0.5*one[1])
	b.add(fmt.Sprintf("largest difference to leaves, %d rows", n), fmt.Sprintf("%.2g", worst), "", "at most 1e-9", worst <= 1e-9)
	return nil
}

// p50 returns the median time of n calls in microseconds.
func p50(n int, call func(i int)) float64 {
	took := make([]float64, n)
	for i := range took {
		start := time.Now()
		call(i)
		took[i] = float64(time.Since(start).Nanoseconds()) / 1e3
	}
	return median(took)
}
