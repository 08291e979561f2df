package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"time"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// Page is what a report says.
type Page struct {
	Made       time.Time
	Program    string // that made it, with its version
	Card       model.Card
	Trees      int
	Table      Table
	Unit       train.TimeUnit
	Lead       float64           // in Unit
	Evaluation *train.Evaluation // with its Detail
	Rows       Rows
	Against    *Against // nil: no other model
	Notes      []string // what a reader must know first
}

// Table says what was evaluated on.
type Table struct {
	Path                          string
	SHA256                        string // of the file; may be empty
	Label, Group, Time, EventTime string // columns; may be empty
	FirstTime, LastTime           float64
}

// Against is another model on the same rows.
type Against struct {
	Model string
	train.Paired
}

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": percent, "percents": percents, "number": number, "span": span, "rounded": rounded, "roundedSpan": roundedSpan, "signed": signed, "count": count,
	"probability": probability, "day": func(t time.Time) string { return t.UTC().Format("2 January 2006") },
	"moment": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }, "known": known, "add": func(a, b int) int { return a + b },
	"plural": plural, "amount": amount, "at": at,
}).Parse(pageHTML))

// Render writes the page: HTML with its style and drawings inside, and no
// reference to anything outside.
func (p *Page) Render(w io.Writer) error {
	if p.Evaluation == nil || p.Evaluation.Detail == nil {
		return fmt.Errorf("a report needs an evaluation with its detail")
	}
	var out bytes.Buffer
	err := page.Execute(&out, struct {
		*Page
		E      *train.Evaluation
		Style  template.CSS
		Points []operatingPoint
		Chosen *operatingPoint
		Cards  []card
		Said   string

		Caveats []string
		By      map[string]*figure
		Base    float64

		Importance []importanceRow
		More       int // features that are not listed
	}{
		Page: p, E: p.Evaluation, Style: template.CSS(styleCSS), Points: p.points(), Chosen: p.chosen(), Cards: p.cards(), Said: p.said(), Caveats: p.caveats(),
		By: p.charts(), Base: p.base(), Importance: p.importance(), More: len(p.Rows.Importance) - len(p.importance()),
	})
	if err != nil {
		return fmt.Errorf("render report: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

// importanceRow is a feature with its bars, in percent of the longest.
type importanceRow struct {
	Importance
	ContributionBar, GainBar float64
}

// featuresShown bounds the table of features.
const featuresShown = 20

func (p *Page) importance() (rows []importanceRow) {
	var contribution, gain float64
	for _, f := range p.Rows.Importance {
		contribution, gain = max(contribution, f.Contribution), max(gain, f.Gain)
	}
	bar := func(v, longest float64) float64 {
		if !known(v) || !(longest > 0) {
			return 0
		}
		return math.Round(700*v/longest) / 10
	}
	for _, f := range p.Rows.Importance[:min(featuresShown, len(p.Rows.Importance))] {
		if f.Gain == 0 && !(f.Contribution > 0) {
			continue // no tree asks for it
		}
		rows = append(rows, importanceRow{f, bar(f.Contribution, contribution), bar(f.Gain, gain)})
	}
	return rows
}
