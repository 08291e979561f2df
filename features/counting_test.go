package features

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

func TestCounting(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		series map[string][]float64 // in each scrape; NaN: it is missing
		want   []float64
	}{
		"sums":                         {map[string][]float64{"a": {10, 11, 13}, "b": {1, 1, 2}}, []float64{11, 12, 15}},
		"one restarts":                 {map[string][]float64{"a": {1000, 1001, 1002}, "b": {3, 0, 2}}, []float64{1003, 1004, 1007}},
		"all restart":                  {map[string][]float64{"a": {1000, 1, 2}, "b": {3, 0, 0}}, []float64{1003, 1, 2}},
		"the only one restarts":        {map[string][]float64{"a": {1000, 2, 5}}, []float64{1000, 2, 5}},
		"one is missing, comes back":   {map[string][]float64{"a": {1000, nan, nan, 1002}, "b": {3, 4, 5, 5}}, []float64{1003, 1004, 1005, 1007}},
		"missing, restarted meanwhile": {map[string][]float64{"a": {1000, nan, 2}, "b": {3, 4, 4}}, []float64{1003, 1004, 1006}},
		"all are missing":              {map[string][]float64{"a": {1000, nan, 1001}, "b": {3, nan, 3}}, []float64{1003, nan, 1004}},
		"a new one":                    {map[string][]float64{"a": {10, 11, 12, 13}, "b": {nan, 700, 701, 702}}, []float64{10, 11, 13, 15}},
		"another board":                {map[string][]float64{"a": {1000, nan, nan}, "b": {nan, 3, 4}}, []float64{1000, 3, 4}},
		"a label changes":              {map[string][]float64{"a": {10, nan, 14, 15}, "b": {nan, 12, nan, nan}}, []float64{10, 10, 10, 11}},
	} {
		t.Run(name, func(t *testing.T) {
			var total counting
			var got []float64
			for i := range c.want {
				for _, name := range []string{"a", "b"} {
					if v := c.series[name]; v != nil {
						total.take(total.of(countedKey{name: name}), uint64(i+1), v[i])
					}
				}
				got = append(got, total.total(uint64(i+1)))
			}
			if !cmp.Equal(c.want, got, cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })) {
				t.Errorf("totals %v; want %v", got, c.want)
			}
		})
	}
	var total counting
	for i := range uint64(10_000) { // labels that churn
		total.take(total.of(countedKey{name: "steady"}), i+1, float64(i))
		if i%2 == 0 {
			total.take(total.of(countedKey{name: fmt.Sprint(i)}), i+1, 1000)
		}
		total.total(i + 1)
	}
	if len(total.order) > 100 || len(total.series) > 100 {
		t.Errorf("%d series are remembered of two", len(total.order))
	}
}

const counterPage = `node_network_receive_errs_total{device="eth0"} %v
node_network_receive_errs_total{device="eth1"} %v
node_load1 1
`

// TestOneDevicesCounterRestarts: one interface's driver is loaded anew, one is
// missing for a while; the rate of errors is what the devices counted, also where the
// engine restarts at 20 and finds its windows refilled.
func TestOneDevicesCounterRestarts(t *testing.T) {
	eth0 := func(i int) float64 { return 1_000_000 + float64(i) }
	eth1 := func(i int) float64 { return max(float64(3-3*(i/10)), 0) } // restarts at 10
	check := func(t *testing.T, read func(i int, newest Newest) []forestall.Sample) {
		t.Helper()
		w := NewWindow(windowSchema(t))
		newest := func(_ forestall.Component, metric string) float64 { return w.Newest(metric) }
		for i := range 30 {
			samples := read(i, newest)
			at := slices.IndexFunc(samples, func(s forestall.Sample) bool { return s.Metric == nodeNetworkErrors })
			if err := w.Push(epoch.Add(time.Duration(i)*5*time.Second), []float64{samples[at].Value}, 0); err != nil {
				t.Fatal(err)
			}
		}
		at, _ := w.Schema().Index(nodeNetworkErrors + "_1h_rate")
		if rate := w.Vector(nil)[at]; math.Abs(rate-0.2) > 0.05 {
			t.Errorf("%v errors a second; one came every 5 s", rate)
		}
	}
	t.Run("page", func(t *testing.T) {
		target := newTarget(t)
		var s *Scraper
		check(t, func(i int, newest Newest) []forestall.Sample {
			if i%20 == 0 {
				s = target.scraper(t, ScrapeConfig{Node: "n1", Mapping: preset("node"), Newest: newest})
			}
			page := fmt.Sprintf(counterPage, eth0(i), eth1(i))
			if i == 15 || i == 16 {
				page = fmt.Sprintf("node_network_receive_errs_total{device=\"eth1\"} %v\nnode_load1 1\n", eth1(i))
			}
			target.page(page)
			return scrapeOnce(t, s, epoch.Add(time.Duration(i)*5*time.Second))[0]
		})
	})
	t.Run("remote write", func(t *testing.T) {
		var s *sender
		check(t, func(i int, newest Newest) []forestall.Sample {
			if i%20 == 0 {
				s = newSender(t, false, "node")
				s.w.cfg.Newest = newest
			}
			at := time.Duration(i) * 5 * time.Second
			s.at(at)
			for device, v := range map[string]float64{"eth0": eth0(i), "eth1": eth1(i)} {
				if device != "eth0" || i != 15 {
					s.send(sent{"node_network_receive_errs_total node=n1 job=node instance=a device=" + device, at, v})
				}
			}
			scrapes, _ := s.w.Flush(epoch.Add(at + time.Minute))
			return scrapes[0].Samples
		})
	})
	t.Run("host", func(t *testing.T) {
		h, dir := fakeHost(t)
		file := filepath.Join(dir, "proc/net/dev")
		before := "  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n  ib0: 100 10 0 0"
		check(t, func(i int, newest Newest) []forestall.Sample {
			if i%20 == 0 {
				opt := h.opt
				opt.Newest = newest
				var err error
				if h, err = NewHost("n1", opt); err != nil {
					t.Fatal(err)
				}
			}
			now := fmt.Sprintf("  eth0: 1000 10 %.0f 2 0 0 0 0 2000 20 0 4 0 0 0 0\n  ib0: 100 10 %.0f 0", eth0(i), eth1(i))
			replace(t, file, before, now)
			before = now
			return readHost(t, h, epoch.Add(time.Duration(i)*5*time.Second))
		})
	})
}

func windowSchema(t *testing.T) *Schema {
	t.Helper()
	s, err := NewSchema(forestall.KindNode, []Metric{{nodeNetworkErrors, Counter, "error", ""}}, []time.Duration{time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
