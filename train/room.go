package train

import "github.com/stratoswarm/forestall/model"

// room is how much of the text that a model may be at most its trees take. A training
// that went on beyond would make a model that nobody can read.
type room struct {
	limit    int
	taken    int // by the trees seen, at most
	seen     int
	exact    int // by those measured
	measured int
}

// newRoom returns the room for trees over features: what a reader takes without the
// features' names and ranges, and without an eighth, for the last tree may go beyond.
func newRoom(features []string) *room {
	r := &room{limit: model.MaxBytes - model.MaxBytes/8}
	for _, name := range features {
		r.limit -= 3*len(name) + 64
	}
	return r
}

// full reports whether there is no room for another tree; with each call there are more
// of them. To measure a tree takes as long as to write it, so that it is done only
// where the most that the trees can take is too much.
func (r *room) full(trees []model.Tree) bool {
	for ; r.seen < len(trees); r.seen++ {
		r.taken += trees[r.seen].MaxTextBytes()
	}
	if r.taken < r.limit {
		return false
	}
	for ; r.measured < len(trees); r.measured++ {
		r.exact += trees[r.measured].TextBytes()
	}
	r.taken = r.exact
	return r.taken >= r.limit
}

// share returns the room of each of n members, which have the trees of the base, if
// there is one, in common.
func (r *room) share(n int, base *Base) *room {
	all := 0
	if base != nil {
		for i := range base.trees {
			all += base.trees[i].TextBytes()
		}
	}
	return &room{limit: all + (r.limit-all)/n}
}
