package features

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

var defaultTestWindows = []time.Duration{time.Minute, 5 * time.Minute}

// gpuSamples returns the samples of a GPU.
func gpuSamples(node string, index int, celsius, memory, watts float64) []forestall.Sample {
	c := forestall.GPU(node, index)
	return []forestall.Sample{
		{Component: c, Metric: gpu.MetricTemperature, Time: epoch, Value: celsius},
		{Component: c, Metric: gpu.MetricMemoryTemperature, Time: epoch, Value: memory},
		{Component: c, Metric: gpu.MetricPower, Time: epoch, Value: watts},
		{Component: c, Metric: "gpu_temperature_slowdown_celsius", Time: epoch, Value: 88},
	}
}

func TestSiblings(t *testing.T) {
	none := math.NaN()
	groups := [][]forestall.Sample{
		gpuSamples("n1", 0, 50, 60, 100),
		gpuSamples("n1", 1, 60, none, 200),
		nil, // gone
		gpuSamples("n1", 2, 70, 61, 300),
		gpuSamples("n1", 3, 90, 72, 200), // alone hot
		gpuSamples("n1", 4, 65, 62, 250),
		gpuSamples("n1", 5, none, none, none),
		{{Component: forestall.Node("n1"), Metric: "node_open_files", Time: epoch, Value: 3}},
		gpuSamples("n2", 0, 50, 60, 100), // without siblings
		nil,
		gpuSamples("n3", 0, 50, 60, 100),
		gpuSamples("n3", 1, 53, 66, 100),
	}
	var s Siblings
	s.Append(groups)
	type over struct {
		temperature, atPower, memory, power, reported, headroom float64
	}
	want := []over{
		{-17.5, -10, -2, -125, 0, 38}, // the others are on 40 + W/10, from 200 W on, all but one
		{-7.5, 0, none, -25, -0.25, 28},
		{},
		{7.5, 5, -1, 100, 0, 18}, // the others draw 250 W at most
		{27.5, 30, 11, -25, 0, -2},
		{0, 0, 1, 50, 0, 23},
		{none, none, none, none, -0.75, none},
		{},
		{none, none, none, none, none, 38},
		{},
		{-3, none, -6, 0, 0, 38},
		{3, none, 6, 0, 0, 35},
	}
	for i, group := range groups {
		got := over{}
		for _, sample := range group {
			if sample.Component != group[0].Component || !sample.Time.Equal(epoch) {
				t.Errorf("group %d: sample %v", i, sample)
			}
			switch sample.Metric {
			case MetricOverSiblings:
				got.temperature = sample.Value
			case MetricOverSiblingsAtPower:
				got.atPower = sample.Value
			case MetricMemoryOverSiblings:
				got.memory = sample.Value
			case MetricPowerOverSiblings:
				got.power = sample.Value
			case MetricReportedOverSiblings:
				got.reported = sample.Value
			case MetricTemperatureHeadroom:
				got.headroom = sample.Value
			}
		}
		same := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 || a != a && b != b })
		if diff := cmp.Diff(want[i], got, same, cmp.AllowUnexported(over{})); diff != "" {
			t.Errorf("group %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestSiblingsAllocate looks at a node that is scraped again and again.
func TestSiblingsAllocate(t *testing.T) {
	var s Siblings
	groups := make([][]forestall.Sample, 8)
	full := make([][]forestall.Sample, len(groups))
	for i := range groups {
		full[i] = append(make([]forestall.Sample, 0, 40), gpuSamples("n1", i, 50, 60, float64(i))...)
	}
	if n := testing.AllocsPerRun(100, func() {
		copy(groups, full)
		s.Append(groups)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSets puts every set into a schema and finds it again by its version.
func TestSets(t *testing.T) {
	extra := []Metric{{"own_metric", Gauge, "ratio", ""}}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode, forestall.KindAgent} {
		for choice := range 16 {
			metrics := Metrics(kind)
			for i, set := range Sets() {
				if choice&(1<<i) != 0 {
					metrics = append(metrics, SetMetrics(kind, set)...)
				}
			}
			if choice&8 != 0 {
				metrics = append(metrics, extra...)
			}
			want, err := NewSchema(kind, metrics, defaultTestWindows)
			if err != nil {
				t.Fatal(err)
			}
			got, err := FindSchema(kind, defaultTestWindows, want.Version(), extra)
			if err != nil || got == nil || got.Version() != want.Version() {
				t.Errorf("%s, choice %d: %v, %v", kind, choice, got, err)
			}
		}
		if s, err := FindSchema(kind, defaultTestWindows, kind.String()+"-000000000000", extra); s != nil || err != nil {
			t.Errorf("%s: %v, %v for no version", kind, s, err)
		}
	}
	for _, m := range SetMetrics(forestall.KindGPU, Details) {
		if m.Help == "" || m.Unit == "" {
			t.Errorf("%+v", m)
		}
	}
	if _, err := ParseSet("detail"); err == nil {
		t.Error("detail is a set")
	}
}
