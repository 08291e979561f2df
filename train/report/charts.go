package report

import (
	"fmt"
	"math"

	"github.com/stratoswarm/forestall/train"
)

// rare is the base rate below which probabilities are drawn by their odds.
const rare = 0.05

// charts draws what the evaluation has, by the name of the drawing.
func (p *Page) charts() map[string]*figure {
	all := map[string]*figure{"scores": p.scores()}
	d := p.Evaluation.Detail
	if len(d.PR) > 0 {
		all["pr"] = p.pr()
	}
	if len(d.ROC) > 0 {
		all["roc"] = p.roc()
	}
	if len(d.Reliability) > 0 {
		all["reliability"] = p.reliability()
	}
	if len(d.Budgets) > 0 && p.Evaluation.Incidents > 0 {
		all["lead"] = p.lead()
		if p.Evaluation.Exposure > 0 {
			all["budget"] = p.budget()
		}
	}
	return all
}

func (p *Page) base() float64 {
	return float64(p.Evaluation.Positives) / float64(p.Evaluation.Rows)
}

func (p *Page) pr() *figure {
	e := p.Evaluation
	f := &figure{ID: "pr", Title: "Precision and recall", Head: []string{"Recall", "Precision"}}
	f.Desc = fmt.Sprintf("Precision of the rows above a threshold as the threshold falls and recall rises. Average precision %s; chance would be %s.", number(e.AP.Value), percent(p.base()))
	c := newChart(shares(), shares(), "recall: share of the positive rows that are found", "precision")
	// A step holds back to the point before, so the first begins at no recall.
	curve := append([]train.XY{{X: 0, Y: e.Detail.PR[0].Y}}, e.Detail.PR...)
	c.steps("ink", curve)
	c.line("reference", []train.XY{{X: 0, Y: p.base()}, {X: 1, Y: p.base()}})
	for _, x := range p.points() {
		if known(x.RowPrecision.Value) {
			c.dot("dot "+x.Class, train.XY{X: x.RowRecall.Value, Y: x.RowPrecision.Value}, 4.5)
			f.Legend = append(f.Legend, legend{x.Class, x.Name})
		}
	}
	f.Legend = append(f.Legend, legend{"reference", "chance"})
	f.numbers(e.Detail.PR, percent, percent)
	return c.done(f)
}

func (p *Page) roc() *figure {
	e := p.Evaluation
	f := &figure{ID: "roc", Title: "ROC curve", Head: []string{"False positive rate", "True positive rate"}}
	f.Desc = fmt.Sprintf("Share of the positive rows found against the share of the others that are found with them. Area %s; chance would be 0.5.", number(e.AUC.Value))
	c := newChart(shares(), shares(), "share of the other rows above the threshold", "share of the positive rows above it")
	c.area("s0", e.Detail.ROC)
	c.line("s0", e.Detail.ROC)
	c.line("reference", []train.XY{{X: 0, Y: 0}, {X: 1, Y: 1}})
	f.Legend = []legend{{"s0", "this model"}, {"reference", "chance"}}
	f.numbers(e.Detail.ROC, percent, percent)
	return c.done(f)
}

// reliability draws what was said against what came, above how often it was
// said.
func (p *Page) reliability() *figure {
	d := p.Evaluation.Detail
	f := &figure{ID: "reliability", Title: "Are the probabilities true?", Head: []string{"Probability", "Said, mean", "Came true", "95 % interval", "Rows"}}
	f.Desc = fmt.Sprintf("Mean probability of groups of rows against the share of them that came true; on the diagonal both agree. Calibration error %s.", percent(p.Evaluation.ECE.Value))
	x, y := shares(), shares()
	if p.base() < rare {
		low, high := 1.0, 0.0
		for _, b := range d.Reliability {
			if b.Mean > 0 {
				low = min(low, b.Mean)
			}
			if b.Observed > 0 {
				low = min(low, b.Observed)
			}
			high = max(high, b.Mean, b.ObservedHigh)
		}
		x = odds(low/1.5, min(high, 0.995))
		y = x
	}
	c := newChart(x, y, "probability said", "share that came true")
	p.saidOften(c)
	c.line("reference", []train.XY{{X: x.low, Y: x.low}, {X: x.high, Y: x.high}})
	for _, b := range d.Reliability {
		c.whisker("whisker", b.Mean, b.ObservedLow, b.ObservedHigh)
	}
	for _, b := range d.Reliability {
		class := "dot s0"
		if b.Positives == 0 {
			class = "dot hollow s0"
		}
		c.dot(class, train.XY{X: b.Mean, Y: b.Observed}, 4)
		f.Numbers = append(f.Numbers, []string{
			probability(b.Low) + " to " + probability(b.High), probability(b.Mean), probability(b.Observed),
			probability(b.ObservedLow) + " to " + probability(b.ObservedHigh), count(b.Rows),
		})
	}
	f.Legend = []legend{{"s0", "rows of similar probability, 95 % interval"}, {"reference", "what was said came true"}, {"often", "how often it was said, log scale"}}
	return c.done(f)
}

