package predict

import (
	"fmt"
	"math"
	"time"

	"github.com/stratoswarm/forestall/model"
)

// TrialRule says when a challenger has shown enough. It is plain data: the same
// results give the same verdict on every node.
type TrialRule struct {
	MinTime     time.Duration // from the first pair on
	MinFailures int           // that followed pairs
	MaxTime     time.Duration // after which a challenger that is not better is given up
}

// DefaultTrialRule asks for three days and five failures, and waits for 30 days.
func DefaultTrialRule() TrialRule {
	return TrialRule{MinTime: 3 * day, MinFailures: 5, MaxTime: 30 * day}
}

// Validate names the first field that cannot work.
func (r TrialRule) Validate() error {
	switch {
	case r.MinTime < 0:
		return fmt.Errorf("predict: TrialRule.MinTime is %v; it must not be negative", r.MinTime)
	case r.MinFailures < 1:
		return fmt.Errorf("predict: TrialRule.MinFailures is %d; it must be at least 1", r.MinFailures)
	case r.MaxTime <= r.MinTime:
		return fmt.Errorf("predict: TrialRule.MaxTime is %v; it must be longer than MinTime, %v", r.MaxTime, r.MinTime)
	}
	return nil
}

// Verdict is what a trial comes to.
type Verdict string

// The verdicts. Better and Worse are the challenger's; Spent says that it had
// its time and is not better.
const (
	Undecided Verdict = "undecided"
	Better    Verdict = "better"
	Worse     Verdict = "worse"
	Spent     Verdict = "spent"
)

// zBetter is how many standard errors make better. It is more than the 1.645 of
// a single look, because a trial is looked at all the time: of Brownian motion
// that is watched from MinTime to ten times that, about 5 % cross it in one
// direction (the approximation of Siegmund 1985 for a boundary that grows with
// the square root of time).
const zBetter = 2.58

// mostAlone is the share of the champion's predictions to which a better model
// may have none.
const mostAlone = 0.1

// Judge returns the verdict at a time and what it rests on. The challenger is
// better if its logarithmic score over the same predictions is better by 2.58
// standard errors, which vary by component, and as many failures follow as its
// probabilities say, within a factor of two, or at least no further off than the
// champion's, and it is Unknown to at most a tenth of the champion's predictions.
// It is worse if the champion's score is better by as much.
func (r TrialRule) Judge(s TrialResult, now time.Time) (Verdict, []string) {
	var took time.Duration
	if !s.From.IsZero() {
		took = now.Sub(s.From)
	}
	z := s.Z()
	said := []string{
		fmt.Sprintf("%d predictions of %d components over %s, %d failures", s.Rows, s.Components, inDays(took.Round(time.Minute)), s.Failures),
		fmt.Sprintf("logarithmic score %.6g nats against the champion's %.6g, %+.2f standard errors better", s.LossQ/float64(max(1, s.Rows)), s.LossP/float64(max(1, s.Rows)), z),
		fmt.Sprintf("%d predictions were followed by a failure; the challenger expected %.3g, the champion %.3g", s.Positives, s.ExpectedQ, s.ExpectedP),
	}
	alone := float64(s.Alone) / float64(max(1, s.Rows+s.Alone))
	if s.Alone > 0 {
		said = append(said, fmt.Sprintf("to %.3g %% of the champion's predictions the challenger had none", 100*alone))
	}
	over := took >= r.MaxTime
	switch {
	case took < r.MinTime:
		return Undecided, append(said, "it is to be watched for "+inDays(r.MinTime))
	case s.Failures < r.MinFailures && !over:
		return Undecided, append(said, fmt.Sprintf("%d failures are needed", r.MinFailures))
	case s.Failures < r.MinFailures:
		return Spent, append(said, fmt.Sprintf("%d failures are needed and %s have passed", r.MinFailures, inDays(r.MaxTime)))
	case z <= -zBetter:
		return Worse, append(said, "the champion is better")
	case z >= zBetter && s.calibrated() && alone <= mostAlone:
		return Better, append(said, "the challenger is better")
	case over:
		return Spent, append(said, inDays(r.MaxTime)+" have passed and it is not better")
	case z >= zBetter && alone > mostAlone:
		return Undecided, append(said, "it is Unknown too often to take the champion's place")
	case z >= zBetter:
		return Undecided, append(said, "the challenger's probabilities are too far from what followed")
	}
	return Undecided, append(said, "the difference may be chance")
}

// inDays writes whole days as such.
func inDays(d time.Duration) string {
	if d >= 2*day {
		return fmt.Sprintf("%.3g days", d.Hours()/24)
	}
	return d.String()
}

func (s TrialResult) calibrated() bool {
	off := func(expected float64) float64 {
		return math.Abs(math.Log((float64(s.Positives) + 0.5) / (expected + 0.5)))
	}
	return off(s.ExpectedQ) <= math.Ln2 || off(s.ExpectedQ) <= off(s.ExpectedP)
}

// Recalibrated returns what the odds of a model are to be multiplied by, when so
// many failures followed where so many were expected under the factor before: the
// shrunken ratio of the two times that, within 1/most and most. It is the one before
// while the ratio is within 0.8 and 1.25. So much it reaches after 33 failures where
// 17 were expected, or 17 where 33 were: 3.4 standard deviations of the square roots
// of Poisson counts, as in [CalibrationLost].
func Recalibrated(failures int, expected, before, most float64) (factor float64, said string) {
	r := model.Recalibration{Observed: float64(failures), Expected: expected, Prior: model.RecalibrationPrior}
	said = fmt.Sprintf("%d failures came where %.3g were expected, with %g as expected added to both %.3g times as many", failures, expected, r.Prior, r.Factor())
	if r.Validate() != nil || r.Factor() > 0.8 && r.Factor() < 1.25 {
		return before, said
	}
	return min(max(before*r.Factor(), 1/most), most), said
}

// CalibrationLost reports whether failures come more or less often than a
// model's probabilities say, by more than a factor of two and more than chance
// explains: failures are taken to come as a Poisson process, whose square root
// has a standard deviation of 1/2, and 3.4 of those are asked for. The counts are
// those of the last 30 days and looked at all the time: within 30 days chance brings
// such a deviation, in either direction, in about 2 % (a simulation with 12 expected,
// in the tests; for many 1 %, Slepian 1961). expected is the number of failures, not of predictions
// ([Scores.ExpectedFailures]).
func CalibrationLost(failures int, expected float64) (bool, string) {
	o := float64(failures)
	said := fmt.Sprintf("%d failures came where %.3g were expected", failures, expected)
	chance := 2 * math.Abs(math.Sqrt(o)-math.Sqrt(expected))
	return (o > 2*expected || o < expected/2) && chance >= 3.4, said
}
