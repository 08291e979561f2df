package detect

import (
	"slices"

	"github.com/stratoswarm/forestall"
)

// majority returns how many of n voters agree on something.
func majority(n int) int { return n/2 + 1 }

// view is what one observer says of the others, by node. Nodes of which it says
// nothing (any more) are absent.
type view map[string]forestall.MemberState

// blind reports whether an observer cannot be believed that others have failed:
// by its own word it sees fewer than a majority of the voters, so it is more
// likely that it is cut off. A node that it says nothing of may be seen.
func blind(observer string, said view, voters []string) bool {
	sees := 0
	for _, v := range voters {
		switch said[v] {
		case forestall.MemberSuspect, forestall.MemberFailed:
			if v == observer {
				sees++
			}
		default:
			sees++
		}
	}
	return sees < majority(len(voters))
}

// tally counts what those voters say of node who are not the node itself and
// not blind. Each list is sorted.
type tally struct {
	alive, suspect, failed, left, blind []string
}

func count(node string, voters []string, views map[string]view) tally {
	var t tally
	for _, v := range voters {
		said := views[v]
		state := said[node]
		switch {
		case v == node || state == forestall.MemberUnknown:
		case state == forestall.MemberAlive:
			t.alive = append(t.alive, v)
		case state == forestall.MemberLeft:
			t.left = append(t.left, v)
		case blind(v, said, voters):
			t.blind = append(t.blind, v)
		case state == forestall.MemberSuspect:
			t.suspect = append(t.suspect, v)
		case state == forestall.MemberFailed:
			t.failed = append(t.failed, v)
		}
	}
	for _, names := range [][]string{t.alive, t.suspect, t.failed, t.left, t.blind} {
		slices.Sort(names)
	}
	return t
}

// decide returns what n voters have established. A node is gone when a majority
// of all voters says so, itself counted among them: of three voters the two
// others must agree. One that said good-bye to anybody has left.
// Alive needs a majority too, or nobody who doubts it. With a doubter and no
// majority it is suspect; with nobody who can tell, unknown.
func (t tally) decide(n int) (state forestall.MemberState, by []string) {
	gone := append(slices.Clone(t.failed), t.left...)
	doubters := append(slices.Clone(t.failed), t.suspect...)
	slices.Sort(gone)
	slices.Sort(doubters)
	switch {
	case len(gone) >= majority(n) && len(t.left) > 0:
		return forestall.MemberLeft, gone
	case len(gone) >= majority(n):
		return forestall.MemberFailed, gone
	case len(t.alive) >= majority(n):
		return forestall.MemberAlive, t.alive
	case len(t.left) > 0:
		return forestall.MemberLeft, t.left
	case len(doubters) > 0:
		return forestall.MemberSuspect, doubters
	case len(t.alive) > 0:
		return forestall.MemberAlive, t.alive
	}
	return forestall.MemberUnknown, nil
}
