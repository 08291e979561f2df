package detect

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// Witnesses gathers what nodes report of each other and judges. A report holds
// as long as its reader takes it for fresh, so observers repeat theirs, those on
// living nodes too. Safe for concurrent use.
type Witnesses struct {
	mu      sync.Mutex
	reports map[string]map[string]report // by observer, then node
}

type report struct {
	state forestall.MemberState
	at    time.Time
}

// NewWitnesses returns an empty gathering.
func NewWitnesses() *Witnesses {
	return &Witnesses{reports: map[string]map[string]report{}}
}

// Report notes what observer says of node, received at the given time by the
// clock of the caller. An older report than the one held is ignored.
func (w *Witnesses) Report(observer, node string, state forestall.MemberState, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.reports[observer]
	if said == nil {
		said = map[string]report{}
		w.reports[observer] = said
	}
	if at.Before(said[node].at) {
		return
	}
	said[node] = report{state, at}
}

// Forget drops what a node said and what was said of it, once it is no member
// any more.
func (w *Witnesses) Forget(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.reports, node)
	for _, said := range w.reports {
		delete(said, node)
	}
}

// Verdict is what the voters have established about a node.
type Verdict struct {
	State     forestall.MemberState // MemberUnknown: nobody who can tell
	Observers []string              // voters who say so, sorted
	Blind     []string              // voters who see no majority of the voters and so cannot tell, sorted
	Evidence  []string              // in words
}

// Verdict judges a node by the voters' reports that are no older than fresh.
// The node has failed when a majority of all voters says so; it doesn't vote on
// itself but counts among them, so of three voters the two others must agree.
// Voters who by their own reports see fewer than a majority of the voters don't
// count as witnesses of a failure.
func (w *Witnesses) Verdict(node string, voters []string, now time.Time, fresh time.Duration) Verdict {
	t := count(node, voters, w.views(now, fresh))
	state, by := t.decide(len(voters))
	return Verdict{State: state, Observers: by, Blind: t.blind, Evidence: t.words(len(voters))}
}

// Isolated reports whether observer says of so many voters that they are
// suspect or failed that it must take itself for cut off.
func (w *Witnesses) Isolated(observer string, voters []string, now time.Time, fresh time.Duration) bool {
	return blind(observer, w.views(now, fresh)[observer], voters)
}

// views returns the fresh reports by observer.
func (w *Witnesses) views(now time.Time, fresh time.Duration) map[string]view {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]view{}
	for observer, said := range w.reports {
		v := view{}
		for node, r := range said {
			if now.Sub(r.at) <= fresh {
				v[node] = r.state
			}
		}
		out[observer] = v
	}
	return out
}

func (t tally) words(voters int) []string {
	var out []string
	say := func(names []string, what string) {
		if len(names) > 0 {
			out = append(out, fmt.Sprintf("%d of %d voters %s: %s", len(names), voters, what, strings.Join(names, ", ")))
		}
	}
	say(t.failed, "report it failed")
	say(t.left, "heard it leave")
	say(t.suspect, "suspect it")
	say(t.alive, "report it alive")
	say(t.blind, "cannot tell, they see no majority of the voters themselves")
	if len(out) == 0 {
		out = append(out, fmt.Sprintf("none of %d voters has reported on it lately", voters))
	}
	return out
}

// NodeFailure returns the failure of a node whose verdict is
// forestall.MemberFailed. lastSeen is its last sign of life, zero if unknown.
func NodeFailure(node string, v Verdict, now, lastSeen time.Time) (forestall.Failure, bool) {
	if v.State != forestall.MemberFailed {
		return forestall.Failure{}, false
	}
	return forestall.Failure{
		Component: forestall.Node(node), Kind: forestall.NodeCrash, Time: now, LastSeen: lastSeen,
		Evidence: v.Evidence, Observers: v.Observers,
	}, true
}
