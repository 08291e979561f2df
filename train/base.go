package train

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/stratoswarm/forestall/model"
)

// Base is a model that a training goes on from: the rows begin with its scores,
// and the new trees follow its own.
type Base struct {
	ensemble *model.Ensemble
	trees    []model.Tree
}

// NewBase reads the text of a model to go on from. Its objective must be one
// that is trained here, with a slope of 1.
func NewBase(text []byte) (*Base, error) {
	e, err := model.ReadEnsemble(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if err := Objective(e.Objective()).validate(); err != nil {
		return nil, fmt.Errorf("the model cannot be gone on from: %w", err)
	}
	if s := e.Slope(); s != 0 && s != 1 {
		return nil, fmt.Errorf("the model cannot be gone on from: its objective has sigmoid:%v; scores are trained here with sigmoid:1", s)
	}
	trees, err := model.ReadTrees(text)
	return &Base{e, trees}, err
}

// Features returns the names of the model's features in their order.
func (b *Base) Features() []string { return b.ensemble.Features() }

// Trees returns the number of the model's trees.
func (b *Base) Trees() int { return len(b.trees) }

// order puts the features of a table into the model's order. They must be the
// same: what the model does not know has no place in its schema.
func (b *Base) order(features []string) ([]string, error) {
	want := b.Features()
	for _, name := range want {
		if !slices.Contains(features, name) {
			return nil, fmt.Errorf("column %q is missing or dropped, and the model to go on from needs it", name)
		}
	}
	for _, name := range features {
		if !slices.Contains(want, name) {
			return nil, fmt.Errorf("column %q is not among the features of the model to go on from; leave it out with %s", name, dropFlag(name))
		}
	}
	return want, nil
}

// agree reports a feature that the base's trees read in another way than new
// ones would.
func (b *Base) agree(s *Spec) error {
	names := b.Features()
	for _, t := range b.trees {
		for i := range t.Splits {
			split := &t.Splits[i]
			name := names[split.Feature]
			set, zero := split.Category != nil, split.Missing == model.MissingZero
			switch {
			case set && !slices.Contains(s.Categorical, name):
				return fmt.Errorf("column %q is categorical in the model to go on from; say so with --categorical %s", name, name)
			case !set && slices.Contains(s.Categorical, name):
				return fmt.Errorf("column %q is no categorical one in the model to go on from; leave --categorical %s out", name, name)
			case !set && zero && !s.ZeroMissing:
				return errors.New("in the model to go on from a value of 0 is missing; say so with --zero-missing")
			case !set && !zero && s.ZeroMissing:
				return errors.New("in the model to go on from a value of 0 is not missing; leave --zero-missing out")
			}
		}
	}
	return nil
}
