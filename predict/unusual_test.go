package predict

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

func TestDeviates(t *testing.T) {
	for _, c := range []struct {
		d    anomaly.Deviation
		want string
	}{
		{anomaly.Deviation{Metric: "gpu_memory_temperature_celsius", Value: 96, Mean: 71, Spread: 3}, "memory temperature 96 °C, usually 71 ± 3 °C (8 standard deviations)"},
		{anomaly.Deviation{Metric: "gpu_ecc_sbe_total", Value: 3.2, Mean: 0, Spread: 1e-3}, "corrected memory errors 3.2/s, usually none"},
		{anomaly.Deviation{Metric: "gpu_pcie_replay_total", Value: 1.0 / 60, Mean: 1.0 / 3600, Spread: 0.002}, "PCIe replays 1/min, usually 1/h (8 standard deviations)"},
		{anomaly.Deviation{Metric: "gpu_row_remap_pending", Value: 1, Mean: 0, Spread: 1e-3}, "row remap pending: on, usually off"},
		{anomaly.Deviation{Metric: "gpu_throttle_thermal", Value: 0.5, Mean: 0.01, Spread: 0.1}, "thermal throttling 50 % of the time, usually 1 % of the time"},
		{anomaly.Deviation{Metric: "gpu_pcie_link_width", Value: 8, Mean: 16, Spread: 0.016}, "PCIe link width 8 lanes, usually 16 lanes"},
		{anomaly.Deviation{Metric: anomaly.MetricReported, Value: 0.25, Mean: 1, Spread: 1e-3}, "metrics reported: 25 %, usually 100 %"},
		{anomaly.Deviation{Metric: "of_tomorrow", Value: 5, Mean: 1, Spread: 2}, "of tomorrow 5, usually 1 ± 2 (2 standard deviations)"},
	} {
		if got := Deviates(c.d); got != c.want {
			t.Errorf("%s: %q, want %q", c.d.Metric, got, c.want)
		}
	}
}

func TestAnomalyOf(t *testing.T) {
	cfg := anomaly.DefaultLearnConfig()
	nan := math.NaN()
	need := cfg.Needs()
	hot := []anomaly.Deviation{{Metric: "gpu_temperature_celsius", Value: 99, Mean: 60, Spread: 3}}
	for _, c := range []struct {
		s    anomaly.Standing
		late time.Duration
		want forestall.Anomaly
	}{
		{anomaly.Standing{Score: nan, Threshold: nan, Seen: need / 2}, 0, forestall.Anomaly{Score: nan, Threshold: nan, Note: "learning what is usual: 2.2 days of 4.3 days seen"}},
		{anomaly.Standing{Score: nan, Threshold: nan, Seen: need}, 0, forestall.Anomaly{Score: nan, Threshold: nan, Note: "learning what is usual: too few of the minutes seen could be judged"}},
		{anomaly.Standing{Score: nan, Threshold: 2, Seen: need}, 0, forestall.Anomaly{Score: nan, Threshold: 2, Note: "no metric that it knows was reported"}},
		{anomaly.Standing{State: forestall.Usual, Score: 1, Threshold: 2, Seen: need}, 0, forestall.Anomaly{State: forestall.Usual, Score: 1, Threshold: 2}},
		{anomaly.Standing{State: forestall.Usual, Score: 1, Threshold: math.Inf(1), Seen: need}, 0, forestall.Anomaly{State: forestall.Usual, Score: 1, Threshold: math.Inf(1), Note: "even the greatest surprise came oftener than 0.2 times a day: nothing counts as unusual until that is past"}},
		{anomaly.Standing{State: forestall.Unusual, Score: 3, Threshold: 2, Since: t0, Seen: need, Deviations: hot}, 0, forestall.Anomaly{State: forestall.Unusual, Score: 3, Threshold: 2, Since: t0, Reasons: []string{"temperature 99 °C, usually 60 ± 3 °C (13 standard deviations)"}}},
		{anomaly.Standing{State: forestall.Unusual, Score: 3, Threshold: 2, Since: t0, Seen: need, Deviations: hot}, time.Hour, forestall.Anomaly{Score: nan, Threshold: 2, Note: "its newest sample is 1h0m0s old; more than 30s is stale"}},
	} {
		c.s.Last = t0
		got := AnomalyOf(c.s, cfg, t0.Add(c.late), 30*time.Second)
		if d := cmp.Diff(c.want, got, cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })); d != "" {
			t.Error(d)
		}
	}
}

// TestMemoryOfTheUsual: what was learnt survives, and what cannot be is refused.
func TestMemoryOfTheUsual(t *testing.T) {
	watch := func() *anomaly.Watch {
		w, err := anomaly.NewWatch(anomaly.DefaultLearnConfig())
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := watch()
	c := forestall.GPU("n1", 0)
	for i := range 300 {
		at := t0.Add(time.Duration(i) * time.Minute)
		w.Scrape(c, at, []forestall.Sample{{Component: c, Metric: "a", Time: at, Value: float64(i % 7)}})
	}
	b, err := (&Memory{Watch: w}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	v := watch()
	if err := (&Memory{Watch: v}).Read(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if again, err := (&Memory{Watch: v}).Encode(); err != nil || !bytes.Equal(b, again) {
		t.Errorf("what is written after reading differs, %v", err)
	}
	body, err := unpacked(b[bytes.IndexByte(b, '\n')+1:])
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Replace(body, []byte(`"rows":299`), []byte(`"rows":-99`), 1)
	if bytes.Equal(damaged, body) {
		t.Fatal("nothing was damaged")
	}
	if body, err = packed(damaged); err != nil {
		t.Fatal(err)
	}
	if err := (&Memory{Watch: watch()}).Read(bytes.NewReader(sealed(memoryMagic, body))); err == nil {
		t.Error("a negative count is read")
	}
}
