package train

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall/model"
)

// twoComponents has 100 hours each of a component that fails at hour 100 and is
// announced 5 hours before, and of one that gives two false alarms, one of
// which stands for three hours, and fails unannounced.
func twoComponents() *Scores {
	s := &Scores{Groups: []string{"gpu/n1/0", "gpu/n2/3"}}
	for hour := range 100 {
		a, b := 0.1, 0.1
		event := math.NaN()
		if hour >= 90 {
			event = 100
		}
		if hour >= 95 {
			a = 0.9
		}
		if hour == 20 || hour >= 40 && hour < 43 {
			b = 0.95
		}
		// The rows of a component need not be together.
		s.Group = append(s.Group, 1, 0)
		s.Probability = append(s.Probability, b, a)
		s.Positive = append(s.Positive, hour >= 90, hour >= 90)
		s.Time = append(s.Time, float64(hour), float64(hour))
		s.Event = append(s.Event, math.NaN(), event)
	}
	return s
}

func values(a Alarms) []float64 {
	return []float64{a.Rate.Value, a.Caught.Value, a.Late.Value, a.Components.Value, a.Precision.Value, a.LeadMedian.Value, a.LeadP10.Value, a.RowPrecision.Value, a.RowRecall.Value}
}

var approx = cmp.Options{cmpopts.EquateApprox(0, 1e-9), cmpopts.EquateNaNs()}

