package predict_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/builtin"
)

// page is an exporter's: what GPU g of n1 reports in second s. The readings are
// changed before they are pushed; NaN is not reported.
type page struct {
	gpus    int
	latency func(g, s int) time.Duration // nil: 20 ms
	change  func(g, s int, metric string, v float64) float64
}

var soundReadings = map[string]float64{
	gpu.MetricTemperature: 55, gpu.MetricMemoryTemperature: 60, gpu.MetricPower: 300, gpu.MetricPowerLimit: 700, gpu.MetricUtilization: 0.5,
	gpu.MetricMemoryUsed: 3e10, gpu.MetricMemoryTotal: 8e10, gpu.MetricSMClock: 1.5e9, gpu.MetricThrottleThermal: 0, gpu.MetricECCSingleBit: 0,
	gpu.MetricECCDoubleBit: 0, gpu.MetricRowRemapPending: 0, gpu.MetricRowRemaps: 0, gpu.MetricPCIeReplays: 0, gpu.MetricPCIeLinkWidth: 16,
}

// play pushes the page every two seconds and scores at once; see is given the
// risks of each second.
func (p page) play(t *testing.T, seconds int, see func(s int, risks []forestall.Risk)) {
	t.Helper()
	m, err := builtin.Builtin(forestall.KindGPU)
	if err != nil {
		t.Fatal(err)
	}
	scorer, schema := newScorer(t, m, predict.DefaultConfig())
	store := features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema})
	for s := 0; s < seconds; s += 2 {
		for g := range p.gpus {
			scrape, latency := p.scrape(g, s)
			if err := store.Push(scrape, latency); err != nil {
				t.Fatal(err)
			}
		}
		see(s, scorer.ScoreAll(start.Add(time.Duration(s)*time.Second), store))
	}
}

func (p page) scrape(g, s int) (scrape []forestall.Sample, latency time.Duration) {
	for metric, v := range soundReadings {
		if p.change != nil {
			v = p.change(g, s, metric, v)
		}
		scrape = append(scrape, forestall.Sample{Component: forestall.GPU("n1", g), Metric: metric, Time: start.Add(time.Duration(s) * time.Second), Value: v})
	}
	if latency = 20 * time.Millisecond; p.latency != nil {
		latency = p.latency(g, s)
	}
	return scrape, latency
}

var nineMetrics = []string{
	gpu.MetricTemperature, gpu.MetricMemoryTemperature, gpu.MetricPower, gpu.MetricPowerLimit, gpu.MetricUtilization,
	gpu.MetricSMClock, gpu.MetricThrottleThermal, gpu.MetricMemoryUsed, gpu.MetricMemoryTotal,
}

