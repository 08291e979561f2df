package predict_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/builtin"
)

// readings gives a metric's value in second s; metrics without one are missing.
type readings map[string]func(s int) float64

func is(v float64) func(int) float64 { return func(int) float64 { return v } }

func rises(from, perSecond float64) func(int) float64 {
	return func(s int) float64 { return from + perSecond*float64(s) }
}

// judge scores a component of that kind after minutes of readings, one in step
// seconds, with the built-in model.
func judge(t *testing.T, kind forestall.Kind, seconds, step int, r readings) forestall.Risk {
	t.Helper()
	m, err := builtin.Builtin(kind)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := predict.SchemaFor(m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := predict.New(map[forestall.Kind]*model.Model{kind: m}, map[forestall.Kind]*features.Schema{kind: schema}, predict.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	for name := range r {
		if _, ok := schema.Index(name + "_last"); !ok {
			t.Fatalf("no metric %s", name)
		}
	}
	w := features.NewWindow(schema)
	var now time.Time
	for i := 0; i <= seconds; i += step {
		now = start.Add(time.Duration(i) * time.Second)
		values := make([]float64, len(schema.Metrics()))
		for k, metric := range schema.Metrics() {
			values[k] = math.NaN()
			if f, ok := r[metric.Name]; ok {
				values[k] = f(i)
			}
		}
		if err := w.Push(now, values, 2*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	return s.Score(forestall.Component{Kind: kind, Name: "n1/0"}, now, w)
}

// TestBuiltin: what the hand-made models make of plain situations.
func TestBuiltin(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   forestall.Kind
		with   readings
		lo, hi float64
		reason string
	}{
		{name: "busy GPU at 80 °C", kind: forestall.KindGPU, hi: 0.01, with: readings{
			"gpu_temperature_celsius": is(80), "gpu_memory_temperature_celsius": is(86), "gpu_utilization_ratio": is(1), "gpu_power_watts": is(690),
		}},
		{name: "GPU that warms up with its job", kind: forestall.KindGPU, hi: 0.01, with: readings{
			"gpu_temperature_celsius": rises(40, 0.12), "gpu_memory_temperature_celsius": rises(45, 0.12), "gpu_utilization_ratio": is(1), "gpu_power_watts": rises(100, 1.2),
		}},
		{name: "GPU half a minute into a job, settling at 80 °C", kind: forestall.KindGPU, hi: 0.01, with: readings{
			"gpu_temperature_celsius":        func(s int) float64 { return 80 - 45*math.Exp(-max(0, float64(s-270))/15) },
			"gpu_memory_temperature_celsius": func(s int) float64 { return 88 - 48*math.Exp(-max(0, float64(s-270))/15) },
			"gpu_power_watts":                func(s int) float64 { return map[bool]float64{true: 690, false: 70}[s >= 270] },
		}},
		{name: "GPU with one corrected error", kind: forestall.KindGPU, hi: 0.01, with: readings{
			"gpu_temperature_celsius": is(50), "gpu_ecc_sbe_total": func(s int) float64 { return float64(s / 295) },
		}},
		{name: "GPU without ECC, NVLink and memory temperature", kind: forestall.KindGPU, hi: 0.01, with: readings{
			"gpu_temperature_celsius": is(50), "gpu_power_watts": is(90), "gpu_utilization_ratio": is(0.2),
		}},
		{name: "GPU in slow PCIe generation", kind: forestall.KindGPU, hi: 0.01, with: readings{
			"gpu_temperature_celsius": is(50), "gpu_memory_temperature_celsius": is(60), "gpu_power_watts": is(90), "gpu_pcie_link_generation": func(s int) float64 { return map[bool]float64{true: 1, false: 4}[s > 280] },
		}},
		{name: "GPU throttling at 95 °C", kind: forestall.KindGPU, lo: 0.9, hi: 0.95, reason: "temperature 95 °C", with: readings{
			"gpu_temperature_celsius": is(95), "gpu_throttle_thermal": is(1),
		}},
		{name: "GPU with uncorrectable errors", kind: forestall.KindGPU, lo: 0.5, hi: 0.95, reason: "row remap pending for 5 min", with: readings{
			"gpu_ecc_dbe_total": func(s int) float64 { return float64(s / 290) }, "gpu_row_remap_pending": is(1),
		}},
		{name: "idle node", kind: forestall.KindNode, hi: 0.01, with: readings{
			"node_memory_available_ratio": is(0.8), "node_filesystem_available_ratio": is(0.5), "node_pressure_memory_full_ratio": is(0),
		}},
		{name: "node under full load", kind: forestall.KindNode, hi: 0.01, with: readings{
			"node_cpu_utilization_ratio": is(1), "node_load_per_cpu_ratio": is(8), "node_memory_available_ratio": is(0.1),
			"node_oom_kills_total": is(0), "node_filesystem_available_ratio": is(0.5), "node_pressure_cpu_some_ratio": is(0.9), "node_pressure_io_full_ratio": is(0.7), "node_disk_io_latency_seconds": is(0.02),
		}},
		{name: "node out of memory", kind: forestall.KindNode, lo: 0.5, hi: 0.95, reason: "memory available 1 %", with: readings{
			"node_memory_available_ratio": is(0.01), "node_pressure_memory_full_ratio": is(0.6),
		}},
		{name: "node with a full disk that fails", kind: forestall.KindNode, lo: 0.5, hi: 0.95, reason: "root file system free 0.5 %", with: readings{
			"node_filesystem_available_ratio": is(0.005), "node_disk_io_errors_total": rises(0, 0.1),
		}},
		{name: "node with uncorrectable memory errors", kind: forestall.KindNode, lo: 0.2, hi: 0.5, reason: "uncorrectable memory errors", with: readings{
			"node_edac_uncorrectable_errors_total": func(s int) float64 { return float64(s / 290) },
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := judge(t, c.kind, 300, 1, c.with)
			if !(r.Probability >= c.lo && r.Probability <= c.hi) {
				t.Errorf("probability %v is not in [%v, %v]: %q", r.Probability, c.lo, c.hi, texts(r))
			}
			if !strings.Contains(strings.Join(texts(r), "; "), c.reason) {
				t.Errorf("reasons %q do not say %q", texts(r), c.reason)
			}
		})
	}
}

// TestBuiltinAtScrapeIntervals: errors that count up are seen, a job is not taken
// for a fault, and heat that runs away is seen, whether a GPU is read every second
// or every half minute.
func TestBuiltinAtScrapeIntervals(t *testing.T) {
	for _, step := range []int{1, 5, 10, 15, 30} {
		for name, c := range map[string]struct {
			with   readings
			lo, hi float64
		}{
			"errors": {readings{"gpu_ecc_sbe_total": rises(0, 5), "gpu_nvlink_errors_total": rises(0, 20)}, 0.8, 1},
			"a job that began two minutes ago": {readings{
				"gpu_temperature_celsius":        func(s int) float64 { return 80 - 45*math.Exp(-max(0, float64(s-180))/40) },
				"gpu_memory_temperature_celsius": func(s int) float64 { return 86 - 48*math.Exp(-max(0, float64(s-180))/40) },
				"gpu_power_watts":                func(s int) float64 { return map[bool]float64{true: 650, false: 70}[s >= 180] },
			}, 0, 0.02},
			"a fan that stands": {readings{"gpu_temperature_celsius": func(s int) float64 { return 60 + max(0, float64(s-240))*0.6 }, "gpu_power_watts": is(600)}, 0.5, 1},
		} {
			if r := judge(t, forestall.KindGPU, 300, step, c.with); !(r.Probability >= c.lo && r.Probability <= c.hi) {
				t.Errorf("%s, read every %d s: probability %v is not in [%v, %v]: %q", name, step, r.Probability, c.lo, c.hi, texts(r))
			}
		}
	}
}
