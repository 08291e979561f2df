package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
)

// explainCmd says why rows of a plain table have the risk that a model gives
// them.
type explainCmd struct {
	Model   string   `required:"" placeholder:"DIR" help:"Directory of a model, or a bare model.txt, which has no calibration."`
	Table   string   `required:"" placeholder:"FILE" help:"Table: CSV, plain or compressed with gzip or zstd, or Parquet."`
	Row     []int    `placeholder:"N,.." help:"Rows to explain, counted from 1 after the header. Without it the riskiest are."`
	Top     int      `default:"10" placeholder:"N" help:"How many of the riskiest rows to explain."`
	Reasons int      `default:"5" placeholder:"N" help:"How many features to name for each row; those with the largest shares."`
	Group   string   `placeholder:"COL" help:"Column with the component, a name or a number, to show with each row. Of each component only the riskiest row is explained, unless --row names others."`
	Show    []string `placeholder:"COL,.." help:"Columns of numbers or times to show with each row."`
	JSON    bool     `name:"json" help:"Print JSON, numbers exact, with the shares of all features."`

	textTimes []string // of the columns to show, those that hold times as text
}

// Help adds to the command's help.
func (explainCmd) Help() string {
	return "The share of a feature is what its value adds to the score, an exact Shapley value; the shares and the bias add up to the score. The score is in log-odds, before the calibration makes a probability of it. Of a regression the riskiest rows are those of the highest score."
}

// shownTimes is the unit in which times that are text are held.
var shownTimes = train.TimeUnit{Name: "s", PerDay: 86_400, Text: true}

// explained is a row with its risk.
type explained struct {
	Row         int                `json:"row"` // from 1
	Component   string             `json:"component,omitempty"`
	Probability number             `json:"probability"`
	Score       float64            `json:"score"`
	Bias        float64            `json:"bias"`
	Show        map[string]any     `json:"show,omitempty"` // numbers; times that are text as text
	Values      map[string]number  `json:"values"`
	Shares      map[string]float64 `json:"shares"`

	cells []float64 // of the features, then those to show
}

func (c *explainCmd) Run(g *globals) error {
	switch {
	case c.Top < 1:
		return fmt.Errorf("--top is %d; it must be at least 1", c.Top)
	case c.Reasons < 1:
		return fmt.Errorf("--reasons is %d; it must be at least 1", c.Reasons)
	case len(c.Row) > 0 && slices.Min(c.Row) < 1:
		return fmt.Errorf("--row is %d; rows are counted from 1", slices.Min(c.Row))
	}
	m, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	rows, err := c.choose(g, m)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := c.explain(m, r); err != nil {
			return err
		}
	}
	if c.JSON {
		enc := json.NewEncoder(g.out)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	for i, r := range rows {
		if i > 0 {
			fmt.Fprintln(g.out)
		}
		c.print(g, m, r)
	}
	return nil
}

// choose reads the rows that are asked for, in the table's order, or the
// riskiest, the first of them first.
func (c *explainCmd) choose(g *globals, m *model.Model) ([]*explained, error) {
	var rows []*explained
	n, at := m.NumFeatures(), 0
	columns := m.Features()
	for _, name := range c.Show { // a feature may be shown too; it is read once
		if !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	riskier := func(a, b *explained) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Row, b.Row))
	}
	in, err := table.Open(c.Table)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	in.Times(shownTimes.PerDay, columns[n:]...)
	err = train.ScanText(g.ctx, in, columns, c.Group, func(cells []float64, component string) error {
		at++
		if len(c.Row) > 0 && !slices.Contains(c.Row, at) {
			return nil
		}
		score, err := m.Raw(cells[:n])
		if err != nil {
			return err
		}
		r := &explained{Row: at, Component: component, Score: score}
		if len(c.Row) == 0 {
			place, _ := slices.BinarySearchFunc(rows, r, riskier)
			if c.Group != "" {
				same := slices.IndexFunc(rows, func(r *explained) bool { return r.Component == component })
				if same >= 0 && same < place {
					return nil // of a component the riskiest row
				}
				if same >= 0 {
					rows = slices.Delete(rows, same, same+1)
				}
			}
			if place == c.Top {
				return nil
			}
			rows = slices.Insert(rows, place, r)
			rows = rows[:min(len(rows), c.Top)]
		} else {
			rows = append(rows, r)
		}
		r.cells = slices.Clone(cells)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case at == 0:
		return nil, fmt.Errorf("%s: there are no rows", c.Table)
	case len(c.Row) > 0 && slices.Max(c.Row) > at:
		return nil, fmt.Errorf("--row %d: %s has %s", slices.Max(c.Row), c.Table, textCount(at, "row"))
	}
	for _, name := range columns[n:] {
		if text, _ := in.TimesAre(name); text {
			c.textTimes = append(c.textTimes, name)
		}
	}
	return rows, nil
}