// TestSourceLoses: what no GPU of a node reports any more is no evidence against
// one of them, whatever else is wrong with one; what one alone does not report is.
func TestSourceLoses(t *testing.T) {
	const begins, ends = 120, 400
	drop := func(who func(g int) bool, what ...string) func(int, int, string, float64) float64 {
		return func(g, s int, metric string, v float64) float64 {
			if s >= begins && who(g) && (len(what) == 0 || slices.Contains(what, metric)) {
				return math.NaN()
			}
			return v
		}
	}
	all, first := func(int) bool { return true }, func(g int) bool { return g == 0 }
	slow := func(who func(int) bool, d time.Duration) func(g, s int) time.Duration {
		return func(g, s int) time.Duration {
			if s >= begins && who(g) {
				return d
			}
			return 20 * time.Millisecond
		}
	}
	for _, c := range []struct {
		name  string
		page  page
		alarm []int                   // GPUs that are suspect at some time, all others never are
		last  map[int]string          // how notes begin at the end
		grade map[int]forestall.Grade // at the end
	}{
		{
			name: "nine metrics of all", page: page{gpus: 4, change: drop(all, nineMetrics...)},
			last: map[int]string{0: "blind: 57 % of what the model weighs is reported no more: gpu_temperature_celsius, gpu_memory_temperature_celsius, gpu_power_watts", 3: predict.Blind},
		},
		{
			name: "nine metrics of all, and one is failing", alarm: []int{2},
			page: page{gpus: 4, change: func(g, s int, metric string, v float64) float64 {
				if g == 2 && s >= begins-20 && metric == gpu.MetricECCSingleBit {
					return float64(s-begins+20) * 3
				}
				return drop(all, nineMetrics...)(g, s, metric, v)
			}},
			last: map[int]string{0: predict.Blind, 3: predict.Blind}, grade: map[int]forestall.Grade{2: forestall.Failing},
		},
		{name: "nine metrics of an only GPU", page: page{gpus: 1, change: drop(all, nineMetrics...)}, last: map[int]string{0: predict.Blind}},
		{name: "all of an only GPU", page: page{gpus: 1, change: drop(all)}, last: map[int]string{0: predict.Blind + "100 %"}},
		{
			name: "nine metrics of one", page: page{gpus: 4, change: drop(first, nineMetrics...)}, alarm: []int{0},
			last: map[int]string{0: "telemetry collapse: it does not report what siblings on its node do (3 of them answer): gpu_temperature_celsius, ", 1: ""}, grade: map[int]forestall.Grade{1: forestall.Healthy},
		},
		{
			name: "all of one", page: page{gpus: 4, change: drop(first)}, alarm: []int{0},
			last: map[int]string{0: "telemetry collapse: it reports nothing, while 3 of its siblings answer", 1: ""}, grade: map[int]forestall.Grade{1: forestall.Healthy},
		},
		{
			name: "all of one of two", page: page{gpus: 2, change: drop(first)}, alarm: []int{0},
			last: map[int]string{0: "telemetry collapse: it reports nothing, while 1 of its siblings answer"}, grade: map[int]forestall.Grade{1: forestall.Healthy},
		},
		{
			name: "slow, and one metric of all", page: page{gpus: 4, latency: slow(all, 1203*time.Millisecond), change: drop(all, gpu.MetricPCIeLinkWidth)},
			grade: map[int]forestall.Grade{0: forestall.Healthy, 3: forestall.Healthy},
		},
		{
			name: "one is slow and loses a metric", page: page{gpus: 4, latency: slow(first, 1203*time.Millisecond), change: drop(first, gpu.MetricPCIeLinkWidth)}, alarm: []int{0},
			grade: map[int]forestall.Grade{3: forestall.Healthy},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			alarmed := map[int]bool{}
			c.page.play(t, ends, func(s int, risks []forestall.Risk) {
				for g, r := range risks {
					if r.Grade >= forestall.Suspect {
						alarmed[g] = true
						if !slices.Contains(c.alarm, g) {
							t.Fatalf("second %d: %s is %s, %.3f: %q", s, r.Component, r.Grade, r.Probability, texts(r))
						}
					}
					if len(c.alarm) == 0 && r.Probability > 0.01 {
						t.Fatalf("second %d: %s is at %.3f: %q", s, r.Component, r.Probability, texts(r))
					}
				}
				if s < ends-2 {
					return
				}
				for g, note := range c.last {
					if r := risks[g]; !strings.HasPrefix(r.Note, note) || note == "" && r.Note != "" || c.grade[g] == forestall.Unknown && r.Grade != forestall.Unknown {
						t.Errorf("at the end %s is %s: %q", r.Component, r.Grade, r.Note)
					}
				}
				for g, grade := range c.grade {
					if r := risks[g]; r.Grade != grade {
						t.Errorf("at the end %s is %s: %q, %q", r.Component, r.Grade, r.Note, texts(r))
					}
				}
			})
			if len(alarmed) != len(c.alarm) {
				t.Errorf("%v were suspect, want %v", alarmed, c.alarm)
			}
		})
	}
}

