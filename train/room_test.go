package train

import (
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// textOf returns how much text trees take.
func textOf(trees []model.Tree) (n int) {
	for i := range trees {
		n += trees[i].TextBytes()
	}
	return n
}

// A training ends with the tree that fills the room, with members as well, and what
// there is is a whole model.
func TestRoom(t *testing.T) {
	d, k := makeSynthetic(3000, 6, 1).dataset(t, Spec{}), keysFor(3000, 30)
	p := DefaultParams()
	p.Trees = 30
	all := mustTrain(t, d, p)
	if all.Full {
		t.Error("a small model is full")
	}
	limit := textOf(all.Trees) / 2
	for _, bag := range []Bag{{}, {Members: 3}} {
		r, err := bag.trainIn(t.Context(), d, nil, k, &room{limit: limit}, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		members := []*Result{r}
		if r.Bagged != nil {
			members = r.Bagged.Members
		}
		if !r.Full || len(members) != max(1, bag.Members) {
			t.Errorf("%+v: full %v, members %d", bag, r.Full, len(members))
		}
		for _, m := range members {
			share := limit / len(members)
			if n := len(m.Trees); textOf(m.Trees) < share || textOf(m.Trees[:n-1]) >= share {
				t.Errorf("%+v: %d trees of %d bytes in %d", bag, n, textOf(m.Trees), share)
			}
		}
		mustEnsemble(t, r)
	}
	p.Trees = 1
	if r, err := (Bag{}).trainIn(t.Context(), d, nil, k, &room{limit: 1}, p, nil); err != nil || r.Full || len(r.Trees) != 1 {
		t.Errorf("a tree that was all that was asked for: %+v, %v", r, err)
	}
}

// The trees that are gone on from take room too.
func TestRoomOfABase(t *testing.T) {
	s := makeSynthetic(3000, 6, 1)
	p := DefaultParams()
	p.Trees = 10
	base := mustBase(t, mustText(t, mustTrain(t, s.dataset(t, Spec{}), p)))
	d := s.dataset(t, Spec{Base: base})
	of := textOf(base.trees)
	for members, want := range map[int]int{0: 4, 3: 2} {
		r, err := Bag{Members: members}.trainIn(t.Context(), d, nil, keysFor(3000, 30), &room{limit: of * 14 / 10}, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.MemberTrees(); !r.Full || got < want-1 || got > want+1 {
			t.Errorf("%d members: %d new trees each, want about %d", members, got, want)
		}
	}
}
