package anomaly

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	gpu0  = forestall.GPU("n1", 0)
)

// body is a component with a load that comes and goes through the day.
type body struct {
	rng    *rand.Rand
	now    time.Time
	errors float64
}

func newBody(seed uint64) *body {
	return &body{rng: rand.New(rand.NewPCG(seed, 7)), now: start}
}

// scrape returns the next one, a minute on.
func (b *body) scrape() []forestall.Sample {
	b.now = b.now.Add(time.Minute)
	load := 0.5 + 0.4*math.Sin(2*math.Pi*b.now.Sub(start).Hours()/24) + 0.1*b.rng.NormFloat64()
	b.errors += float64(b.rng.IntN(3))
	return []forestall.Sample{
		b.sample("temperature_celsius", 40+30*load+b.rng.NormFloat64()),
		b.sample("power_watts", 100+500*load+10*b.rng.NormFloat64()),
		b.sample("fan_ratio", 0.5+0.05*b.rng.NormFloat64()),
		b.sample("errors_total", b.errors),
		b.sample("link_width", 16),
		b.sample("uptime_seconds", b.now.Sub(start).Seconds()),
	}
}

func (b *body) sample(metric string, v float64) forestall.Sample {
	return forestall.Sample{Component: gpu0, Metric: metric, Time: b.now, Value: v}
}

func learnConfig(bearable float64) LearnConfig {
	cfg := DefaultLearnConfig()
	cfg.Alarms, cfg.Skip = bearable, map[string]bool{"uptime_seconds": true}
	return cfg
}

func (b *body) feed(l *Learner, minutes int) {
	for range minutes {
		s := b.scrape()
		l.Scrape(b.now, s)
	}
}

// TestLearns: unknown until enough was seen, then usual; what breaks is unusual
// within two minutes and named; when it is over, it is usual again.
func TestLearns(t *testing.T) {
	cfg := learnConfig(0.5)
	l, b := NewLearner(&cfg), newBody(1)
	need := int(cfg.Needs() / Step)
	b.feed(l, need-5)
	if s := l.Standing(); s.State != forestall.UsualUnknown || !math.IsNaN(s.Threshold) || s.Seen >= cfg.Needs() {
		t.Errorf("before enough was seen: %+v", s)
	}
	b.feed(l, 20)
	s := l.Standing()
	if s.State != forestall.Usual || !(s.Threshold > 0) || s.Seen != cfg.Needs() || !s.Since.IsZero() {
		t.Fatalf("after enough was seen: %+v", s)
	}
	scrape := b.scrape()
	scrape[0].Value, scrape[4].Value = 120, 8
	l.Scrape(b.now, scrape)
	scrape = b.scrape()
	scrape[0].Value, scrape[4].Value = 120, 8
	l.Scrape(b.now, scrape) // closes the minute before
	s = l.Standing()
	if s.State != forestall.Unusual || !s.Since.Equal(b.now.Add(-time.Minute)) || !(s.Score >= s.Threshold) || len(s.Deviations) < 2 {
		t.Fatalf("with a hot GPU on half of its lanes: %+v", s)
	}
	if d := s.Deviations; d[0].Metric != "link_width" || d[0].Value != 8 || d[0].Mean != 16 || d[1].Metric != "temperature_celsius" || !(d[1].Spread > 5) {
		t.Errorf("deviations %+v", d)
	}
	b.feed(l, 3)
	if s := l.Standing(); s.State != forestall.Usual || len(s.Deviations) != 0 {
		t.Errorf("when it is over: %+v", s)
	}
}

// TestAlarmsADay: an ordinary component becomes unusual about as often as is
// borne, and no oftener by much.
func TestAlarmsADay(t *testing.T) {
	const days = 120
	for _, bearable := range []float64{0.1, 1} {
		cfg := learnConfig(bearable)
		sum := 0.0
		for seed := range uint64(4) {
			l, b := NewLearner(&cfg), newBody(10+seed)
			b.feed(l, int(cfg.Needs()/Step))
			b.feed(l, days*1440)
			sum += float64(l.begins)
		}
		if rate := sum / (4 * days); rate > 1.3*bearable || rate == 0 {
			t.Errorf("%.3f alarms a day where %.3g are borne", rate, bearable)
		} else {
			t.Logf("%.3f alarms a day where %.3g are borne", rate, bearable)
		}
	}
}

