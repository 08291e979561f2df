package checkpoint

import "sync/atomic"

// Step is what a store is doing.
type Step string

// The steps of which [Options.OnProgress] is told.
const (
	StepRead   Step = "read"   // Save: bytes of the files that are not as they were
	StepMark   Step = "mark"   // GC: checkpoints whose trees are visited
	StepRepack Step = "repack" // GC: bytes of packs that are written anew
	StepScrub  Step = "scrub"  // Scrub: bytes of packs
)

// Progress is how far a step has come. Calls may overtake each other: the
// largest Done counts.
type Progress struct {
	Step        Step
	Done, Total int64
}

// advance counts towards a step's total.
type advance struct {
	tell func(Progress) // nil: nobody wants to know
	step Step
	n    atomic.Int64
	of   int64
}

// progress begins a step. It tells of its beginning, so that a total of 0 is seen
// too.
func (d *Dir) progress(step Step, total int64) *advance {
	a := &advance{tell: d.opt.OnProgress, step: step, of: total}
	a.add(0)
	return a
}

// add may be called by several goroutines at once.
func (a *advance) add(n int64) {
	if a.tell != nil {
		a.tell(Progress{a.step, a.n.Add(n), a.of})
	}
}
