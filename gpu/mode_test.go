package gpu_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stratoswarm/forestall/gpu"
)

// TestModes follows each mode over a minute beside the GPU's healthy twin, idle
// and busy, and holds it against the table in Mode's doc.
func TestModes(t *testing.T) {
	t.Parallel()
	type pair struct{ sick, well map[string]float64 }
	above := func(metric string, by float64) func(pair) string {
		return func(p pair) string {
			if p.sick[metric] < p.well[metric]+by {
				return fmt.Sprintf("%s is %v, the twin's %v; want at least %v more", metric, p.sick[metric], p.well[metric], by)
			}
			return ""
		}
	}
	is := func(metric string, want float64) func(pair) string {
		return func(p pair) string {
			if p.sick[metric] != want {
				return fmt.Sprintf("%s is %v, want %v", metric, p.sick[metric], want)
			}
			return ""
		}
	}
	missing := func(from, to int) func(pair) string {
		return func(p pair) string {
			n := 0
			for _, v := range p.sick {
				if math.IsNaN(v) {
					n++
				}
			}
			if n < from || n > to {
				return fmt.Sprintf("%d series are missing, want %d to %d", n, from, to)
			}
			return ""
		}
	}
	unchanged := func(p pair) string { return cmp.Diff(p.well, p.sick, cmpopts.EquateNaNs()) }

	tests := []struct {
		mode gpu.Mode
		at   map[int][]func(pair) string // second -> what holds
		xids []int
		gone bool
	}{
		{
			gpu.ModeThermalRunaway,
			map[int][]func(pair) string{
				10: {above(gpu.MetricTemperature, 2), above(gpu.MetricMemoryTemperature, 4)},
				30: {above(gpu.MetricTemperature, 10), is(gpu.MetricThrottleThermal, 0)},
				59: {is(gpu.MetricThrottleThermal, 1), is(gpu.MetricECCSingleBit, 0)},
			},
			[]int{gpu.XIDFellOffBus},
			true,
		},
		{
			gpu.ModeECCStorm,
			map[int][]func(pair) string{
				20: {above(gpu.MetricECCSingleBit, 2), is(gpu.MetricRowRemapPending, 0)},
				31: {above(gpu.MetricECCSingleBit, 10), is(gpu.MetricRowRemapPending, 1), is(gpu.MetricRowRemaps, 1)},
				59: {above(gpu.MetricECCSingleBit, 200), is(gpu.MetricRowRemaps, 3), is(gpu.MetricECCDoubleBit, 1)},
				80: {is(gpu.MetricUtilization, 0), is(gpu.MetricMemoryUsed, 0), is(gpu.MetricECCDoubleBit, 2), is(gpu.MetricSMClock, 210e6)},
			},
			[]int{
				gpu.XIDRowRemap, gpu.XIDRowRemap, gpu.XIDRowRemap, gpu.XIDContained,
				gpu.XIDDoubleBit, gpu.XIDRowRemapFailed, gpu.XIDUncontained,
			},
			false,
		},
		{
			gpu.ModeLinkDegradation,
			map[int][]func(pair) string{
				20: {above(gpu.MetricPCIeReplays, 1), above(gpu.MetricNVLinkErrors, 5), is(gpu.MetricNVLinkActive, 12), is(gpu.MetricPCIeLinkWidth, 16)},
				30: {is(gpu.MetricPCIeLinkWidth, 8), is(gpu.MetricNVLinkActive, 12)},
				59: {
					above(gpu.MetricPCIeReplays, 100), above(gpu.MetricNVLinkErrors, 500), is(gpu.MetricNVLinkActive, 8),
					is(gpu.MetricPCIeLinkWidth, 4), is(gpu.MetricPCIeLinkGen, 1),
				},
			},
			[]int{gpu.XIDNVLink, gpu.XIDNVLink, gpu.XIDFellOffBus},
			true,
		},
		{
			gpu.ModeFallsOffBus,
			map[int][]func(pair) string{10: {unchanged}, 30: {unchanged}, 50: {unchanged}, 56: {unchanged}, 59: {above(gpu.MetricPCIeReplays, 0)}},
			[]int{gpu.XIDFellOffBus},
			true,
		},
		{
			gpu.ModeTelemetryCollapse,
			map[int][]func(pair) string{8: {unchanged}, 30: {missing(4, 12)}, 45: {missing(10, 17)}, 52: {missing(18, 18)}},
			[]int{gpu.XIDGSPTimeout, gpu.XIDFellOffBus},
			true,
		},
	}
	for _, tt := range tests {
		for _, load := range []float64{0, 0.9} {
			t.Run(fmt.Sprintf("%s/load %v", tt.mode, load), func(t *testing.T) {
				t.Parallel()
				sick, well := newBench(t, 1, 11), newBench(t, 1, 11)
				sick.inject(0, tt.mode, time.Minute)
				sick.SetLoad(0, load)
				well.SetLoad(0, load)
				var xids []int
				fell := 0
				for s := range 90 {
					sick.now, well.now = begin.Add(time.Duration(s)*time.Second), begin.Add(time.Duration(s)*time.Second)
					values, err := sick.try(0)
					twin := well.read(0)
					if gone := s >= 60 && tt.gone; errors.Is(err, gpu.ErrGone) != gone || (err != nil) != gone {
						t.Fatalf("at %d s: error %v, want gone %v", s, err, gone)
					}
					for _, holds := range tt.at[s] {
						if wrong := holds(pair{values, twin}); wrong != "" {
							t.Errorf("at %d s: %s", s, wrong)
						}
					}
					codes, n := sick.xids()
					xids = append(xids, codes...)
					fell += n
				}
				if !slices.Equal(xids, tt.xids) {
					t.Errorf("XIDs %v, want %v", xids, tt.xids)
				}
				if want := map[bool]int{true: 1}[tt.gone]; fell != want {
					t.Errorf("%d fell_off_bus events, want %d", fell, want)
				}
			})
		}
	}
}

