package migrate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/workload"
)

// What a sentence for an operator may hold, in characters.
const (
	maxSentence = 200
	maxCause    = 120 // of an error, as a part of one
)

// usesUp reports whether an answer to a start is final for its epoch: the node
// would only call it stale if it were asked again.
func usesUp(err error) bool {
	return errors.Is(err, ErrWorkload) || errors.Is(err, forestall.ErrStaleEpoch)
}

// telling reports whether an error says what is wrong with the step, and not
// merely that something was wrong before, or with the log.
func telling(err error) bool {
	var n notTaken
	return !errors.Is(err, forestall.ErrStaleEpoch) && !errors.Is(err, circuitbreaker.ErrOpen) && !errors.As(err, &n)
}

// notTaken marks the error of a proposal.
type notTaken struct{ error }

func (n notTaken) Unwrap() error { return n.error }

// waiting begins the note of a migration that waits for a target.
const waiting = "waiting: "

// waited begins the note of one whose fence had to wait.
const waited = "waited for its fence: "

// earlierCause returns why the attempt before the present one of a granted
// migration failed, or "" where the ledger doesn't say.
func earlierCause(m *forestall.Migration) string {
	if m.Attempt <= 1 || strings.HasPrefix(m.Note, waiting) || strings.HasPrefix(m.Note, waited) {
		return ""
	}
	return m.Note
}

// startCause puts the error of a start into words, without what its reader
// knows already: the node, the workload and that it was not started.
func startCause(node string, err error) string {
	text := strings.TrimPrefix(err.Error(), "node "+node+": ")
	if errors.Is(err, ErrWorkload) {
		for _, sentinel := range []error{workload.ErrWorkload, ErrWorkload} {
			if _, own, found := strings.Cut(text, sentinel.Error()+": "); found {
				text = own
				break
			}
		}
	}
	return clip(text, maxCause)
}

// mendIt begins the remedy in the reason of a giving up.
const mendIt = "; mend it, then "

// gaveUp begins the evidence that a giving up leaves.
const gaveUp = "gave up: "

// ownFault says that a workload is given up for a fault of its own, and what
// to do about it. next is how long after this try the next one comes, 0 if
// that isn't known.
func ownFault(node string, cause error, limit string, next time.Duration) string {
	why := fmt.Sprintf("cannot start: %s (%s; last tried on %s)%sdeclare it anew or wait for the next try", startCause(node, cause), limit, node, mendIt)
	if next > 0 {
		why += fmt.Sprintf(", %s after this one", span(next))
	}
	return why
}

func notStarted(node string, cause error) string {
	return fmt.Sprintf("%s could not start it: %s", node, startCause(node, cause))
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

// withoutRemedy cuts the remedy off the reason of a giving up.
func withoutRemedy(why string) string {
	why, _, _ = strings.Cut(why, mendIt)
	return why
}

// addGivingUp appends to evidence that a recovery was given up, in place of
// what earlier ones left: only the newest says how things are.
func addGivingUp(evidence []string, note string) []string {
	kept := slices.DeleteFunc(slices.Clone(evidence), func(e string) bool { return strings.HasPrefix(e, gaveUp) })
	return keepLast(kept, note, maxEvidence)
}

// agreed appends to evidence who agrees, unless it names all of them.
func agreed(evidence, observers []string) []string {
	named := map[string]bool{}
	for _, e := range evidence {
		for _, word := range strings.FieldsFunc(e, func(r rune) bool { return strings.ContainsRune(" ,;:()[]", r) }) {
			named[word] = true
		}
	}
	if !slices.ContainsFunc(observers, func(o string) bool { return !named[o] }) {
		return evidence
	}
	return append(evidence[:len(evidence):len(evidence)], "agreed by "+strings.Join(observers, ", "))
}

// clip shortens text to limit characters. It leaves out the middle: an error
// begins with what was tried and ends with why it failed.
func clip(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	head := (limit - 1) / 2
	tail := limit - 1 - head
	return string(runes[:head]) + "…" + string(runes[len(runes)-tail:])
}

// clipped returns sentences of at most maxSentence characters each.
func clipped(sentences []string) []string {
	out := make([]string, len(sentences))
	for i, s := range sentences {
		out[i] = clip(s, maxSentence)
	}
	return out
}