// TestSourceLosesTrained: a trained model that takes a missing value for a sign of
// failure is not believed where no sibling reports it either.
func TestSourceLosesTrained(t *testing.T) {
	missingIsBad := hot(t, func(c *model.Card) {
		b := model.NewDistributionBuilder(1, 1)
		for i := range 1000 {
			v := 30 + float64(i)/20
			if i%10 == 0 {
				v = math.NaN()
			}
			b.Add([]float64{v})
		}
		c.Distribution = b.Distribution([]int{0})
	})
	scorer, schema := newScorer(t, missingIsBad, predict.DefaultConfig())
	scorer.SetThresholds(forestall.KindGPU, 0.2, 0.5)
	for _, c := range []struct {
		silent int // of four GPUs, so many report no temperature
		note   string
	}{{0, ""}, {1, predict.Collapse}, {4, "blind: 100 % of what the model weighs is not reported: gpu_temperature_celsius; "}} {
		store := features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema})
		now := start
		for s := range 40 {
			now = start.Add(time.Duration(s) * time.Second)
			for g := range 4 {
				v := 50.0
				if g < c.silent && s > 12 {
					v = math.NaN()
				}
				scrape := []forestall.Sample{{Component: forestall.GPU("n1", g), Metric: gpu.MetricTemperature, Time: now, Value: v}, {Component: forestall.GPU("n1", g), Metric: gpu.MetricMemoryUsed, Time: now, Value: 3e10}}
				if err := store.Push(scrape, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		r := scorer.ScoreAll(now, store)[0]
		if (r.Grade == forestall.Unknown) != (c.silent > 0) || !strings.HasPrefix(r.Note, c.note) || c.note == "" && r.Note != "" {
			t.Errorf("%d of four: %s, %q", c.silent, r.Grade, r.Note)
		}
	}
}

// TestBlindForMissing: nothing is healthy of which next to nothing is seen.
func TestBlindForMissing(t *testing.T) {
	only := func(metrics ...string) page {
		return page{gpus: 4, change: func(_, _ int, metric string, v float64) float64 {
			if slices.Contains(metrics, metric) {
				return v
			}
			return math.NaN()
		}}
	}
	for name, c := range map[string]struct {
		page page
		note string
	}{
		"memory used alone":        {only(gpu.MetricMemoryUsed), "blind: 100 % of what the model weighs is not reported: gpu_temperature_celsius, "},
		"link width alone":         {only(gpu.MetricMemoryUsed, gpu.MetricPCIeLinkWidth), "blind: 95 % of what the model weighs is not reported: "},
		"a board for workstations": {only(gpu.MetricTemperature, gpu.MetricPower, gpu.MetricUtilization, gpu.MetricThrottleThermal, gpu.MetricPCIeReplays, gpu.MetricPCIeLinkWidth), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.page.play(t, 300, func(s int, risks []forestall.Risk) {
				for _, r := range risks {
					if s > 60 && ((r.Grade == forestall.Unknown) != (c.note != "") || !strings.HasPrefix(r.Note, c.note)) {
						t.Fatalf("second %d: %s is %s: %q", s, r.Component, r.Grade, r.Note)
					}
				}
			})
		})
	}
}

// TestReplayIsScoreAll: a recorded history gives the risks that an engine had, bit
// for bit, with a GPU that falls silent and a source that gives less.
func TestReplayIsScoreAll(t *testing.T) {
	p := page{gpus: 4, change: func(g, s int, metric string, v float64) float64 {
		if s >= 100 && g == 1 || s >= 200 && metric == gpu.MetricPower {
			return math.NaN()
		}
		return v + math.Sin(float64(s+g))/100
	}}
	var want []string
	word := func(r forestall.Risk) string {
		return fmt.Sprintf("%s %s %x %s %q %q", r.Time.Format(time.TimeOnly), r.Component, math.Float64bits(r.Probability), r.Grade, r.Note, texts(r))
	}
	p.play(t, 300, func(_ int, risks []forestall.Risk) {
		for _, r := range risks {
			want = append(want, word(r))
		}
	})
	m, err := builtin.Builtin(forestall.KindGPU)
	if err != nil {
		t.Fatal(err)
	}
	scorer, schema := newScorer(t, m, predict.DefaultConfig())
	scrapes := func(yield func([]forestall.Sample, error) bool) {
		for s := 0; s < 300; s += 2 {
			for g := range p.gpus {
				scrape, latency := p.scrape(g, s)
				scrape = append(scrape, forestall.Sample{Component: scrape[0].Component, Metric: features.MetricScrapeLatency, Time: scrape[0].Time, Value: latency.Seconds()})
				if !yield(scrape, nil) {
					return
				}
			}
		}
	}
	for interval, every := range map[time.Duration]int{0: 1, 20 * time.Second: 10} {
		n := 0
		err := scorer.Replay(scrapes, features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema}), interval, func(_ time.Time, r forestall.Risk) error {
			at := n/p.gpus*every*p.gpus + n%p.gpus
			if n++; every == 1 && word(r) != want[at] { // the grades of fewer scores may differ
				t.Fatalf("got  %s\nwant %s", word(r), want[at])
			}
			return nil
		})
		if err != nil || n != len(want)/every {
			t.Errorf("every %s: %d risks, want %d; %v", interval, n, len(want)/every, err)
		}
	}
}
