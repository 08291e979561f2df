// Command gen writes the models that package builtin embeds, from the tables in
// rules.go. Run it as "go generate ./predict/builtin".
package main

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall/model"
)

func main() {
	if err := generate("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate writes each model into its kind's directory below dir.
func generate(dir string) error {
	for _, m := range []table{gpuTable, nodeTable} {
		m.rules = slices.Concat(m.rules, thin(m.rules))
		text, card, err := m.build()
		if err != nil {
			return fmt.Errorf("%s: %w", m.kind, err)
		}
		if err := model.Save(filepath.Join(dir, m.kind), text, card); err != nil {
			return err
		}
	}
	return nil
}

// table is one model before it becomes trees.
type table struct {
	kind    string
	version string
	windows []time.Duration
	horizon time.Duration
	base    float64 // log-odds of a component that no rule speaks of
	rules   []rule
}

// rule adds to the log-odds of components for which all its conditions hold.
// A condition on a missing value does not hold.
type rule struct {
	add  float64
	when []condition
}

// condition compares a feature with a value.
type condition struct {
	feature string
	above   bool // feature > value; otherwise feature <= value
	value   float64
	missing bool // the feature has no value; above and value don't count
}

func above(feature string, value float64) condition {
	return condition{feature: feature, above: true, value: value}
}

func atMost(feature string, value float64) condition {
	return condition{feature: feature, value: value}
}

func when(add float64, conditions ...condition) rule { return rule{add, conditions} }

// thin returns the same rules over a minute where a window of 10 s holds too few
// readings to tell rates and slopes: at a scrape interval of 10 s and more. A slope
// over a minute takes in how a job begins, so twice as much is asked of it.
func thin(rules []rule) (all []rule) {
	for _, r := range rules {
		var coarse []condition
		for _, c := range r.when {
			_, statistic, _ := strings.Cut(c.feature, "_10s_")
			if coarse == nil && (statistic == "rate" || statistic == "slope" || statistic == "delta") {
				coarse = append(coarse, condition{feature: c.feature, missing: true})
			}
		}
		if coarse == nil {
			continue
		}
		for _, c := range r.when {
			if metric, statistic, short := strings.Cut(c.feature, "_10s_"); short {
				c.feature = metric + "_1m_" + statistic
				if statistic == "slope" || statistic == "delta" {
					c.value *= 2
				}
			}
			coarse = append(coarse, c)
		}
		all = append(all, rule{r.add, coarse})
	}
	return all
}

// The rows that a tree is taken to have been made from, for its explanations:
// a condition holds for one in rarity of those that came as far.
const (
	rows   = 100_000
	rarity = 50
)

const notes = "hand-made: thresholds from engineering judgement, not trained, not calibrated on failures"

func (t table) build() (text []byte, card model.Card, err error) {
	features := t.features()
	trees := []model.Tree{{Leaves: []model.Leaf{{Value: t.base, Count: rows, Weight: rows}}, Shrinkage: 1}}
	for _, r := range t.rules {
		trees = append(trees, r.tree(features))
	}
	var b bytes.Buffer
	if err := model.WriteEnsemble(&b, features, "binary sigmoid:1", trees); err != nil {
		return nil, card, err
	}
	card = model.Card{
		Format:   model.CardFormat,
		Name:     "builtin-" + t.kind,
		Version:  t.version,
		Kind:     t.kind,
		Features: features,
		Horizon:  model.Duration(t.horizon),
		Monotone: t.monotone(),
		Training: model.Training{Notes: notes},
		// Rules that agree add up to more certainty than any hand-made rule
		// deserves, so the probability ends at 0.95.
		Calibration: model.Calibration{Method: model.Isotonic, Points: []model.Point{
			{Raw: -7, Probability: 0.001},
			{Raw: -6, Probability: 0.0025},
			{Raw: -5, Probability: 0.0065},
			{Raw: -4, Probability: 0.018},
			{Raw: -3, Probability: 0.05},
			{Raw: -2, Probability: 0.12},
			{Raw: -1, Probability: 0.27},
			{Raw: 0, Probability: 0.5},
			{Raw: 1, Probability: 0.73},
			{Raw: 2, Probability: 0.88},
			{Raw: 3, Probability: 0.95},
		}},
	}
	for _, w := range t.windows {
		card.Windows = append(card.Windows, model.Duration(w))
	}
	return b.Bytes(), card, nil
}

// features returns the names that the rules use, sorted.
func (t table) features() []string {
	names := map[string]bool{}
	for _, r := range t.rules {
		for _, c := range r.when {
			names[c.feature] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// monotone returns the features that only ever raise the risk in one direction.
func (t table) monotone() map[string]int {
	signs := map[string]int{}
	mixed := map[string]bool{}
	for _, r := range t.rules {
		for _, c := range r.when {
			if c.missing {
				continue
			}
			sign := -1
			if c.above == (r.add > 0) {
				sign = 1
			}
			if old, ok := signs[c.feature]; ok && old != sign {
				mixed[c.feature] = true
			}
			signs[c.feature] = sign
		}
	}
	maps.DeleteFunc(signs, func(name string, _ int) bool { return mixed[name] })
	return signs
}

// tree returns the rule as a chain of splits: leaf 0 is where all conditions
// hold, leaf i+1 where condition i is the first that does not.
func (r rule) tree(features []string) model.Tree {
	t := model.Tree{Shrinkage: 1, Leaves: make([]model.Leaf, len(r.when)+1)}
	left := rows
	for i, c := range r.when {
		holds := left / rarity
		f, _ := slices.BinarySearch(features, c.feature)
		// Nothing was gained in a training; what a rule adds says what it weighs.
		s := model.Split{Feature: f, Threshold: c.value, Missing: model.MissingNaN, DefaultLeft: c.above, Gain: math.Abs(r.add) / float64(len(r.when))}
		if c.missing { // only what is missing is on the left of this
			s.Threshold, s.DefaultLeft = -1e300, true
		}
		next, fails := i+1, ^(i + 1)
		if i == len(r.when)-1 {
			next = ^0
		}
		if s.Left, s.Right = next, fails; c.above {
			s.Left, s.Right = fails, next
		}
		t.Splits = append(t.Splits, s)
		t.Leaves[i+1] = model.Leaf{Count: left - holds, Weight: float64(left - holds)}
		left = max(holds, 1)
	}
	t.Leaves[0] = model.Leaf{Value: r.add, Count: left, Weight: float64(left)}
	return t
}
