package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// operatingPoint is a threshold as the page names it.
type operatingPoint struct {
	Class string // of its colour
	Name  string
	train.Alarms
}

// pointClasses are how many colours the points take turns with.
const pointClasses = 4

func (p *Page) points() (all []operatingPoint) {
	for i, a := range p.Evaluation.Alarms {
		x := operatingPoint{Class: fmt.Sprintf("s%d", i%pointClasses), Alarms: a, Name: "budget " + number(a.Budget)}
		if math.IsNaN(a.Budget) {
			x.Name = "from " + probability(a.Threshold)
		}
		all = append(all, x)
	}
	return all
}

// chosen is the point that the headline speaks of: the first given threshold,
// or the budget that is nearest to 1.
func (p *Page) chosen() *operatingPoint {
	if p.Evaluation.Rate == "" {
		return nil
	}
	var best *operatingPoint
	far := math.Inf(1)
	for _, x := range p.points() {
		distance := math.Abs(math.Log(x.Budget))
		if math.IsNaN(distance) {
			distance = -1
		}
		if distance < far {
			best, far = &x, distance
		}
	}
	return best
}

// per names what rates are counted over.
func (p *Page) per() string { return "1,000 component-" + p.Evaluation.Rate }

// said is the result in a sentence or two.
func (p *Page) said() string {
	e := p.Evaluation
	x := p.chosen()
	if x == nil {
		top := e.Top[1]
		return fmt.Sprintf("Of the riskiest %s of rows %s came true; they hold %s of all positives.", percent(top.Share), percent(top.Precision.Value), percent(top.Recall.Value))
	}
	switch {
	case x.Incidents == 0 && known(x.Rate.Value):
		return fmt.Sprintf("There is no incident to catch; it gives %s false alarms in %s.", rounded(x.Rate.Value), p.per())
	case x.Incidents == 0:
		return "There is no incident to catch, and no time between rows without one ahead."
	}
	var b strings.Builder
	if known(x.Rate.Value) {
		fmt.Fprintf(&b, "With %s false alarms in %s, it", rounded(x.Rate.Value), p.per())
	} else {
		b.WriteString("It")
	}
	fmt.Fprintf(&b, " catches %s of %s", count(x.CaughtIncidents), plural(x.Incidents, "incident"))
	if s := percents(x.Caught.Interval); s != "" {
		fmt.Fprintf(&b, " (%s)", s)
	}
	switch {
	case x.CaughtIncidents == 0:
	case x.LeadMedian.Value > 0:
		fmt.Fprintf(&b, ", half of those with at least %s left", amount(x.LeadMedian.Value, p.Unit.Name))
	default:
		b.WriteString(", half of those with no time left")
	}
	return b.String() + "."
}

// Missed returns the examples of incidents that the headline's threshold does
// not reach; of rows without times all.
func (p *Page) Missed() []Explained {
	x := p.chosen()
	if x == nil {
		return p.Rows.Misses
	}
	return slices.DeleteFunc(slices.Clone(p.Rows.Misses), func(m Explained) bool { return m.Probability >= x.Threshold })
}

// card is a headline figure.
type card struct{ Name, Value, Span, Note string }

func (p *Page) cards() []card {
	e := p.Evaluation
	var all []card
	if x := p.chosen(); x != nil {
		left := card{"Time left, median", amount(x.LeadMedian.Value, p.Unit.Name), roundedSpan(x.LeadMedian.Interval), "nine of ten: " + number(x.LeadP10.Value) + " or more"}
		if x.CaughtIncidents == 0 {
			left = card{"Time left, median", number(math.NaN()), "", "nothing is caught"}
		}
		all = append(all,
			card{"Incidents caught", percent(x.Caught.Value), percents(x.Caught.Interval), fmt.Sprintf("%s of %s", count(x.CaughtIncidents), count(x.Incidents))},
			left,
			card{"Alarms that were right", percent(x.Precision.Value), percents(x.Precision.Interval), plural(x.FalseAlarms, "false alarm")},
		)
	}
	if len(all) == 0 {
		top := e.Top[1]
		name := "riskiest " + percent(top.Share)
		all = append(all,
			card{"Right among the " + name, percent(top.Precision.Value), percents(top.Precision.Interval), "precision"},
			card{"Found in the " + name, percent(top.Recall.Value), percents(top.Recall.Interval), "recall"},
			card{"Positive rows", count(e.Positives), "", percent(p.base()) + " of all"},
		)
	}
	all = append(all,
		card{"Average precision", number(e.AP.Value), span(e.AP.Interval), "chance: " + rounded(p.base())},
		card{"ROC AUC", number(e.AUC.Value), span(e.AUC.Interval), "chance: 0.5"},
		card{"Brier skill", rounded(e.BrierSkill.Value), roundedSpan(e.BrierSkill.Interval), "0: the base rate"},
		card{"Calibration error", percent(e.ECE.Value), percents(e.ECE.Interval), fmt.Sprintf("mean gap, %d bins", model.ECEBins)},
		card{"Log loss", rounded(e.LogLoss.Value), roundedSpan(e.LogLoss.Interval), "nats per row"},
	)
	return all
}

// round keeps three digits.
func round(v float64) float64 {
	if v == 0 || !known(v) {
		return v
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	return math.Round(v/unit) * unit
}

// rounded is number with three digits.
func rounded(v float64) string { return number(round(v)) }

func roundedSpan(i train.Interval) string {
	return span(train.Interval{Low: round(i.Low), High: round(i.High)})
}

// fewIncidents is below what an interval can be relied on.
const fewIncidents = 10

// caveats are what a reader must know before the figures.
func (p *Page) caveats() []string {
	e, all := p.Evaluation, slices.Clone(p.Notes)
	if e.Rate != "" && e.Incidents < fewIncidents {
		all = append(all, fmt.Sprintf("There %s in this table. So few say little, and the intervals are too narrow for them.", are(e.Incidents, "incident")))
	} else if e.Rate == "" && e.Positives < fewIncidents {
		all = append(all, fmt.Sprintf("There %s in this table. So few say little, and the intervals are too narrow for them.", are(e.Positives, "positive row")))
	}
	if e.Components == 1 {
		all = append(all, "All rows are of one component: nothing tells how much the figures vary from one to another, so there are no intervals.")
	}
	if e.Rate == "" {
		all = append(all, "No components or times were told, so the figures are of rows. Rows of one component are much alike: the true uncertainty is larger than the intervals say, and lead times are not known.")
	} else if x := p.chosen(); x != nil && known(x.Budget) {
		all = append(all, "The thresholds of the budgets were chosen on this very table, which flatters them a little. A threshold that was chosen on another table can be given.")
	}
	if p.Card.Training.DataSHA256 == "" && p.Card.Calibration.Method == "" {
		all = append(all, "The model came without a card: its probabilities are not calibrated.")
	}
	return all
}

func are(n int, noun string) string {
	if n == 1 {
		return "is 1 " + noun
	}
	return "are " + plural(n, noun)
}
