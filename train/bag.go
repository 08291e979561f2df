package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Bag says on which rows a model is trained, and by how many members (bagging,
// Breiman 1996). The zero value is one training on all rows.
type Bag struct {
	// Members is how many models are trained. Each leaves a part of the
	// components out, and the mean of their scores is the model's. What they left
	// out judges them: see [Bagged.OutOfBag]. 0 or 1: one model of all components.
	Members int
	// Negatives is the share of the negative rows that is trained on, drawn at
	// random; each counts 1/Negatives, so that the probabilities stay what they
	// are. All positive rows are trained on. 0 or 1: all rows.
	Negatives float64
	// HalfLife is the time, in the unit of [Keys.Time], in which the weight of a
	// row halves. The newest rows have the weight that they have without it. 0:
	// all times count the same.
	HalfLife float64
}

// Bagged is what is known of the members of a model.
type Bagged struct {
	Members []*Result
	Without []int // of each row: the member that left its component out
	// OutOfBag is the raw score of each row by the member that left its component
	// out; NaN where that was not trained, for the training was interrupted.
	OutOfBag []float64
}

const maxMembers = 1000

// Validate reports the first field that is not usable, with the accepted values.
func (b Bag) Validate() error {
	switch {
	case b.Members < 0 || b.Members > maxMembers:
		return fmt.Errorf("members is %d; it must be between 1 and %d", b.Members, maxMembers)
	case b.Negatives != 0 && !(b.Negatives >= 1e-6 && b.Negatives <= 1):
		return fmt.Errorf("sample_negatives is %v; it must be between 0.000001 and 1", b.Negatives)
	case !(b.HalfLife >= 0) || math.IsInf(b.HalfLife, 0):
		return fmt.Errorf("half_life is %v; it must be finite and above 0, or 0 for none", b.HalfLife)
	}
	return nil
}

// plain reports whether all rows are trained on, each as it is.
func (b Bag) plain() bool { return (b.Negatives == 0 || b.Negatives == 1) && b.HalfLife == 0 }

// Train trains as [Train] does, on the rows and by the members that the bag says.
// k places the rows of d: members need their components, a half-life their times.
// p.Trees is of each member, whose seeds follow that of p; early stopping is for
// each of them. The result does not depend on the number of threads. When the
// context ends, the members that are finished are the model, or what there is of
// the first.
func (b Bag) Train(ctx context.Context, d, valid *Dataset, k Keys, p Params, report func(Progress)) (*Result, error) {
	return b.trainIn(ctx, d, valid, k, newRoom(d.features), p, report)
}

// trainIn is [Bag.Train] of as many trees as there is room for.
func (b Bag) trainIn(ctx context.Context, d, valid *Dataset, k Keys, has *room, p Params, report func(Progress)) (*Result, error) {
	if err := errors.Join(b.ValidateFor(d, k), p.Validate(), p.ValidateFor(d)); err != nil {
		return nil, err
	}
	s := b.draw(d, k, p.Seed)
	if positive := d.PositivesOf(s.rows); d.spec.Objective == Binary && (positive == 0 || positive == len(s.rows)) {
		return nil, fmt.Errorf("%d of the %d rows that the half-life and the sample of the negatives leave are positive; both classes are needed: lengthen the one, or make the other larger", positive, len(s.rows))
	}
	if b.Members <= 1 {
		if !b.plain() {
			d = s.of(d, nil)
		}
		return trainBeside(ctx, d, valid, nil, has, p, report)
	}
	without, err := b.deal(d, k, p.Seed)
	if err != nil {
		return nil, err
	}
	j := newJoiner(d, valid, s, without)
	for m := range b.Members {
		one := p
		one.Seed += uint64(m)
		done, err := j.member(ctx, m, has.share(b.Members, d.spec.Base), one, func(at Progress) {
			if report != nil {
				at.Member, at.Members = m+1, b.Members
				report(at)
			}
		})
		if err != nil && (m == 0 || ctx.Err() == nil) {
			return nil, fmt.Errorf("member %d of %d: %w", m+1, b.Members, err)
		}
		if !done {
			j.interrupted = true
			break
		}
	}
	return j.join(&p), nil
}

// ValidateFor reports what does not fit the data to train on: members without
// components or of fewer, a half-life without times.
func (b Bag) ValidateFor(d *Dataset, k Keys) error {
	if err := b.Validate(); err != nil {
		return err
	}
	switch {
	case b.Members > 1 && len(k.Group) != d.rows:
		return errors.New("members is more than 1, and each leaves out a part of the components, but the component of each row is not told")
	case b.HalfLife > 0 && len(k.Time) != d.rows:
		return errors.New("half_life needs the time of each row")
	case b.Negatives > 0 && b.Negatives < 1 && d.spec.Objective != Binary:
		return fmt.Errorf("sample_negatives is for objective %s", Binary)
	}
	if b.Members > 1 {
		_, err := b.deal(d, k, 0)
		return err
	}
	return nil
}

// chosen are the rows that are trained on, rising, with what their weights are
// multiplied by.
type chosen struct {
	rows   []int
	factor []float64
}

// drawStream tells the draws of rows from others of their seed.
const drawStream = 0x6e656761746976

func (b Bag) draw(d *Dataset, k Keys, seed uint64) *chosen {
	share := b.Negatives
	if share == 0 {
		share = 1
	}
	newest := 0.0
	if b.HalfLife > 0 {
		newest = slices.Max(k.Time)
	}
	s := &chosen{}
	for row, y := range d.label {
		factor := 1.0
		if y != 1 && share < 1 {
			if float64(scatter(seed+drawStream, uint64(row))>>11) >= share*(1<<53) {
				continue
			}
			factor = 1 / share
		}
		if b.HalfLife > 0 {
			factor *= math.Exp2((k.Time[row] - newest) / b.HalfLife)
		}
		if factor < 1/maxWeight {
			continue // it teaches nothing
		}
		s.rows, s.factor = append(s.rows, row), append(s.factor, factor)
	}
	return s
}

// of returns the drawn rows of a dataset, those at some places among them or, for
// nil, all.
func (s *chosen) of(d *Dataset, places []int) *Dataset {
	rows, factor := s.rows, s.factor
	if places != nil {
		rows, factor = pick(rows, places), pick(factor, places)
	}
	sub := d.Subset(rows)
	if sub.weight == nil {
		if !slices.ContainsFunc(factor, func(f float64) bool { return f != 1 }) {
			return sub
		}
		sub.weight = slices.Clone(factor)
		return sub
	}
	for i, f := range factor {
		if sub.weight[i] *= f; sub.weight[i] < 1/maxWeight {
			sub.weight[i] = 0
		}
	}
	return sub
}

// deal returns for each row the member that leaves it out: whole components, about
// equally many positives and rows of each.
func (b Bag) deal(d *Dataset, k Keys, seed uint64) ([]int, error) {
	all := componentsOf(k.Group, d.AllRows(), func(row int) bool { return d.label[row] == 1 }, seed)
	failing := 0
	for _, c := range all {
		if c.positives > 0 {
			failing++
		}
	}
	switch {
	case len(all) < b.Members:
		return nil, fmt.Errorf("members is %d, each leaves out a component or more, and the table has %s; make it less", b.Members, components(len(all)))
	case d.spec.Objective == Binary && failing < 2:
		return nil, fmt.Errorf("members is %d, but only %d of the %d components has positive rows: the member that leaves it out has nothing to learn from", b.Members, failing, len(all))
	}
	memberOf, _ := deal(all, b.Members)
	without := make([]int, d.rows)
	for row, g := range k.Group {
		without[row] = memberOf[g]
	}
	return without, nil
}