func TestThrottlingDropsClockAndPower(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 2)
	b.SetLoad(0, 0.9)
	before := b.read(0)
	b.inject(0, gpu.ModeThermalRunaway, time.Minute)
	b.now = b.now.Add(59 * time.Second)
	hot := b.read(0)
	if hot[gpu.MetricSMClock] > before[gpu.MetricSMClock]/2 || hot[gpu.MetricPower] > before[gpu.MetricPower]*0.8 {
		t.Errorf("at %v °C the clock went from %v to %v Hz, power from %v to %v W", hot[gpu.MetricTemperature],
			before[gpu.MetricSMClock], hot[gpu.MetricSMClock], before[gpu.MetricPower], hot[gpu.MetricPower])
	}
	if hot[gpu.MetricMemoryTemperature] <= hot[gpu.MetricTemperature] {
		t.Errorf("memory at %v °C, die at %v °C; want the memory hotter", hot[gpu.MetricMemoryTemperature], hot[gpu.MetricTemperature])
	}
}

func TestCollapseSlowsReads(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 2)
	b.inject(0, gpu.ModeTelemetryCollapse, time.Minute)
	b.read(0)
	healthy := b.Latency(0)
	b.now = begin.Add(40 * time.Second)
	b.read(0)
	slow := b.Latency(0)
	b.now = begin.Add(59 * time.Second)
	b.read(0)
	if last := b.Latency(0); slow < 5*healthy || last < 500*time.Millisecond || last > 1500*time.Millisecond {
		t.Errorf("reads take %v, then %v, then %v; want 2 ms, more, about 1 s", healthy, slow, last)
	}
}

// TestEventsWithoutReads: what comes is reported once, at its own time, also
// when nobody reads the device.
func TestEventsWithoutReads(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4, 1)
	b.inject(2, gpu.ModeECCStorm, 100*time.Second)
	b.inject(1, gpu.ModeFallsOffBus, 70*time.Second)
	b.now = begin.Add(time.Hour)
	var got []string
	for _, e := range b.Events() {
		got = append(got, fmt.Sprintf("%v %s %s %d", e.Time.Sub(begin), e.Component, e.Kind, e.Code))
	}
	want := []string{
		"50s gpu/n1/2 xid 63", "1m5s gpu/n1/2 xid 63",
		"1m10s gpu/n1/1 xid 79", "1m10s gpu/n1/1 fell_off_bus 79",
		"1m20s gpu/n1/2 xid 63", "1m30s gpu/n1/2 xid 94",
		"1m40s gpu/n1/2 xid 48", "1m40s gpu/n1/2 xid 64", "1m40s gpu/n1/2 xid 95",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if again := b.Events(); len(again) != 0 {
		t.Errorf("events came again: %v", again)
	}
}
