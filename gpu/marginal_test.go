package gpu

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"pgregory.net/rapid"
)

// maxDistance bounds how far a simulated share of readings may lie from the
// production share at the same value, in probability (Kolmogorov-Smirnov, a
// rounding apart counting as equal): it leaves room for sampling error of 8,192
// readings of 1,024 GPUs, for clamped loads and between the table's rows.
const maxDistance = 0.02

// resolution is what the sensors and the table round to.
var resolution = map[int]float64{
	temperature: 1, memoryTemperature: 1, power: 1, utilization: 0.01, memoryUsed: 0.002,
}

// simulatedMarginals reads 1,024 GPUs under loads spread evenly over 0..1, hours
// apart, and returns each calibrated metric's readings in order.
func simulatedMarginals(t *testing.T) map[int][]float64 {
	t.Helper()
	const racks, gpus, rounds = 16, 64, 8
	values := make(map[int][]float64)
	var samples []forestall.Sample
	for rack := range racks {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		s, err := NewSim(SimConfig{Node: "n1", GPUs: gpus, Seed: uint64(rack)})
		if err != nil {
			t.Fatal(err)
		}
		for round := range rounds {
			now = now.Add(6 * time.Hour)
			for i := range gpus {
				s.SetLoad(i, math.Mod(float64(i)/gpus+float64(rack*rounds+round)*0.618, 1))
				if samples, err = s.Read(t.Context(), now, "n1", i, samples[:0]); err != nil {
					t.Fatal(err)
				}
				for _, m := range marginals {
					v := samples[m.metric].Value
					if m.metric == memoryUsed {
						v /= samples[memoryTotal].Value
					}
					values[m.metric] = append(values[m.metric], v)
				}
			}
		}
	}
	for _, v := range values {
		sort.Float64s(v)
	}
	return values
}

// distance returns how far p lies from the share of sorted values below q, a
// tie or a rounding away counting as equal.
func distance(sorted []float64, p, q, eps float64) float64 {
	n := float64(len(sorted))
	below := float64(sort.SearchFloat64s(sorted, q-eps)) / n
	upTo := float64(sort.Search(len(sorted), func(i int) bool { return sorted[i] > q+eps })) / n
	return max(0, below-p, p-upTo)
}

func TestMarginalsMatchTable(t *testing.T) {
	t.Parallel()
	for metric, values := range simulatedMarginals(t) {
		worst := 0.0
		for i := range quantiles {
			worst = max(worst, distance(values, quantiles[i].p, quantiles[i].value(metric), resolution[metric]))
		}
		t.Logf("%s: distance %.4f", metricNames[metric], worst)
		if worst > maxDistance {
			t.Errorf("%s: simulated and production shares differ by %.4f, more than %v", metricNames[metric], worst, maxDistance)
		}
	}
}

// TestMarginalsMatchSource holds the simulator against the published file,
// every row of it.
func TestMarginalsMatchSource(t *testing.T) {
	t.Parallel()
	data := os.Getenv("DATA")
	if data == "" {
		t.Skip("set DATA to the directory that holds acme-gpu-telemetry-quantiles to compare with the published file")
	}
	f, err := os.Open(filepath.Join(data, "acme-gpu-telemetry-quantiles", "quantiles.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[int]string{
		temperature: "kalos_gpu_temp_c", memoryTemperature: "kalos_gpu_mem_temp_c", power: "kalos_gpu_power_w",
		utilization: "kalos_gpu_util_pct", memoryUsed: "kalos_gpu_mem_pct",
	}
	scale := map[int]float64{temperature: 1, memoryTemperature: 1, power: 1, utilization: 0.01, memoryUsed: 0.01}
	place := make(map[string]int)
	for i, name := range rows[0] {
		place[name] = i
	}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for metric, values := range simulatedMarginals(t) {
		worst := 0.0
		for _, row := range rows[1:] {
			p, q := number(row[place["p"]])/100, number(row[place[column[metric]]])*scale[metric]
			worst = max(worst, distance(values, p, q, resolution[metric]))
		}
		t.Logf("%s: distance %.4f", metricNames[metric], worst)
		if worst > maxDistance {
			t.Errorf("%s: simulated and published shares differ by %.4f, more than %v", metricNames[metric], worst, maxDistance)
		}
	}
}

func TestQuantileTable(t *testing.T) {
	t.Parallel()
	if quantiles[0].p != 0 || quantiles[len(quantiles)-1].p != 1 {
		t.Error("the table does not span 0 to 1")
	}
	for _, m := range marginals {
		for i := 1; i < len(quantiles); i++ {
			if quantiles[i].p <= quantiles[i-1].p || quantiles[i].value(m.metric) < quantiles[i-1].value(m.metric) {
				t.Errorf("%s: row %d does not rise", metricNames[m.metric], i)
			}
		}
		for i := range quantiles {
			if got := quantileAt(m.metric, quantiles[i].p); got != quantiles[i].value(m.metric) {
				t.Errorf("%s at %v = %v, want the table's %v", metricNames[m.metric], quantiles[i].p, got, quantiles[i].value(m.metric))
			}
		}
	}
}

// TestPoisson: the quantile function rises in both arguments and has the
// right mean.
func TestPoisson(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.Float64Range(0, 0.999999).Draw(t, "u")
		v := rapid.Float64Range(u, 0.999999).Draw(t, "v")
		mean := rapid.Float64Range(0, 29).Draw(t, "mean")
		more := rapid.Float64Range(mean, 29).Draw(t, "more")
		if poisson(u, mean) > poisson(v, mean) || poisson(u, mean) > poisson(u, more) {
			t.Fatalf("poisson(%v, %v) = %v is greater than a later one", u, mean, poisson(u, mean))
		}
	})
	for _, mean := range []float64{0, 0.01, 1, 20, 29.9, 30.1, 500} {
		const n = 10000
		sum := 0.0
		for i := range n {
			sum += poisson((float64(i)+0.5)/n, mean)
		}
		if got := sum / n; math.Abs(got-mean) > 0.01*mean+0.001 {
			t.Errorf("mean %v, want %v", got, mean)
		}
	}
}