// TestVanishes: a component that reports half of its metrics no longer, and one
// that reports nothing though it is asked, are unusual for that.
func TestVanishes(t *testing.T) {
	cfg := learnConfig(1)
	for _, left := range []int{3, 0} {
		l, b := NewLearner(&cfg), newBody(2)
		b.feed(l, int(cfg.Needs()/Step)+100)
		for range 2 {
			s := b.scrape()
			l.Scrape(b.now, s[:left])
		}
		s := l.Standing()
		if s.State != forestall.Unusual || len(s.Deviations) == 0 || s.Deviations[0].Metric != MetricReported {
			t.Errorf("%d metrics left: %+v", left, s)
		}
	}
}

// TestCounters: a counter counts with its rate, one that begins anew by what it
// has counted since; time that was not watched does not make it fast.
func TestCounters(t *testing.T) {
	cfg := learnConfig(1)
	l := NewLearner(&cfg)
	at := start
	count := func(v float64, after time.Duration) {
		at = at.Add(after)
		l.Scrape(at, []forestall.Sample{{Component: gpu0, Metric: "errors_total", Time: at, Value: v}})
	}
	count(1000, time.Minute)
	for i := range 100 {
		count(1000+60*float64(i+1), time.Minute)
	}
	count(30, time.Minute)             // restarted
	count(30+60*24*60, 24*time.Hour)   // not seen for a day
	count(30+60*24*60+60, time.Minute) // closes the row
	x := l.series[l.names["errors_total"]]
	if x.mean < 0.98 || x.mean > 1.001 || x.spread() > 0.1 {
		t.Errorf("rate %v ± %v, want 1", x.mean, x.spread())
	}
}

// TestAdapts: one wild reading hides nothing that follows, and what stays at
// another level is usual within the memory.
func TestAdapts(t *testing.T) {
	cfg := learnConfig(1)
	l, b := NewLearner(&cfg), newBody(3)
	b.feed(l, int(cfg.Needs()/Step)+1440)
	before := l.series[l.names["fan_ratio"]].spread()
	s := b.scrape()
	s[2].Value = 1e18
	l.Scrape(b.now, s)
	b.feed(l, 2)
	if after := l.series[l.names["fan_ratio"]].spread(); after > 1.45*before { // twice the variance
		t.Errorf("the spread went from %v to %v", before, after)
	}
	var usual time.Duration
	for range 5 * 1440 {
		s := b.scrape()
		s[4].Value = 8 // another slot
		l.Scrape(b.now, s)
		if l.Standing().State == forestall.Unusual {
			usual = 0
		} else {
			usual += Step
		}
	}
	if usual < 24*time.Hour {
		t.Errorf("days after it changed it is usual for %s", usual)
	}
}

// TestHuge: values at the end of what a number holds leave a state that can be
// kept.
func TestHuge(t *testing.T) {
	cfg := learnConfig(1)
	w, err := NewWatch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int(cfg.Needs()/Step) + 200 {
		for _, half := range []int{0, 30} {
			at := start.Add(time.Duration(i)*time.Minute + time.Duration(half)*time.Second)
			v := math.MaxFloat64
			if i%3 == 0 {
				v = -v
			}
			w.Scrape(gpu0, at, []forestall.Sample{
				{Component: gpu0, Metric: "a", Time: at, Value: v},
				{Component: gpu0, Metric: "b_total", Time: at, Value: v},
				{Component: gpu0, Metric: "c", Time: at, Value: float64(i % 5)},
				{Component: gpu0, Metric: "d", Time: at, Value: math.Inf(1)},
			})
		}
		if _, err := json.Marshal(w.State()); err != nil {
			t.Fatalf("after %d minutes: %v", i, err)
		}
	}
	if s, _ := w.Standing(gpu0); s.State == forestall.UsualUnknown {
		t.Errorf("%+v", s)
	}
}

// TestClockSetBack: time that has leapt ahead stops nothing for long, and what was
// learnt stays.
func TestClockSetBack(t *testing.T) {
	cfg := learnConfig(1)
	l, b := NewLearner(&cfg), newBody(6)
	b.feed(l, int(cfg.Needs()/Step)+100)
	right := b.now
	b.now = b.now.Add(400 * 24 * time.Hour)
	b.feed(l, 3)
	b.now = right.Add(5 * time.Minute)
	b.feed(l, 5)
	if s := l.Standing(); s.State != forestall.Usual || !s.Last.Equal(b.now) || s.Seen != cfg.Needs() {
		t.Errorf("%+v, the clock is right again at %s", s, b.now)
	}
}

