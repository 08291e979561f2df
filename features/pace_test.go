package features

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall"
)

// slowExporter collects every 30 s, and not at all for a while.
type slowExporter struct {
	stops, again time.Duration
	energy       bool // it exports the energy
	rests        bool // nothing but the energy moves
}

// values are what it says of GPU 0 and 1 at a time, by series.
func (e slowExporter) values(at time.Duration) map[string]float64 {
	if e.stops > 0 && at >= e.stops && at < e.again {
		at = e.stops
	}
	n := at / (30 * time.Second)
	v := map[string]float64{}
	for gpu := range 2 {
		add := func(series string, value float64) {
			v[fmt.Sprintf("DCGM_FI_DEV_%s Hostname=n1 gpu=%d", series, gpu)] = value
		}
		temperature := 50.0
		if !e.rests {
			temperature += float64((int(n)*7 + gpu) % 13)
		}
		add("GPU_TEMP", temperature)
		add("ECC_SBE_VOL_TOTAL", 3)
		if e.energy {
			add("TOTAL_ENERGY_CONSUMPTION", 9e12+float64(n)*1e6)
		}
	}
	return v
}

func (e slowExporter) page(at time.Duration) string {
	var lines []string
	for series, v := range e.values(at) {
		name, rest, _ := strings.Cut(series, " ")
		var pairs []string
		for _, pair := range strings.Fields(rest) {
			label, value, _ := strings.Cut(pair, "=")
			pairs = append(pairs, fmt.Sprintf("%s=%q", label, value))
		}
		lines = append(lines, fmt.Sprintf("%s{%s} %.0f\n", name, strings.Join(pairs, ","), v))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func slowStore(t *testing.T) *Store {
	t.Helper()
	s, err := NewSchema(forestall.KindGPU, Metrics(forestall.KindGPU), []time.Duration{time.Minute, 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return NewStore(map[forestall.Kind]*Schema{forestall.KindGPU: s})
}

func vectorOf(t *testing.T, s *Store) (names []string, vector []float64, gap func(time.Time) time.Duration) {
	t.Helper()
	ok := s.With(forestall.GPU("n1", 0), func(w *Window) {
		names, vector = w.Schema().Names(), w.Vector(nil)
		window := *w
		gap = window.Gap
	})
	if !ok {
		t.Fatal("no window")
	}
	return names, vector, gap
}

// TestSlowExporter: an exporter that collects every 30 s is scraped every 5 s. Its
// windows are those of its 30 s, and it is fresh all the time, until it has stopped.
func TestSlowExporter(t *testing.T) {
	e := slowExporter{stops: 20 * time.Minute, again: 40 * time.Minute, energy: true}
	target := newTarget(t)
	s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm")})
	live, ideal := slowStore(t), slowStore(t)
	readings, began := 0, time.Duration(-1)
	for at := time.Duration(0); at < 50*time.Minute; at += 5 * time.Second {
		now := epoch.Add(at)
		target.page(e.page(at))
		groups, _, err := s.Scrape(t.Context(), now)
		stopped := at > e.stops+2*time.Minute && at < e.again
		switch {
		case stopped != (err != nil) || err != nil && (!errors.Is(err, ErrScrape) || !strings.Contains(err.Error(), "collected nothing new")):
			t.Fatalf("after %s: %v", at, err)
		case err == nil && (len(groups) > 0) == (len(s.Repeated()) > 0):
			t.Fatalf("after %s: %d components and %d that repeat", at, len(groups), len(s.Repeated()))
		case err != nil && len(s.Repeated()) > 0:
			t.Fatalf("after %s: a source that has stopped is heard", at)
		}
		for _, c := range s.Repeated() {
			live.Hear(c, now)
		}
		for _, g := range groups {
			push(t, live, g)
		}
		if len(groups) > 0 {
			readings++
			for _, g := range groups {
				push(t, ideal, g)
			}
		}
		_, _, gap := vectorOf(t, live)
		if g := gap(now); (g > 15*time.Second) != (at > e.stops+2*time.Minute+15*time.Second && at < e.again) {
			t.Fatalf("after %s: the newest answer is %s old", at, g)
		}
		if stopped && began < 0 {
			began = at
			if events := s.Events(); len(events) != 1 || events[0].Kind != forestall.EventScrapeError {
				t.Errorf("events of a source that has stopped: %v", events)
			}
		}
	}
	if readings != 41+20 {
		t.Errorf("%d readings of 41 collections before it stopped and 20 after", readings)
	}
	// As if it had been asked just when it had something new.
	names, got, _ := vectorOf(t, live)
	_, want, _ := vectorOf(t, ideal)
	for i, name := range names {
		if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
			t.Errorf("%s = %v, want %v", name, got[i], want[i])
		}
		if name == "gpu_temperature_celsius_since_change_seconds" && got[i] != 0 {
			t.Errorf("a value that moves with every collection has rested for %v s", got[i])
		}
	}
}

func push(t *testing.T, s *Store, group []forestall.Sample) {
	t.Helper()
	if err := s.Push(group, -1); err != nil {
		t.Fatal(err)
	}
}

// TestRestingGPU: values that truly rest are fresh for as long as the page is
// answered, with the energy and without.
func TestRestingGPU(t *testing.T) {
	for _, energy := range []bool{true, false} {
		e := slowExporter{energy: energy, rests: true}
		target := newTarget(t)
		s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm")})
		store := slowStore(t)
		at := time.Duration(0)
		for ; at <= time.Hour; at += 5 * time.Second {
			target.page(e.page(at))
			for _, g := range scrapeOnce(t, s, epoch.Add(at)) {
				push(t, store, g)
			}
			for _, c := range s.Repeated() {
				store.Hear(c, epoch.Add(at))
			}
			if _, _, gap := vectorOf(t, store); gap(epoch.Add(at)) > 0 {
				t.Fatalf("energy %v: after %s the newest answer is %s old", energy, at, gap(epoch.Add(at)))
			}
		}
		names, v, _ := vectorOf(t, store)
		if i := slices.Index(names, "gpu_temperature_celsius_since_change_seconds"); v[i] != time.Hour.Seconds() {
			t.Errorf("energy %v: a temperature that rests for an hour has done so for %v s", energy, v[i])
		}
	}
}

// TestSlowExporterAnyWay: remote write and Prometheus' history give the same
// readings as a scrape.
func TestSlowExporterAnyWay(t *testing.T) {
	e := slowExporter{stops: 10 * time.Minute, again: 15 * time.Minute, energy: true}
	const steps = 100
	temperatures := func(c forestall.Component, group []forestall.Sample, into map[string]float64) {
		if c == forestall.GPU("n1", 0) {
			into[group[0].Time.Sub(epoch).String()] = group[0].Value
		}
	}
	target := newTarget(t)
	s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm")})
	p := newFakePrometheus(t)
	rw := newSender(t, true, "dcgm")
	const labels = " job=dcgm instance=n1:9400"
	for series := range e.values(0) {
		name, rest, _ := strings.Cut(series, " ")
		p.add(func(step int) (float64, bool) { return e.values(time.Duration(step) * fakeStep)[series], true }, "__name__="+name+" "+rest+labels)
	}
	scraped, written, read := map[string]float64{}, map[string]float64{}, map[string]float64{}
	errs := 0
	for i := range steps {
		at := time.Duration(i) * fakeStep
		target.page(e.page(at))
		groups, _, _ := s.Scrape(t.Context(), epoch.Add(at))
		for _, g := range groups {
			temperatures(g[0].Component, g, scraped)
		}
		var all []sent
		for series, v := range e.values(at) {
			all = append(all, sent{series + labels, at, v})
		}
		rw.at(at)
		rw.send(all...)
		scrapes, _ := rw.w.Flush(epoch.Add(at + 10*time.Second))
		for _, one := range scrapes {
			switch {
			case one.Err != nil:
				errs++
			case len(one.Samples) == 0 && len(one.Repeated) != 2:
				t.Errorf("after %s: %d components repeat", at, len(one.Repeated))
			case len(one.Samples) > 0:
				temperatures(one.Samples[0].Component, one.Samples, written)
			}
		}
	}
	for _, one := range readRange(t, p.query(steps, "dcgm")) {
		temperatures(one.Samples[0].Component, one.Samples, read)
	}
	if len(scraped) != 21+20 || errs != 11 {
		t.Errorf("%d readings and %d errors; want 41 and 11", len(scraped), errs)
	}
	if diff := cmp.Diff(scraped, written); diff != "" {
		t.Errorf("scraped and by remote write (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(scraped, read); diff != "" {
		t.Errorf("scraped and of Prometheus (-want +got):\n%s", diff)
	}
}

// TestPatience follows sources of several paces.
func TestPatience(t *testing.T) {
	for _, tt := range []struct {
		intervals []time.Duration
		want      time.Duration
	}{
		{nil, 2 * time.Minute},
		{[]time.Duration{30 * time.Second, 30 * time.Second}, 2 * time.Minute},
		{[]time.Duration{90 * time.Second, 90 * time.Second}, 270 * time.Second},
		{[]time.Duration{time.Hour, time.Hour}, 10 * time.Minute},
		{[]time.Duration{30 * time.Second, time.Hour}, 2 * time.Minute}, // it had stopped
		{[]time.Duration{90 * time.Second, time.Hour, 90 * time.Second}, 270 * time.Second},
	} {
		var p pace
		at := epoch
		p.fresh(at, 1)
		for _, d := range tt.intervals {
			at = at.Add(d)
			p.fresh(at, 1)
		}
		if got := p.patience(); got != tt.want {
			t.Errorf("after %v: %s, want %s", tt.intervals, got, tt.want)
		}
		if p.check(at.Add(tt.want)) != nil || p.check(at.Add(tt.want+time.Millisecond)) == nil {
			t.Errorf("after %v: not %s are borne", tt.intervals, tt.want)
		}
	}
}

// TestStamps: values that are stamped too far from their scrape are not taken, which
// is told; a page on which all are stamped brings something new when they move.
func TestStamps(t *testing.T) {
	line := func(gpu int, v float64, stamp time.Duration) string {
		return fmt.Sprintf("DCGM_FI_DEV_GPU_TEMP{gpu=\"%d\"} %v %d\n", gpu, v, epoch.Add(stamp).UnixMilli())
	}
	const bare = "DCGM_FI_DEV_GPU_TEMP{gpu=\"1\"} 60\n"
	const minute = time.Minute
	for name, tt := range map[string]struct {
		before, page string // scraped at epoch, and a minute later
		want         map[int]float64
		repeats      bool
		err, refused string
	}{
		"moved":             {line(0, 50, 0), line(0, 51, minute), map[int]float64{0: 51}, false, "", ""},
		"moved at rest":     {line(0, 50, 0), line(0, 50, minute), map[int]float64{0: 50}, false, "", ""},
		"did not move":      {line(0, 50, 0), line(0, 50, 0), nil, true, "", ""},
		"one of two moved":  {line(0, 50, 0) + line(1, 50, 0), line(0, 50, 0) + line(1, 50, minute), map[int]float64{0: 50, 1: 50}, false, "", ""},
		"one is bare":       {line(0, 50, 0) + bare, line(0, 50, 0) + bare, map[int]float64{0: 50, 1: 60}, false, "", ""},
		"just young enough": {line(0, 50, 0), line(0, 51, -4*minute), map[int]float64{0: 51}, false, "", ""},
		"old":               {line(0, 50, 0), line(0, 51, -4*minute-1e6), nil, false, "1 series are stamped more than 5m0s before or after", ""},
		"of the future":     {line(0, 50, 0), line(0, 51, 6*minute+1e6), nil, false, "1 series are stamped", ""},
		"one of two is old": {line(0, 50, 0) + line(1, 60, 0), line(0, 51, minute) + line(1, 60, -time.Hour), map[int]float64{0: 51, 1: math.NaN()}, false, "", "1 series are stamped"},
	} {
		t.Run(name, func(t *testing.T) {
			target := newTarget(t)
			s := target.scraper(t, ScrapeConfig{Node: "n1", Mapping: preset("dcgm")})
			target.page(tt.before)
			scrapeOnce(t, s, epoch)
			target.page(tt.page)
			groups, _, err := s.Scrape(t.Context(), epoch.Add(minute))
			if (err != nil) != (tt.err != "") || err != nil && (!errors.Is(err, ErrScrape) || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want one that says %q", err, tt.err)
			}
			if refused := s.Refused(); err == nil && ((refused != nil) != (tt.refused != "") || refused != nil && !strings.Contains(refused.Error(), tt.refused)) {
				t.Errorf("refused: %v, want %q", refused, tt.refused)
			}
			got := map[int]float64{}
			for _, g := range groups {
				i, _ := g[0].Component.GPUIndex()
				if got[i] = g[0].Value; !g[0].Time.Equal(epoch.Add(minute)) {
					t.Errorf("a reading at %s", g[0].Time)
				}
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (len(s.Repeated()) > 0) != tt.repeats {
				t.Errorf("%d components repeat", len(s.Repeated()))
			}
		})
	}
}
