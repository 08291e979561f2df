package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stratoswarm/forestall"
)

// OptimalInterval returns the time from the end of one checkpoint to the
// beginning of the next that loses the least, to checkpoints and to work done
// again. cost is what a checkpoint takes from the workload, mtbf the mean time
// between its failures, recall the share of those that a prediction announces
// in time for a checkpoint of their own, which the periodic ones then need not
// cover.
//
// It is Daly's higher-order estimate (J. T. Daly, "A higher order estimate of
// the optimum checkpoint interval for restart dumps", FGCS 22, 2006, eq. 20)
//
//	sqrt(2 C M) [1 + sqrt(C/(2M))/3 + (C/(2M))/9] - C   where C < 2M, else M
//
// with M = mtbf/(1-recall), so that its first order is Young's sqrt(2 C mtbf)
// (1974) without a predictor and sqrt(2 C mtbf/(1-recall)) with one (Aupy,
// Robert, Vivien, Zaidouni, "Checkpointing algorithms and fault prediction",
// JPDC 74, 2014). With a recall of 1 there is no end to it: the longest
// time.Duration. cost and mtbf must be positive and recall within 0 and 1,
// otherwise the result is 0.
func OptimalInterval(cost, mtbf time.Duration, recall float64) time.Duration {
	if cost <= 0 || mtbf <= 0 || !(recall >= 0 && recall <= 1) {
		return 0
	}
	c, m := cost.Seconds(), mtbf.Seconds()/(1-recall)
	t := m
	if c < 2*m {
		x := c / (2 * m)
		t = math.Sqrt(2*c*m)*(1+math.Sqrt(x)/3+x/9) - c
	}
	if ns := t * float64(time.Second); ns < math.MaxInt64 { // not so when m is infinite
		return time.Duration(ns)
	}
	return math.MaxInt64
}

// FailureRate is what is known of how often a workload fails. The zero value is
// that nothing is.
type FailureRate struct {
	MTBF   time.Duration // mean time between failures; 0: unknown
	Recall float64       // share of them that a prediction announces, within 0 and 1; NaN, which is unknown, counts as 0
}

// EstimateMTBF returns the mean time between failures of what failed n times
// while it was watched for observed: (prior+observed)/(n+1), the mean of the
// posterior rate, inverted, when the rate is believed beforehand to be
// exponentially distributed around one failure per prior.
func EstimateMTBF(n int, observed, prior time.Duration) time.Duration {
	return (prior + max(0, observed)) / time.Duration(max(0, n)+1)
}

// Pace decides the interval between checkpoints.
type Pace struct {
	Longest  time.Duration // the recovery point objective: never exceeded
	Shortest time.Duration // 0: the interval is Longest, whatever it costs
	// Share is the part of the machine that a checkpoint uses while the workload
	// goes on, and so at most what it takes from it; within 0 and 1.
	Share float64
}

// Validate names the first field that cannot work and what it may be.
func (p Pace) Validate() error {
	switch {
	case p.Longest <= 0:
		return fmt.Errorf("longest checkpoint interval %v must be positive", p.Longest)
	case p.Shortest < 0 || p.Shortest > p.Longest:
		return fmt.Errorf("shortest checkpoint interval %v is not within 0 (fixed interval) and the longest, %v", p.Shortest, p.Longest)
	case !(p.Share >= 0 && p.Share <= 1):
		return errors.New("share of the machine that a checkpoint uses is not within 0 and 1")
	}
	return nil
}

// Cost returns what a checkpoint took from its workload: the pause, and the
// share of the rest of its duration.
func (p Pace) Cost(cp forestall.Checkpoint) time.Duration {
	return cp.Pause + time.Duration(p.Share*float64(max(0, cp.Took-cp.Pause)))
}

// Interval returns the time between checkpoints that cost cost each, for a
// workload that fails at such a rate: [OptimalInterval] within Shortest and
// Longest. Where the cost (0) or the rate is unknown it is Longest.
func (p Pace) Interval(cost time.Duration, rate FailureRate) time.Duration {
	if p.Shortest == 0 || cost <= 0 || rate.MTBF <= 0 {
		return p.Longest
	}
	recall := rate.Recall
	if math.IsNaN(recall) {
		recall = 0
	}
	return min(max(OptimalInterval(cost, rate.MTBF, recall), p.Shortest), p.Longest)
}

// Wait returns how long after the moment of a checkpoint the next one is to
// begin, so that it counts, if that takes lead, before Longest has passed: at
// every, or earlier by jitter, within [0,1), of a tenth of it. A lead of more
// than half of Longest counts as half: the objective cannot be kept then.
func (p Pace) Wait(every, lead time.Duration, jitter float64) time.Duration {
	return min(every-time.Duration(jitter*float64(every)/10), p.Longest-min(lead, p.Longest/2))
}
