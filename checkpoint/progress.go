package checkpoint

import (
	"cmp"
	"slices"
	"sync/atomic"
)

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
	Workload    string // whose checkpoint it is, of StepRead
	Done, Total int64
}

// advance counts towards a step's total.
type advance struct {
	d     *Dir
	begun Progress // nothing of it is done
	n     atomic.Int64
}

// progress begins a step, of which [Dir.Progress] tells until end is called. It
// tells of its beginning, so that a total of 0 is seen too.
func (d *Dir) progress(step Step, workload string, total int64) *advance {
	a := &advance{d: d, begun: Progress{Step: step, Workload: workload, Total: total}}
	d.mu.Lock()
	d.steps[a] = struct{}{}
	d.mu.Unlock()
	a.add(0)
	return a
}

func (a *advance) end() {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	delete(a.d.steps, a)
}

// at is the progress with n done.
func (a *advance) at(n int64) Progress {
	p := a.begun
	p.Done = n
	return p
}

// Progress returns how far the steps are that are under way, by step and workload.
func (d *Dir) Progress() []Progress {
	d.mu.Lock()
	out := make([]Progress, 0, len(d.steps))
	for a := range d.steps {
		out = append(out, a.at(a.n.Load()))
	}
	d.mu.Unlock()
	slices.SortFunc(out, func(a, b Progress) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Workload, b.Workload))
	})
	return out
}

// add may be called by several goroutines at once.
func (a *advance) add(n int64) {
	n = a.n.Add(n)
	if tell := a.d.opt.OnProgress; tell != nil {
		tell(a.at(n))
	}
}
