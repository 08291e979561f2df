package train

import (
	"github.com/stratoswarm/forestall/model"
)

// tree returns the tree that the grower holds, in the model's terms. Its leaves
// hold their share of the best value; those of the very first tree the initial
// score besides, for the text has no other place for it.
func (b *booster) tree(first bool) model.Tree {
	g := b.grower
	t := model.Tree{
		Splits:    make([]model.Split, len(g.nodes)),
		Leaves:    make([]model.Leaf, len(g.leaves)),
		Shrinkage: b.p.LearningRate,
	}
	for i := range g.leaves {
		l := &g.leaves[i]
		_, hessian := unpack(l.sum)
		value := b.p.LearningRate * l.output
		if first {
			value += initialScore(b.d, b.p)
		}
		t.Leaves[i] = model.Leaf{Value: value, Count: l.size() + l.outside, Weight: hessian / b.gradients.perHessian}
	}
	for i := range g.nodes {
		n := &g.nodes[i]
		t.Splits[i] = b.d.binnings[n.feature].split(&n.split)
		t.Splits[i].Left, t.Splits[i].Right = n.left, n.right
	}
	return t
}

// split returns a split of bins as one of values.
func (b *binning) split(s *split) model.Split {
	out := model.Split{Feature: s.feature, Gain: s.gain, Missing: model.MissingNaN}
	if s.set == nil {
		out.Threshold = b.threshold(int(s.bin))
		out.DefaultLeft = s.missing
		if b.zeroMissing {
			out.Missing = model.MissingZero
		}
		return out
	}
	for bin, code := range b.codes {
		if s.set[bin/64]>>(bin%64)&1 == 0 {
			continue
		}
		for len(out.Category) <= code/32 {
			out.Category = append(out.Category, 0)
		}
		out.Category[code/32] |= 1 << (code % 32)
	}
	return out
}
