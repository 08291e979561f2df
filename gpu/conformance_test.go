package gpu_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

// testSource is what every Source must do. open returns a source of node n1
// with at least one healthy GPU.
func testSource(t *testing.T, open func(t *testing.T) gpu.Source) {
	ctx := t.Context()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	devices := func(t *testing.T, s gpu.Source) []gpu.Device {
		t.Helper()
		list, err := s.Devices(ctx)
		if err != nil || len(list) == 0 {
			t.Fatalf("Devices = %v, %v; want at least one", list, err)
		}
		return list
	}

	t.Run("devices", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		list := devices(t, s)
		seen := map[string]bool{}
		for i, d := range list {
			if d.Index != i || d.Name == "" || d.MemoryBytes <= 0 || d.PCIBus == "" {
				t.Errorf("device %d is incomplete: %+v", i, d)
			}
			if d.UUID == "" || seen[d.UUID] {
				t.Errorf("device %d: UUID %q is empty or taken", i, d.UUID)
			}
			seen[d.UUID] = true
			if !slices.IsSorted(d.Links) {
				t.Errorf("device %d: links %v are not ascending", i, d.Links)
			}
			for _, peer := range d.Links {
				if peer == i || peer < 0 || peer >= len(list) || !slices.Contains(list[peer].Links, i) {
					t.Errorf("device %d: link to %d is not answered", i, peer)
				}
			}
		}
		if diff := cmp.Diff(list, devices(t, s)); diff != "" {
			t.Errorf("a second list differs:\n%s", diff)
		}
	})

	t.Run("read", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		names := gpu.MetricNames()
		before := forestall.Sample{Metric: "kept"}
		last := map[string]float64{}
		for i := range 20 {
			now := start.Add(time.Duration(i) * time.Second)
			samples, err := s.Read(ctx, now, "n1", 0, []forestall.Sample{before})
			if err != nil {
				t.Fatal(err)
			}
			if len(samples) < 1+len(names) || samples[0] != before {
				t.Fatalf("Read appended %d samples after %+v, want %d or more after %+v", len(samples)-1, samples[0], len(names), before)
			}
			details := gpu.DetailNames()
			for j, sample := range samples[1:] {
				want := ""
				if j < len(names) {
					want = names[j]
				} else if k := slices.Index(details, sample.Metric); k >= 0 {
					want, details = details[k], details[k+1:] // some, in their order
				}
				if sample.Metric != want || sample.Component != forestall.GPU("n1", 0) || !sample.Time.Equal(now) {
					t.Fatalf("sample %d is %+v, want %s of gpu/n1/0 at %v", j, sample, want, now)
				}
				checkValue(t, sample)
				if counter(sample.Metric) {
					if sample.Value < last[sample.Metric] {
						t.Errorf("%s fell from %v to %v", sample.Metric, last[sample.Metric], sample.Value)
					}
					last[sample.Metric] = sample.Value
				}
			}
		}
	})

	t.Run("no such device", func(t *testing.T) {
		t.Parallel()
		for _, index := range []int{-1, 1000} {
			dst, err := open(t).Read(ctx, start, "n1", index, nil)
			if err == nil || len(dst) != 0 {
				t.Errorf("Read of GPU %d = %v, %v; want an error", index, dst, err)
			}
			if errors.Is(err, gpu.ErrGone) || errors.Is(err, gpu.ErrUnavailable) {
				t.Errorf("Read of GPU %d: %v says something about the hardware or the source", index, err)
			}
		}
	})

	t.Run("context over", func(t *testing.T) {
		t.Parallel()
		over, cancel := context.WithCancel(ctx)
		cancel()
		dst, err := open(t).Read(over, start, "n1", 0, nil)
		if !errors.Is(err, context.Canceled) || errors.Is(err, gpu.ErrGone) || len(dst) != 0 {
			t.Errorf("Read = %v, %v; want the context's error alone", dst, err)
		}
	})

	t.Run("concurrent", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		var wg sync.WaitGroup
		for _, d := range devices(t, s) {
			for range 2 {
				wg.Go(func() {
					for i := range 50 {
						if _, err := s.Read(ctx, start.Add(time.Duration(i)*time.Second), "n1", d.Index, nil); err != nil {
							t.Error(err)
						}
						s.Events()
					}
				})
			}
		}
		wg.Wait()
	})

	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		}
		if _, err := s.Devices(ctx); !errors.Is(err, gpu.ErrUnavailable) {
			t.Errorf("Devices after Close: %v, want ErrUnavailable", err)
		}
		if _, err := s.Read(ctx, start, "n1", 0, nil); !errors.Is(err, gpu.ErrUnavailable) {
			t.Errorf("Read after Close: %v, want ErrUnavailable", err)
		}
		if events := s.Events(); len(events) != 0 {
			t.Errorf("Events after Close: %v", events)
		}
	})
}

func counter(metric string) bool {
	return len(metric) > 6 && metric[len(metric)-6:] == "_total"
}

// checkValue holds a healthy GPU's reading against what its unit allows.
func checkValue(t *testing.T, s forestall.Sample) {
	t.Helper()
	low, high := 0.0, math.Inf(1)
	switch s.Metric {
	case gpu.MetricTemperature, gpu.MetricMemoryTemperature:
		low, high = 5, 130
	case gpu.MetricUtilization, gpu.MetricThrottleThermal, gpu.MetricRowRemapPending:
		high = 1
	case gpu.MetricPower:
		high = 2000
	}
	if !math.IsNaN(s.Value) && (s.Value < low || s.Value > high || math.IsInf(s.Value, 0)) {
		t.Errorf("%s = %v is not in [%v, %v]", s.Metric, s.Value, low, high)
	}
}