func (c *explainCmd) explain(m *model.Model, r *explained) error {
	n := m.NumFeatures()
	shares := make([]float64, n+1)
	if err := m.Contributions(r.cells[:n], shares); err != nil {
		return err
	}
	p, err := m.Probability(r.cells[:n])
	if errors.Is(err, model.ErrNoProbability) {
		p, err = math.NaN(), nil // a regression
	}
	if err != nil {
		return err
	}
	r.Probability, r.Bias = number(p), shares[n]
	r.Values, r.Shares = map[string]number{}, map[string]float64{}
	names := m.Features()
	for i, name := range names {
		r.Values[name], r.Shares[name] = number(r.cells[i]), shares[i]
	}
	rest := n
	for _, name := range c.Show {
		if r.Show == nil {
			r.Show = map[string]any{}
		}
		if v, ok := r.Values[name]; ok {
			r.Show[name] = v
			continue
		}
		if _, ok := r.Show[name]; !ok {
			r.Show[name] = number(r.cells[rest])
			if v := r.cells[rest]; v == v && slices.Contains(c.textTimes, name) {
				r.Show[name] = shownTimes.Time(v)
			}
			rest++
		}
	}
	return nil
}

func (c *explainCmd) print(g *globals, m *model.Model, r *explained) {
	var head strings.Builder
	fmt.Fprintf(&head, "Row %d", r.Row)
	if c.Group != "" {
		fmt.Fprintf(&head, ", %s %s", c.Group, cmp.Or(textClean(r.Component), "missing"))
	}
	for _, name := range c.Show {
		text, isTime := r.Show[name].(string)
		if !isTime {
			text = cellText(float64(r.Show[name].(number)))
		}
		fmt.Fprintf(&head, ", %s %s", name, text)
	}
	if p := float64(r.Probability); p == p {
		fmt.Fprintf(&head, ": probability %.3g %%, score %.3f, from a mean of %.3f", 100*p, r.Score, r.Bias)
	} else { // a number in the unit of the label
		fmt.Fprintf(&head, ": score %.8g, from a mean of %.8g", r.Score, r.Bias)
	}
	fmt.Fprintln(g.out, head.String())
	names := m.Features()
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(math.Abs(r.Shares[b]), math.Abs(r.Shares[a]))
	})
	t := textTable{header: []string{"  FEATURE", ">VALUE", ">SHARE"}}
	shown := min(c.Reasons, len(names))
	for _, name := range names[:shown] {
		t.add(cellOf("  "+name), cellOf(cellText(float64(r.Values[name]))), cellOf(fmt.Sprintf("%+.3f", r.Shares[name])))
	}
	if others := names[shown:]; len(others) > 0 {
		sum := 0.0
		for _, name := range others {
			sum += r.Shares[name]
		}
		t.add(cellOf("  "+textCount(len(others), "other")), cellOf(""), cellOf(fmt.Sprintf("%+.3f", sum)))
	}
	t.write(view{out: g.out, color: g.color})
}

// cellText returns a value of a table as a person reads it.
func cellText(v float64) string {
	if v != v {
		return "missing"
	}
	return fmt.Sprintf("%.6g", v)
}
