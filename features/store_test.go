package features

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

func newStore(tb testing.TB) *Store {
	tb.Helper()
	schemas := map[forestall.Kind]*Schema{}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		s, err := NewSchema(kind, Metrics(kind), []time.Duration{10 * time.Second, time.Minute})
		if err != nil {
			tb.Fatal(err)
		}
		schemas[kind] = s
	}
	return NewStore(schemas)
}

func sample(c forestall.Component, at time.Time, metric string, v float64) forestall.Sample {
	return forestall.Sample{Component: c, Metric: metric, Time: at, Value: v}
}

func feature(tb testing.TB, s *Store, c forestall.Component, name string) (v float64) {
	tb.Helper()
	if !s.With(c, func(w *Window) {
		i, ok := w.Schema().Index(name)
		if !ok {
			tb.Fatalf("no feature %s", name)
		}
		v = w.Vector(nil)[i]
	}) {
		tb.Fatalf("no window of %s", c)
	}
	return v
}

func TestStorePush(t *testing.T) {
	s, c := newStore(t), forestall.GPU("n1", 0)
	if err := s.Push([]forestall.Sample{
		sample(c, epoch, "gpu_power_watts", 300),
		sample(c, epoch, "gpu_mood_ratio", 1),
		sample(c, epoch, "gpu_temperature_celsius", 60),
	}, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"gpu_power_watts_last":                   300,
		"gpu_temperature_celsius_last":           60,
		"gpu_sm_clock_hertz_last":                math.NaN(),
		"series_reported_ratio_last":             2.0 / 18,
		"scrape_latency_seconds_last":            0.02,
		"gpu_power_watts_10s_mean":               300,
		"gpu_power_watts_1m_slope":               math.NaN(),
		"gpu_sm_clock_hertz_1m_ewma":             math.NaN(),
		"gpu_ecc_sbe_total_10s_rate":             math.NaN(),
		"gpu_power_watts_1m_min":                 300,
		"gpu_ecc_sbe_total_since_change_seconds": math.NaN(),
	} {
		if got := feature(t, s, c, name); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	if s.Ignored() != 1 {
		t.Errorf("Ignored() = %d, want 1", s.Ignored())
	}
	if err := s.PushMissing(c, epoch.Add(5*time.Second), time.Second); err != nil {
		t.Fatal(err)
	}
	if got := feature(t, s, c, "series_vanished_10s"); got != 2 {
		t.Errorf("series_vanished_10s = %v after a scrape without samples, want 2", got)
	}
}

func TestStoreRefuses(t *testing.T) {
	s, c := newStore(t), forestall.GPU("n1", 0)
	a := sample(c, epoch, "gpu_power_watts", 1)
	for _, tt := range []struct {
		name    string
		samples []forestall.Sample
		want    error
	}{
		{"another component", []forestall.Sample{a, sample(forestall.GPU("n1", 1), epoch, "gpu_power_watts", 1)}, ErrMixedBatch},
		{"another time", []forestall.Sample{a, sample(c, epoch.Add(1), "gpu_power_watts", 1)}, ErrMixedBatch},
		{"no schema", []forestall.Sample{sample(forestall.Agent("x"), epoch, "error_rate_ratio", 1)}, ErrNoSchema},
	} {
		if err := s.Push(tt.samples, 0); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := s.Push(nil, 0); err != nil {
		t.Errorf("no samples: %v", err)
	}
	if got := s.Components(); len(got) != 0 {
		t.Errorf("refused pushes left windows of %v", got)
	}
}

func TestStoreComponents(t *testing.T) {
	s := newStore(t)
	for _, c := range []forestall.Component{forestall.GPU("n1", 10), forestall.GPU("n1", 9), forestall.Node("n2"), forestall.Node("n1")} {
		if err := s.PushMissing(c, epoch, -1); err != nil {
			t.Fatal(err)
		}
	}
	s.Forget(forestall.Node("n2"))
	s.Forget(forestall.Node("n7"))
	want := []forestall.Component{forestall.Node("n1"), forestall.GPU("n1", 9), forestall.GPU("n1", 10)}
	if diff := cmp.Diff(want, s.Components()); diff != "" {
		t.Errorf("Components (-want +got):\n%s", diff)
	}
	if s.With(forestall.Node("n2"), func(*Window) {}) {
		t.Error("a forgotten component still has a window")
	}
}

func TestStoreConcurrentUse(t *testing.T) {
	s := newStore(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			c := forestall.GPU("n1", g%2)
			for i := range 200 {
				at := epoch.Add(time.Duration(i*4+g) * time.Second)
				err := s.Push([]forestall.Sample{sample(c, at, "gpu_power_watts", float64(i))}, 0)
				if err != nil && !errors.Is(err, ErrOutOfOrder) {
					t.Error(err)
				}
				s.With(c, func(w *Window) { w.Vector(nil) })
				s.Components()
			}
		})
	}
	wg.Wait()
}

// TestStoreClockSetBack: scrapes that are older than the newest are refused, until
// they have kept coming for so long that the clock must have been set back.
func TestStoreClockSetBack(t *testing.T) {
	c := forestall.GPU("n1", 0)
	push := func(s *Store, seconds int) error {
		return s.Push([]forestall.Sample{sample(c, epoch.Add(time.Duration(seconds)*time.Second), "gpu_power_watts", float64(seconds))}, 0)
	}
	for name, one := range map[string]struct {
		late  []int // seconds; all after a scrape at 3600
		taken int   // how many of them
	}{
		"set back":              {late: []int{0, 15, 30, 45, 60, 75}, taken: 2},
		"two strays":            {late: []int{0, 120}},
		"not long enough":       {late: []int{0, 15, 30, 45}},
		"not rising":            {late: []int{0, 60, 0, 30, 0, 90}},
		"something newer since": {late: []int{0, 30, 3615, 60, 90}, taken: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			if err := push(s, 3600); err != nil {
				t.Fatal(err)
			}
			taken := 0
			for _, at := range one.late {
				switch err := push(s, at); {
				case err == nil:
					taken++
				case !errors.Is(err, ErrOutOfOrder):
					t.Fatal(err)
				}
			}
			if taken != one.taken {
				t.Errorf("%d of %d taken; want %d", taken, len(one.late), one.taken)
			}
		})
	}
	s := newStore(t)
	for _, at := range []int{3600, 3605, 0, 30, 60} {
		_ = push(s, at)
	}
	if v := feature(t, s, c, "gpu_power_watts_1m_max"); v != 60 {
		t.Errorf("the window that begins anew has a maximum of %v; want 60, without what was before", v)
	}
}
