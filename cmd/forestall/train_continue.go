package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// continueFlag names the model that a training goes on from.
type continueFlag struct {
	Continue string `placeholder:"MODEL" help:"Go on from a model, its directory or a bare model.txt: its trees stay as they are, --trees new ones follow them."`
}

// base is a model to go on from.
type base struct {
	*train.Base
	card model.Card
}

// base reads the model, nil where none is named.
func (f *continueFlag) base() (*base, error) {
	if f.Continue == "" {
		return nil, nil
	}
	m, err := loadModel(f.Continue)
	if err != nil {
		return nil, fmt.Errorf("--continue: %w", err)
	}
	path := f.Continue
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, model.TreesFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--continue: %w", err)
	}
	if model.Digest(text) != m.Card.TreesSHA256 {
		return nil, fmt.Errorf("--continue: %s changed while it was read", path)
	}
	b, err := train.NewBase(text)
	if err != nil {
		return nil, fmt.Errorf("--continue %s: %w", f.Continue, err)
	}
	return &base{b, m.Card}, nil
}

// constrain lets new trees keep the base's promises: what never lowers the risk
// must be the same in both, or the card would claim what half the trees do not
// hold.
func (b *base) constrain(p *train.Params) error {
	if p.Monotone != nil && !maps.Equal(p.Monotone, b.card.Monotone) {
		return fmt.Errorf("--monotone: the model to go on from was trained with %s; give the same, or leave --monotone out", textMonotone(b.card.Monotone))
	}
	p.Monotone = b.card.Monotone
	return nil
}

// textMonotone writes constraints as --monotone takes them.
func textMonotone(constraints map[string]int) string {
	if len(constraints) == 0 {
		return "none"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(constraints)) {
		parts = append(parts, fmt.Sprintf("%s=%+d", name, constraints[name]))
	}
	return strings.Join(parts, ",")
}

// trainedOn reports whether the model was trained on the file of that digest.
func (b *base) trainedOn(digest string) bool {
	return b != nil && digest != "" && b.card.Training.DataSHA256 == digest
}

// note says in a card where its model comes from.
func (b *base) note() string {
	if b == nil {
		return ""
	}
	return fmt.Sprintf("; goes on from %s of %s", textCount(b.Trees(), "tree"), b.card.Name+" "+b.card.Version)
}

// tell prints what became of the model that was gone on from.
func (b *base) tell(g *globals, f *fitted) {
	switch {
	case b == nil:
	case len(f.Trees) == b.Trees():
		fmt.Fprintf(g.out, "No new tree made it better on the rows that judge: the trees are those of %s.\n", b.card.Name)
	default:
		fmt.Fprintf(g.out, "They follow the %s of %s.\n", textCount(b.Trees(), "tree"), b.card.Name)
	}
}
