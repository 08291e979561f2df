package detect

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
)

// reports reads "n1: n2=alive n3=failed" lines, one for each observer.
func reports(t *testing.T, w *Witnesses, text string, when time.Time) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(text)) {
		observer, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			t.Fatalf("report %q has no observer", line)
		}
		for word := range strings.FieldsSeq(rest) {
			node, state, _ := strings.Cut(word, "=")
			w.Report(observer, node, forestall.MemberState(state), when)
		}
	}
}

func TestVerdict(t *testing.T) {
	three, five := []string{"n1", "n2", "n3"}, []string{"n1", "n2", "n3", "n4", "n5"}
	for _, tt := range []struct {
		name      string
		voters    []string
		reports   string
		node      string
		want      forestall.MemberState
		observers string
		blind     string
	}{
		{"three voters, the two others agree", three, `
			n1: n2=alive n3=failed
			n2: n1=alive n3=failed`, "n3", forestall.MemberFailed, "n1 n2", ""},
		{"three voters, one accuses, one sees it", three, `
			n1: n2=alive n3=failed
			n2: n1=alive n3=alive`, "n3", forestall.MemberSuspect, "n1", ""},
		{"three voters, one accuses, one is silent", three, `
			n1: n2=alive n3=failed`, "n3", forestall.MemberSuspect, "n1", ""},
		{"three voters, one suspects, one accuses", three, `
			n1: n2=alive n3=suspect
			n2: n1=alive n3=failed`, "n3", forestall.MemberSuspect, "n1 n2", ""},
		{"nobody speaks for itself", three, `
			n1: n2=alive n3=failed
			n2: n1=alive n3=failed
			n3: n1=failed n2=failed n3=alive`, "n3", forestall.MemberFailed, "n1 n2", ""},
		{"and what the dead one says of the others doesn't count", three, `
			n1: n2=alive n3=failed
			n2: n1=alive n3=failed
			n3: n1=failed n2=failed n3=alive`, "n1", forestall.MemberAlive, "n2", "n3"},
		{"cut off: it lost everybody and cannot tell", three, `
			n1: n2=failed n3=failed`, "n3", forestall.MemberUnknown, "", "n1"},
		{"a member that doesn't vote, two of three", three, `
			n1: w1=failed n2=alive n3=alive
			n2: w1=failed n1=alive n3=alive
			n3: w1=alive n1=alive n2=alive`, "w1", forestall.MemberFailed, "n1 n2", ""},
		{"a member that doesn't vote has no voice", three, `
			w2: w1=failed
			w3: w1=failed`, "w1", forestall.MemberUnknown, "", ""},
		{"five voters, three of five", five, `
			n1: n5=failed
			n2: n5=failed
			n3: n5=failed
			n4: n5=alive`, "n5", forestall.MemberFailed, "n1 n2 n3", ""},
		{"five voters, two of five", five, `
			n1: n5=failed
			n2: n5=failed
			n3: n5=alive
			n4: n5=alive`, "n5", forestall.MemberSuspect, "n1 n2", ""},
		{"five voters, three see what one does not", five, `
			n1: n5=failed
			n2: n5=alive
			n3: n5=alive
			n4: n5=alive`, "n5", forestall.MemberAlive, "n2 n3 n4", ""},
		{"five voters split 2:3, seen from the majority", five, `
			n1: n2=alive n3=alive n4=failed n5=failed
			n2: n1=alive n3=alive n4=failed n5=failed
			n3: n1=alive n2=alive n4=failed n5=failed`, "n5", forestall.MemberFailed, "n1 n2 n3", ""},
		{"five voters split 2:3, seen from the minority", five, `
			n4: n1=failed n2=failed n3=failed n5=alive
			n5: n1=failed n2=failed n3=failed n4=alive`, "n1", forestall.MemberUnknown, "", "n4 n5"},
		{"it said good-bye", three, `
			n1: n3=left n2=alive
			n2: n3=left n1=alive`, "n3", forestall.MemberLeft, "n1 n2", ""},
		{"one heard the good-bye, one only the silence", three, `
			n1: n3=left n2=alive
			n2: n3=failed n1=alive`, "n3", forestall.MemberLeft, "n1 n2", ""},
		{"two voters: no quorum without the other", []string{"n1", "n2"}, `
			n1: n2=failed`, "n2", forestall.MemberUnknown, "", "n1"},
		{"one voter judges the others", []string{"n1"}, `
			n1: w1=failed`, "w1", forestall.MemberFailed, "n1", ""},
		{"nobody has said anything", three, ``, "n3", forestall.MemberUnknown, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWitnesses()
			reports(t, w, tt.reports, at(0))
			got := w.Verdict(tt.node, tt.voters, at(5), 10*time.Second)
			if got.State != tt.want || strings.Join(got.Observers, " ") != tt.observers || strings.Join(got.Blind, " ") != tt.blind {
				t.Errorf("verdict = %+v, want %q by [%s], blind [%s]", got, tt.want, tt.observers, tt.blind)
			}
			if len(got.Evidence) == 0 {
				t.Error("no evidence")
			}
			if stale := w.Verdict(tt.node, tt.voters, at(11), 10*time.Second); stale.State != forestall.MemberUnknown {
				t.Errorf("stale reports give %q", stale.State)
			}
			f, failed := NodeFailure(tt.node, got, at(5), at(1))
			if failed != (tt.want == forestall.MemberFailed) {
				t.Errorf("NodeFailure = %v", failed)
			}
			if failed && (f.Component != forestall.Node(tt.node) || f.Kind != forestall.NodeCrash || !f.LastSeen.Equal(at(1)) || len(f.Observers) == 0) {
				t.Errorf("NodeFailure = %+v", f)
			}
		})
	}
}