// TestEvaluateAlarms: every figure of the alarms, worked out by hand. Times are
// in a unit that is not of the clock, so a standing alarm counts at each.
func TestEvaluateAlarms(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		lead, threshold, budget float64
		want                    []float64 // rate, caught, late, components, precision, lead median and p10, row precision and recall
		counts                  [4]int    // false alarms, incidents caught, late, components caught
	}{
		// 178 hours of exposure; hours 40, 41 and 42 count one by one.
		"given":    {threshold: 0.9, want: []float64{4 / 0.178, 0.5, 0, 0.5, 1. / 5, 5, 5, 5. / 9, 5. / 20}, counts: [4]int{4, 1, 0, 1}},
		"all":      {threshold: 0.05, want: []float64{180 / 0.178, 1, 0, 1, 2. / 182, 10, 9, 0.1, 1}, counts: [4]int{180, 2, 0, 2}},
		"none":     {threshold: 0.99, want: []float64{0, 0, 0, 0, nan, nan, nan, nan, 0}},
		"late":     {threshold: 0.9, lead: 6, want: []float64{4 / 0.178, 0, 0.5, 0, 1. / 5, nan, nan, 5. / 9, 5. / 20}, counts: [4]int{4, 0, 1, 0}},
		"in time":  {threshold: 0.9, lead: 5, want: []float64{4 / 0.178, 0.5, 0, 0.5, 1. / 5, 5, 5, 5. / 9, 5. / 20}, counts: [4]int{4, 1, 0, 1}},
		"budget":   {budget: 23, want: []float64{4 / 0.178, 0.5, 0, 0.5, 1. / 5, 5, 5, 5. / 9, 5. / 20}, counts: [4]int{4, 1, 0, 1}},
		"stingy":   {budget: 20, want: []float64{0, 0, 0, 0, nan, nan, nan, nan, 0}},
		"generous": {budget: 2000, want: []float64{180 / 0.178, 1, 0, 1, 2. / 182, 10, 9, 0.1, 1}, counts: [4]int{180, 2, 0, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			opt := EvaluateOptions{Lead: c.lead, Unit: ParseTimeUnit("cycles"), Budgets: []float64{}}
			if c.threshold > 0 {
				opt.Thresholds = []float64{c.threshold}
			} else {
				opt.Budgets = []float64{c.budget}
			}
			e, err := Evaluate(twoComponents(), opt)
			if err != nil {
				t.Fatal(err)
			}
			if e.Rate != "cycles" || e.Components != 2 || e.Incidents != 2 || math.Abs(e.Exposure-178) > 1e-9 || len(e.Alarms) != 1 {
				t.Fatalf("%+v", e)
			}
			a := e.Alarms[0]
			if d := cmp.Diff(c.want, values(a), approx); d != "" {
				t.Errorf("figures (-want +got):\n%s", d)
			}
			if got := [4]int{a.FalseAlarms, a.CaughtIncidents, a.LateIncidents, a.CaughtComponents}; got != c.counts {
				t.Errorf("counts %v, want %v", got, c.counts)
			}
			if a.Incidents != 2 || a.FailingComponents != 2 || (c.threshold > 0) != math.IsNaN(a.Budget) {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestEvaluateDays: times in hours are counted over days, and an alarm that
// stands for three hours is one.
func TestEvaluateDays(t *testing.T) {
	e, err := Evaluate(twoComponents(), EvaluateOptions{Unit: ParseTimeUnit("hours"), Thresholds: []float64{0.9}})
	if err != nil {
		t.Fatal(err)
	}
	if a := e.Alarms[0]; e.Rate != "days" || a.FalseAlarms != 2 || math.Abs(a.Rate.Value-2000*24/178.) > 1e-9 || a.LeadMedian.Value != 5 {
		t.Errorf("%+v: %+v", e, a)
	}
	if len(e.Alarms) != 4 || e.Alarms[1].Budget != 0.1 || e.Alarms[3].Budget != 10 {
		t.Errorf("budgets: %+v", e.Alarms)
	}
}

// TestEvaluateIncidents: what makes an incident, and which rows belong to it.
func TestEvaluateIncidents(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		positive  string // one row an hour
		event     []float64
		lead      float64
		incidents int
		exposure  float64
	}{
		"a run":                     {positive: "000110", incidents: 1, exposure: 2},
		"two runs":                  {positive: "01001100", incidents: 2, exposure: 2},
		"two events":                {positive: "001111", event: []float64{nan, nan, 4, 4, 6, 6}, incidents: 2, exposure: 1},
		"an event told late":        {positive: "001111", event: []float64{nan, nan, nan, 6, 6, 6}, incidents: 1, exposure: 1},
		"rows within the lead":      {positive: "001000", event: []float64{5, 5, 5, 5, 5, nan}, lead: 2, incidents: 1, exposure: 1},
		"within the lead only":      {positive: "000000", event: []float64{2, 2, 2, nan, nan, nan}, lead: 2, incidents: 0, exposure: 2},
		"without a lead they count": {positive: "001000", event: []float64{5, 5, 5, 5, 5, nan}, incidents: 1, exposure: 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Scores{Groups: []string{"a"}, Event: c.event}
			for i, y := range c.positive {
				s.Probability, s.Positive = append(s.Probability, 0.5), append(s.Positive, y == '1')
				s.Group, s.Time = append(s.Group, 0), append(s.Time, float64(i))
			}
			line := newTimeline(s, 1, c.lead)
			if len(line.incidents) != c.incidents || line.total != c.exposure {
				t.Errorf("%d incidents %+v, exposure %v; want %d, %v", len(line.incidents), line.incidents, line.total, c.incidents, c.exposure)
			}
		})
	}
}

// TestEvaluateExposure: what of a component's time counts, in days.
func TestEvaluateExposure(t *testing.T) {
	for name, c := range map[string]struct {
		time     []float64
		positive string
		want     float64
	}{
		"repaired for a hundred days": {time: []float64{0, 1, 2, 3, 103, 104}, positive: "000100", want: 3},
		"silent for a hundred days":   {time: []float64{0, 1, 2, 3, 103, 104}, positive: "000000", want: 4 + 3},
		"each week":                   {time: []float64{0, 7, 14, 21, 35}, positive: "00000", want: 35},
		"bursts within the day":       {time: []float64{0, 0.001, 0.002, 0.9, 0.901, 0.902}, positive: "000000", want: 0.902},
		"one row":                     {time: []float64{5}, positive: "0"},
		"all at once":                 {time: []float64{5, 5, 5, 15}, positive: "0000", want: 1},
	} {
		s := &Scores{Groups: []string{"a"}, Time: c.time}
		for _, y := range c.positive {
			s.Probability, s.Positive, s.Group = append(s.Probability, 0.5), append(s.Positive, y == '1'), append(s.Group, 0)
		}
		if line := newTimeline(s, 1, 0); math.Abs(line.total-c.want) > 1e-12 || line.exposure[0] != line.total {
			t.Errorf("%s: exposure %v of %v, want %v", name, line.exposure, line.total, c.want)
		}
	}
}

// TestEvaluateRows: the figures of a table without components, by hand.
func TestEvaluateRows(t *testing.T) {
	s := &Scores{Probability: []float64{0.9, 0.8, 0.7, 0.6, 0.2}, Positive: []bool{true, false, true, false, false}}
	e, err := Evaluate(s, EvaluateOptions{Thresholds: []float64{0.7}})
	if err != nil {
		t.Fatal(err)
	}
	got := []float64{e.AP.Value, e.AUC.Value, e.Brier.Value, e.BrierSkill.Value, e.LogLoss.Value, e.Alarms[0].RowPrecision.Value, e.Alarms[0].RowRecall.Value}
	want := []float64{(1 + 2./3) / 2, 5. / 6, 1.14 / 5, 1 - (1.14/5)/0.24, -math.Log(0.9*0.2*0.7*0.4*0.8) / 5, 2. / 3, 1}
	if d := cmp.Diff(want, got, approx); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// The first 0.1 % of five rows is a part of the first row.
	if top := e.Top[0]; top.Share != 0.001 || top.Precision.Value != 1 || math.Abs(top.Recall.Value-0.005/2) > 1e-12 {
		t.Errorf("top %+v", top)
	}
	if e.Rate != "" || e.Components != 0 || len(e.Alarms) != 1 {
		t.Errorf("%+v", e)
	}

	// At the edge lie three tied rows, one of them positive: 2 of the 4 first
	// rows are 1 + 1 of 3.
	r := newRanking([]float64{0.9, 0.5, 0.5, 0.5, 0.1}, []bool{true, true, false, false, true}, nil)
	if got := r.top(ones(5), 2); math.Abs(got-4./3) > 1e-12 {
		t.Errorf("top 2 of a tie: %v", got)
	}
	if got := r.top(ones(5), 10); got != 3 {
		t.Errorf("top of all: %v", got)
	}

	one, err := Evaluate(&Scores{Probability: []float64{0.5}, Positive: []bool{false}}, EvaluateOptions{Bootstrap: 5})
	if err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(one.AUC.Value) || !math.IsNaN(one.AP.Value) || !math.IsNaN(one.BrierSkill.Value) || !math.IsNaN(one.AUC.Low) || one.Brier.Value != 0.25 {
		t.Errorf("of one class: %+v", one)
	}
}

// randomScores draws components whose risk rises before they fail.
func randomScores(components, rows int, seed uint64) *Scores {
	rng := rand.New(rand.NewPCG(seed, 2))
	s := &Scores{}
	for c := range components {
		s.Groups = append(s.Groups, string(rune('a'+c%26)))
		fails := rng.IntN(3) == 0
		for i := range rows {
			y := fails && i >= rows-4
			x := rng.NormFloat64() - 3
			if y {
				x += 3
			}
			s.Probability, s.Positive = append(s.Probability, model.Sigmoid(x)), append(s.Positive, y)
			s.Group, s.Time = append(s.Group, int32(c)), append(s.Time, float64(i))
		}
	}
	return s
}

// TestEvaluateIntervals: the intervals hold the values, narrow with more
// components, and do not depend on the threads.
func TestEvaluateIntervals(t *testing.T) {
	var few, many *Evaluation
	for _, threads := range []int{1, 2, 7} {
		e, err := Evaluate(randomScores(60, 20, 1), EvaluateOptions{Bootstrap: 200, Seed: 4, Threads: threads, Detail: 3, Budgets: []float64{10, 50}})
		if err != nil {
			t.Fatal(err)
		}
		if few == nil {
			few = e
		}
		if d := cmp.Diff(few, e, cmpopts.EquateNaNs()); d != "" {
			t.Fatalf("%d threads (-1 +%[1]d):\n%s", threads, d)
		}
	}
	many, err := Evaluate(randomScores(600, 20, 1), EvaluateOptions{Bootstrap: 200, Seed: 4, Budgets: []float64{10, 50}})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range many.estimates() {
		if !(f.Low <= f.Value && f.Value <= f.High) {
			t.Errorf("figure %d: %+v", i, f)
		}
	}
	if a, b := few.AUC, many.AUC; b.High-b.Low > 0.6*(a.High-a.Low) {
		t.Errorf("60 components %+v, 600 %+v", a, b)
	}
}

// TestEvaluatePlain: without weights the figures are those of package model.
func TestEvaluatePlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 60).Draw(t, "rows")
		s := &Scores{
			Probability: rapid.SliceOfN(rapid.Float64Range(0, 1), n, n).Draw(t, "p"),
			Positive:    rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "label"),
		}
		p, y := s.Probability, s.Positive
		e, err := Evaluate(s, EvaluateOptions{Detail: 2})
		if err != nil {
			t.Fatal(err)
		}
		got := []float64{e.AP.Value, e.AUC.Value, e.LogLoss.Value, e.Brier.Value, e.BrierSkill.Value, e.ECE.Value}
		want := []float64{model.AveragePrecision(p, y), model.ROCAUC(p, y), model.LogLoss(p, y), model.Brier(p, y), model.BrierSkill(p, y), model.ECE(p, y, model.ECEBins)}
		if d := cmp.Diff(want, got, approx); d != "" {
			t.Fatalf("(-model +evaluation):\n%s", d)
		}
		area, last := 0.0, XY{}
		for _, at := range e.Detail.PR {
			area += (at.X - last.X) * at.Y
			last = at
		}
		if e.Positives > 0 && math.Abs(area-e.AP.Value) > 1e-9 {
			t.Fatalf("the curve's steps hold %v, the average precision is %v", area, e.AP.Value)
		}
	})
}

