package main

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// bagFlags say on which rows a model is trained, and by how many members.
type bagFlags struct {
	Members         int      `group:"Rows trained on" default:"1" placeholder:"N" help:"Train N models, each without a part of the components of --group (bagging). The model's score is the mean of theirs; --trees is of each of them."`
	SampleNegatives float64  `group:"Rows trained on" default:"1" placeholder:"SHARE" help:"Share of the negative rows that is trained on, drawn at random; each counts for those left out. All positive rows are trained on."`
	HalfLife        timeSpan `group:"Rows trained on" placeholder:"TIME" help:"The weight of a row halves with each such time that it is older than the newest: a number in the unit of --time (of --telemetry: hours), or one with its unit, such as 180d. By default all count the same."`
}

func (f *bagFlags) bag() train.Bag {
	return train.Bag{Members: f.Members, Negatives: f.SampleNegatives, HalfLife: f.HalfLife.n}
}

// sampling is the bag without members: they would multiply the time of a search,
// and differ little in which parameters are best.
func (f *bagFlags) sampling() train.Bag {
	b := f.bag()
	b.Members = 1
	return b
}

// checkBag finds out before anything is read what the flags lack.
func (c *trainCmd) checkBag() error {
	switch {
	case c.Members < 1:
		return fmt.Errorf("--members is %d; it must be at least 1", c.Members)
	case c.SampleNegatives == 0:
		return errors.New("--sample-negatives is 0; it must be above 0 and at most 1")
	case c.Members > 1 && c.Group == "":
		return fmt.Errorf("--members %d: each leaves out a part of the components; --group names their column", c.Members)
	case c.HalfLife.n > 0 && c.Time == "":
		return errors.New("--half-life needs --time, the column with the time")
	case c.Objective != string(train.Binary) && c.SampleNegatives < 1:
		return fmt.Errorf("--sample-negatives is for a label 0 or 1, which objective %s has not", c.Objective)
	}
	return flagError(c.bag().Validate())
}

// outOfBag is what --calibrate names instead of a file: the rows that are trained
// on, each judged by the member that left its component out; perhaps with a
// share, the newest.
const outOfBag = "out-of-bag"

func (f *calibrateFlags) outOfBag() bool {
	return f.Calibrate == outOfBag || strings.HasPrefix(f.Calibrate, outOfBag+":")
}

// outOfBagShare returns the share of the rows, the newest, that calibrates; 0: all.
func (f *calibrateFlags) outOfBagShare() (s share, err error) {
	if text, told := strings.CutPrefix(f.Calibrate, outOfBag+":"); told {
		if err := s.UnmarshalText([]byte(text)); err != nil {
			return 0, fmt.Errorf("--calibrate %s:SHARE: %w", outOfBag, err)
		}
	}
	return s, nil
}

func (c *trainCmd) checkOutOfBag() error {
	s, err := c.outOfBagShare()
	switch {
	case err != nil:
		return err
	case c.Members < 2:
		return fmt.Errorf("--calibrate %s needs --members: each row is judged by the member that left its component out (a file of that name is ./%s)", c.Calibrate, outOfBag)
	case c.Continue != "":
		return fmt.Errorf("--calibrate %s: the trees of --continue may have seen every component; give --calibrate a table or a share", outOfBag)
	case s != 0 && c.Time == "":
		return fmt.Errorf("--calibrate %s takes the newest rows, so it needs --time", c.Calibrate)
	}
	return nil
}

// leftOut is what the members said of the rows that they left out.
type leftOut struct {
	all    train.Held
	newest train.Held // of the share that calibrates
	value  map[string]float64
}

// judgeOutOfBag returns what the members of a model said of the rows of d, nil
// for a model without members and for one that goes on from trees that may have
// seen every component.
func (c *trainCmd) judgeOutOfBag(d *train.Dataset, k train.Keys, r *train.Result) (*leftOut, error) {
	if r.Bagged == nil || r.Base > 0 {
		return nil, nil
	}
	var rows []int
	for row, raw := range r.Bagged.OutOfBag {
		if !math.IsNaN(raw) {
			rows = append(rows, row)
		}
	}
	labels := train.Keys{Group: k.Group}
	j := &leftOut{all: heldOf(d, labels, r, rows), value: map[string]float64{}}
	if train.Objective(c.Objective) == train.Binary {
		j.value["out_of_bag_ap"] = model.AveragePrecision(j.all.Raw, j.all.Label)
		j.value["out_of_bag_auc"] = model.ROCAUC(j.all.Raw, j.all.Label)
	} else {
		sum := 0.0
		for i, row := range rows {
			e := j.all.Raw[i] - d.Labels()[row]
			sum += e * e
		}
		j.value["out_of_bag_rmse"] = math.Sqrt(sum / float64(len(rows)))
	}
	share, err := c.outOfBagShare()
	if err == nil && share != 0 {
		_, rows, err = train.Split{Kind: train.ByTime}.Hold(k, rows, float64(share))
	}
	j.newest = withScores(heldOf(d, k, r, rows))
	return j, err
}

// heldOf returns rows as the members judged them, with the outcome if there is
// one, else the label; without a score where the outcome is not known.
func heldOf(d *train.Dataset, k train.Keys, r *train.Result, rows []int) (h train.Held) {
	for _, row := range rows {
		raw, y := r.Bagged.OutOfBag[row], d.Labels()[row]
		if k.Outcome != nil {
			if y = k.Outcome[row]; math.IsNaN(y) {
				raw = y
			}
		}
		h.Raw, h.Label = append(h.Raw, raw), append(h.Label, y == 1)
	}
	h.Group = k.Subset(rows).Group
	return h
}

// bagNote says in a card which rows were trained on.
func (c *trainCmd) bagNote(r *train.Result) string {
	var b strings.Builder
	if r.Bagged != nil {
		fmt.Fprintf(&b, "; the mean of %d members, each without a part of the components", len(r.Bagged.Members))
	}
	if c.SampleNegatives < 1 {
		fmt.Fprintf(&b, "; on %s of the negative rows", share(c.SampleNegatives))
	}
	if c.HalfLife.n > 0 {
		fmt.Fprintf(&b, "; weights halve every %s", c.textSpan(c.HalfLife.n))
	}
	return b.String()
}

// tell prints how good the members are on what they left out.
func (j *leftOut) tell(g *globals) {
	if j == nil {
		return
	}
	fmt.Fprint(g.out, "Out of bag, each component judged by the member that left it out: ")
	if rmse, told := j.value["out_of_bag_rmse"]; told {
		fmt.Fprintf(g.out, "rmse %.5f.\n", rmse)
		return
	}
	fmt.Fprintf(g.out, "ap %s, auc %s.\n", figure(j.value["out_of_bag_ap"], "%.5f"), figure(j.value["out_of_bag_auc"], "%.5f"))
}