func TestVerdictInWords(t *testing.T) {
	w := NewWitnesses()
	reports(t, w, "n1: n3=failed\nn2: n3=alive\nn4: n3=failed n1=failed n2=failed n5=failed", at(0))
	got := w.Verdict("n3", []string{"n1", "n2", "n3", "n4", "n5"}, at(1), time.Minute).Evidence
	want := []string{
		"1 of 5 voters report it failed: n1",
		"1 of 5 voters report it alive: n2",
		"1 of 5 voters cannot tell, they see no majority of the voters themselves: n4",
	}
	if !slices.Equal(got, want) {
		t.Errorf("evidence = %q, want %q", got, want)
	}
}

func TestReportsAreReplacedAndForgotten(t *testing.T) {
	w, voters := NewWitnesses(), []string{"n1", "n2", "n3"}
	state := func() forestall.MemberState { return w.Verdict("n3", voters, at(10), time.Minute).State }
	reports(t, w, "n1: n3=failed\nn2: n3=failed", at(5))
	reports(t, w, "n1: n3=alive\nn2: n3=alive", at(4)) // late
	if got := state(); got != forestall.MemberFailed {
		t.Errorf("a late report replaced a newer one: %q", got)
	}
	reports(t, w, "n1: n3=alive\nn2: n3=alive", at(6))
	if got := state(); got != forestall.MemberAlive {
		t.Errorf("a new report didn't replace the old: %q", got)
	}
	w.Forget("n3")
	if got := state(); got != forestall.MemberUnknown {
		t.Errorf("after Forget: %q", got)
	}
	if w.Isolated("n1", voters, at(10), time.Minute) {
		t.Error("an observer that accuses nobody is isolated")
	}
	reports(t, w, "n1: n2=failed n3=suspect", at(7))
	if !w.Isolated("n1", voters, at(10), time.Minute) {
		t.Error("an observer that lost both others is not isolated")
	}
}

// Two sides of a partition never both establish that the other has failed, and
// a side that is no majority establishes no failure at all.
func TestPartitionsConvictOneSideAtMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "voters")
		var voters []string
		side := map[string]bool{}
		for i := range n {
			name := fmt.Sprint("n", i)
			voters = append(voters, name)
			side[name] = rapid.Bool().Draw(t, "side")
		}
		convicted := map[bool]bool{}
		for _, judge := range []bool{false, true} {
			w, size := NewWitnesses(), 0 // gathers from its own side only
			for _, a := range voters {
				if side[a] != judge {
					continue
				}
				size++
				for _, b := range voters {
					s := forestall.MemberAlive
					if side[b] != judge {
						s = forestall.MemberFailed
					}
					w.Report(a, b, s, epoch)
				}
			}
			for _, node := range voters {
				if w.Verdict(node, voters, epoch, time.Second).State == forestall.MemberFailed {
					convicted[judge] = true
					if size < majority(n) {
						t.Fatalf("%d of %d voters convicted %s", size, n, node)
					}
				}
			}
		}
		if convicted[false] && convicted[true] {
			t.Fatal("both sides convicted the other")
		}
	})
}