func TestEvaluateErrors(t *testing.T) {
	rows := func() *Scores {
		return &Scores{Probability: []float64{0.5, 0.5}, Positive: []bool{true, false}, Group: []int32{0, 0}, Groups: []string{"a"}, Time: []float64{1, 2}}
	}
	for want, c := range map[string]struct {
		change func(*Scores)
		opt    EvaluateOptions
	}{
		"there are no rows":           {change: func(s *Scores) { *s = Scores{} }},
		"2 probabilities, 1 labels":   {change: func(s *Scores) { s.Positive = s.Positive[:1] }},
		"row 2: the probability is 2": {change: func(s *Scores) { s.Probability[1] = 2 }},
		"the probability is NaN":      {change: func(s *Scores) { s.Probability[1] = math.NaN() }},
		"row 1: the time is +Inf":     {change: func(s *Scores) { s.Time[0] = math.Inf(1) }},
		"row 1: group 3 of 1":         {change: func(s *Scores) { s.Group[0] = 3 }},
		"need the components":         {change: func(s *Scores) { s.Group = nil }},
		"budget is 0":                 {opt: EvaluateOptions{Budgets: []float64{0}}},
		"threshold is 1.5":            {opt: EvaluateOptions{Thresholds: []float64{1.5}}},
		"lead is -1":                  {opt: EvaluateOptions{Lead: -1}},
		"bootstrap is -1":             {opt: EvaluateOptions{Bootstrap: -1}},
		"threads is -1":               {opt: EvaluateOptions{Threads: -1}},
	} {
		s := rows()
		if c.change != nil {
			c.change(s)
		}
		if _, err := Evaluate(s, c.opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestParseTimeUnit(t *testing.T) {
	for name, want := range map[string]float64{"hours": 24, "Hour": 24, "s": 86400, "minutes": 1440, "weeks": 1. / 7, "days": 1, "ms": 86.4e6} {
		if u := ParseTimeUnit(name); u.PerDay != want || u.Name != name {
			t.Errorf("%s: %+v", name, u)
		}
		if rate, _ := ParseTimeUnit(name).Rate(); rate != "days" {
			t.Errorf("%s: rate %s", name, rate)
		}
	}
	if rate, units := ParseTimeUnit("cycles").Rate(); rate != "cycles" || units != 1 {
		t.Errorf("cycles: %s, %v", rate, units)
	}
}

// BenchmarkEvaluate: a resample of a million rows, alone and as 1,000
// components.
func BenchmarkEvaluate(b *testing.B) {
	for name, s := range map[string]*Scores{"components": randomScores(1000, 1000, 1), "rows": randomScores(1000, 1000, 1)} {
		b.Run(name, func(b *testing.B) {
			if name == "rows" {
				s.Group, s.Time = nil, nil
			}
			m := newMeasures(s, &EvaluateOptions{})
			weight, out := ones(m.units), make([]float64, 0, 100)
			for i := 0; b.Loop(); i++ {
				draw(weight, rand.NewPCG(1, uint64(i)))
				out = m.figures(weight, out[:0])
			}
		})
	}
}

// Of one component no resample differs from another: nothing tells how much its
// figures vary, and no interval says that they are certain.
func TestOneComponent(t *testing.T) {
	s := &Scores{Probability: []float64{0.1, 0.9, 0.3, 0.6}, Positive: []bool{false, true, true, false}, Group: make([]int32, 4), Groups: []string{"a"}, Time: []float64{1, 2, 3, 4}}
	p, err := s.Against([]float64{0.2, 0.8, 0.1, 0.7}, 50, 1, 1)
	if err != nil || p.Resamples != 0 || !math.IsNaN(p.AUC.Better) || !math.IsNaN(p.AUC.CI.Low) {
		t.Errorf("%+v, %v", p, err)
	}
	e, err := Evaluate(s, EvaluateOptions{Bootstrap: 50})
	if err != nil {
		t.Fatal(err)
	}
	if e.Resamples != 0 || !math.IsNaN(e.AP.Low) || !math.IsNaN(e.AUC.High) || math.IsNaN(e.AUC.Value) {
		t.Errorf("%d resamples, AP %v, AUC %v", e.Resamples, e.AP, e.AUC)
	}
	r, err := EvaluateRegression([]float64{1, 2}, []float64{1, 3}, []int32{0, 0}, EvaluateOptions{Bootstrap: 50})
	if err != nil || r.Resamples != 0 || !math.IsNaN(r.RMSE.Low) {
		t.Errorf("%+v, %v", r, err)
	}
}