// TestState: a watch that was restarted in the middle of a row goes on as the one
// that was not, to the last bit; also when the same scrapes are played again.
func TestState(t *testing.T) {
	cfg := learnConfig(1)
	w, err := NewWatch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := newBody(4)
	var again [][]forestall.Sample
	for range int(cfg.Needs()/Step) + 500 {
		s := b.scrape()
		w.Scrape(gpu0, b.now, s)
		again = append(again, s)
	}
	text, err := json.Marshal(w.State())
	if err != nil {
		t.Fatal(err)
	}
	var state State
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	v, err := NewWatch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Adopt(state); err != nil {
		t.Fatal(err)
	}
	for _, s := range again[len(again)-50:] {
		v.Replay(gpu0, s[0].Time, s) // known already
	}
	for i := range 300 {
		s := b.scrape()
		if i > 100 {
			s[0].Value += 100
		}
		w.Scrape(gpu0, b.now, s)
		v.Scrape(gpu0, b.now, s)
	}
	x, _ := w.Standing(gpu0)
	y, _ := v.Standing(gpu0)
	if d := cmp.Diff(x, y); d != "" || x.State != forestall.Unusual {
		t.Errorf("%+v\n%s", x, d)
	}
	one, _ := json.Marshal(w.State())
	two, _ := json.Marshal(v.State())
	if string(one) != string(two) {
		t.Error("what is remembered differs")
	}
}

func TestStateRefusals(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":          `{"components":{"gpu/n1/0":null}}`,
		"no series":        `{"components":{"gpu/n1/0":{}}}`,
		"another first":    `{"components":{"gpu/n1/0":{"series":[{"name":"a"}]}}}`,
		"twice":            `{"components":{"gpu/n1/0":{"series":[{"name":"reported_ratio"},{"name":"a"},{"name":"a"}]}}}`,
		"a negative count": `{"components":{"gpu/n1/0":{"series":[{"name":"reported_ratio","n":-1}]}}}`,
		"negative days":    `{"components":{"gpu/n1/0":{"days":-1,"series":[{"name":"reported_ratio"}]}}}`,
	} {
		var s State
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(name, err)
		}
		w, err := NewWatch(learnConfig(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Adopt(s); err == nil || len(w.Components()) != 0 {
			t.Errorf("%s is adopted (%v)", name, err)
		}
	}
}

func TestWatch(t *testing.T) {
	cfg := learnConfig(1)
	w, err := NewWatch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := w.Standing(gpu0); ok {
		t.Error("it stands before it was scraped")
	}
	earlier, err := NewWatch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := newBody(5)
	for range int(cfg.Needs()/Step) + 10 {
		s := b.scrape()
		earlier.Scrape(gpu0, b.now, s)
		earlier.Scrape(forestall.GPU("gone", 0), b.now, s)
	}
	for range 5 {
		s := b.scrape()
		w.Scrape(gpu0, b.now, s)
	}
	if n := w.Prefer(earlier); n != 1 || len(w.Components()) != 1 {
		t.Errorf("%d taken, components %v", n, w.Components())
	}
	for range 5 {
		s := b.scrape()
		s[4].Value = 4
		w.Scrape(gpu0, b.now, s)
	}
	if s, _ := w.Standing(gpu0); s.State != forestall.Unusual || w.Begins()[forestall.KindGPU] != 1 {
		t.Errorf("%+v, became unusual %v times", s, w.Begins())
	}
	w.Forget(gpu0)
	if len(w.Components()) != 0 || w.Begins()[forestall.KindGPU] != 1 {
		t.Errorf("components %v, became unusual %v times", w.Components(), w.Begins())
	}
}

func TestLearnConfig(t *testing.T) {
	for _, change := range []func(*LearnConfig){
		func(c *LearnConfig) { c.Alarms = 0 }, func(c *LearnConfig) { c.Alarms = math.NaN() }, func(c *LearnConfig) { c.Memory = time.Hour },
		func(c *LearnConfig) { c.Worst = 0 }, func(c *LearnConfig) { c.Clip = 0 }, func(c *LearnConfig) { c.Hysteresis = 1 },
	} {
		cfg := DefaultLearnConfig()
		change(&cfg)
		if _, err := NewWatch(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

// BenchmarkScrape is a scrape of 60 metrics every 5 s, of which every twelfth
// closes a row: it does not allocate.
func BenchmarkScrape(b *testing.B) {
	cfg := learnConfig(0.1)
	l := NewLearner(&cfg)
	samples := make([]forestall.Sample, 60)
	for i := range samples {
		samples[i].Metric = "metric_" + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	at := start
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(5 * time.Second)
		for i := range samples {
			samples[i].Value = float64(at.Second() * i % 7)
		}
		l.Scrape(at, samples)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(samples)), "ns/sample")
}