// saidOften draws the histogram of the probabilities at the foot of the chart,
// with logarithmic heights.
func (p *Page) saidOften(c *chart) {
	h := p.Evaluation.Detail.Scores
	most := 0
	for i := range h.Negative {
		most = max(most, h.Negative[i]+h.Positive[i])
	}
	const tall = 0.22 // of the chart
	for i := range h.Negative {
		n := h.Negative[i] + h.Positive[i]
		if n == 0 {
			continue
		}
		width := (h.High - h.Low) / float64(len(h.Negative))
		from, to := sigmoid(h.Low+float64(i)*width), sigmoid(h.Low+float64(i+1)*width)
		height := tall * math.Log1p(float64(n)) / math.Log1p(float64(most)) * (chartHeight - marginTop - marginBottom)
		left, right := c.px(from), c.px(to)
		fmt.Fprintf(c, `<rect class="often" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, left, chartHeight-marginBottom-height, max(right-left-0.6, 0.4), height)
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// scores draws the probabilities of both classes.
func (p *Page) scores() *figure {
	h := p.Evaluation.Detail.Scores
	f := &figure{ID: "scores", Title: "Probabilities of both classes", Head: []string{"Probability", "Without incident", "With"}}
	f.Desc = "How the probabilities of rows with and without an incident ahead are spread, each as shares of its class. The farther apart, the better."
	classes := []struct {
		class, name string
		rows        []int
	}{{"calm", "rows without an incident ahead", h.Negative}, {"loud", "rows with one", h.Positive}}
	highest := 0.0
	of := map[string]float64{}
	for _, k := range classes {
		for _, n := range k.rows {
			of[k.class] += float64(n)
		}
		for _, n := range k.rows {
			if of[k.class] > 0 {
				highest = max(highest, float64(n)/of[k.class])
			}
		}
	}
	y := linear(0, highest)
	for i := range y.ticks {
		y.ticks[i].text = number(round(100*y.ticks[i].at)) + " %"
	}
	c := newChart(odds(sigmoid(h.Low), sigmoid(h.High)), y, "probability", "share of the class")
	width := (h.High - h.Low) / float64(len(h.Negative))
	for _, k := range classes {
		if of[k.class] == 0 {
			continue
		}
		var points []train.XY
		for i, n := range k.rows {
			share := float64(n) / of[k.class]
			points = append(points, train.XY{X: sigmoid(h.Low + float64(i)*width), Y: share}, train.XY{X: sigmoid(h.Low + float64(i+1)*width), Y: share})
		}
		c.area(k.class, points)
		c.line(k.class, points)
		f.Legend = append(f.Legend, legend{k.class, k.name})
	}
	const rows = 10
	for i := 0; i < len(h.Negative); i += len(h.Negative) / rows {
		negatives, positives := 0, 0
		for k := i; k < i+len(h.Negative)/rows; k++ {
			negatives, positives = negatives+h.Negative[k], positives+h.Positive[k]
		}
		f.Numbers = append(f.Numbers, []string{
			probability(sigmoid(h.Low+float64(i)*width)) + " to " + probability(sigmoid(h.Low+float64(i+len(h.Negative)/rows)*width)), count(negatives), count(positives),
		})
	}
	return c.done(f)
}

func (p *Page) budget() *figure {
	d, e := p.Evaluation.Detail, p.Evaluation
	f := &figure{ID: "budget", Title: "What false alarms buy", Head: []string{"False alarms in " + p.per(), "Incidents caught", "Threshold"}}
	f.Desc = fmt.Sprintf("Share of the incidents that are caught against the false alarms in %s, threshold by threshold.", p.per())
	low, high := math.Inf(1), 0.0
	for _, a := range e.Alarms {
		for _, v := range []float64{a.Budget, a.Rate.Value} {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if math.IsInf(low, 1) {
		low, high = 0.1, 10
	}
	x := logarithmic(low/2, high*2)
	c := newChart(x, shares(), "false alarms in "+p.per()+", log scale", "incidents caught")
	// What a rate catches holds until the next rate that was tried.
	var curve []train.XY
	for i, b := range d.Budgets {
		if b.Rate > x.high {
			break
		}
		if i+1 < len(d.Budgets) && d.Budgets[i+1].Rate <= x.low {
			continue // all these are at the chart's edge
		}
		if n := len(curve); n > 0 {
			curve = append(curve, train.XY{X: b.Rate, Y: curve[n-1].Y})
		}
		curve = append(curve, train.XY{X: b.Rate, Y: b.Caught})
	}
	if n := len(curve); n > 0 {
		curve = append(curve, train.XY{X: x.high, Y: curve[n-1].Y})
	}
	c.line("ink", curve)
	for _, a := range p.points() {
		if known(a.Caught.Value) && known(a.Rate.Value) {
			if known(a.Caught.Low) {
				c.whisker("whisker "+a.Class, a.Rate.Value, a.Caught.Low, a.Caught.High)
			}
			c.dot("dot "+a.Class, train.XY{X: a.Rate.Value, Y: a.Caught.Value}, 5)
			f.Legend = append(f.Legend, legend{a.Class, a.Name})
		}
	}
	step := max(1, len(d.Budgets)/12)
	for i := 0; i < len(d.Budgets); i += step {
		b := d.Budgets[i]
		f.Numbers = append(f.Numbers, []string{number(round(b.Rate)), percent(b.Caught), probability(b.Threshold)})
	}
	return c.done(f)
}

func (p *Page) lead() *figure {
	d, e := p.Evaluation.Detail, p.Evaluation
	f := &figure{ID: "lead", Title: "How much time is left", Head: []string{"Threshold", "Caught", "Median left", "Nine of ten"}}
	f.Desc = "Share of all incidents that are caught with at least so much time left, for each threshold."
	longest := 0.0
	for _, curve := range d.Leads {
		if len(curve) > 0 {
			longest = max(longest, curve[len(curve)-1].X)
		}
	}
	c := newChart(linear(0, longest), shares(), "time left at the first alarm, in "+p.Unit.Name, "incidents caught with at least that")
	if p.Lead > 0 {
		c.line("reference", []train.XY{{X: p.Lead, Y: 0}, {X: p.Lead, Y: 1}})
	}
	for i, a := range p.points() {
		if curve := d.Leads[i]; len(curve) > 0 {
			first := train.XY{X: 0, Y: curve[0].Y}
			last := train.XY{X: curve[len(curve)-1].X, Y: 0}
			at := []train.XY{first}
			for k, q := range curve {
				if k > 0 {
					at = append(at, train.XY{X: curve[k-1].X, Y: q.Y})
				}
				at = append(at, q)
			}
			c.line(a.Class, append(at, last))
		}
		f.Legend = append(f.Legend, legend{a.Class, a.Name})
		f.Numbers = append(f.Numbers, []string{a.Name, fmt.Sprintf("%s of %s", count(a.CaughtIncidents), count(e.Incidents)), number(a.LeadMedian.Value), number(a.LeadP10.Value)})
	}
	if p.Lead > 0 {
		f.Legend = append(f.Legend, legend{"reference", "the lead that an alarm must leave"})
	}
	return c.done(f)
}

// numbers fills the figure's table with about a dozen points of a curve.
func (f *figure) numbers(curve []train.XY, x, y func(float64) string) {
	const rows = 12
	for k := range min(rows, len(curve)) {
		at := curve[k*(len(curve)-1)/max(min(rows, len(curve))-1, 1)]
		f.Numbers = append(f.Numbers, []string{x(at.X), y(at.Y)})
	}
}
