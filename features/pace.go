package features

import (
	"fmt"
	"math"
	"time"
)

// Bounds on how long a source that answers may bring nothing new. The shorter one
// is four of dcgm-exporter's default intervals.
const (
	leastPatience = 2 * time.Minute
	mostPatience  = 10 * time.Minute
)

// pace follows how often a source collects. An exporter that collects more slowly
// than it is scraped repeats itself; read as values of their own, repetitions are
// steps to windows, and say of a GPU that rests that it rested when it did not. Equal
// values tell nothing, they may be so. A pulse does: a series that moves
// whenever the source collects, as the energy that a GPU has used. A scrape in
// which no pulse has moved brings nothing new. It shows that the source answers, for
// a while; a source that answers on and on and does not collect is one that cannot
// be read.
type pace struct {
	at        time.Time        // of the newest scrape that brought something new; zero: none yet
	described int              // components in it
	stamp     time.Time        // the newest stamp in it; zero: it was not stamped
	intervals [2]time.Duration // the newest two between such scrapes
}

// fresh notes a scrape that brought something new.
func (p *pace) fresh(at time.Time, described int) {
	if !p.at.IsZero() {
		p.intervals[0], p.intervals[1] = at.Sub(p.at), p.intervals[0]
	}
	p.at, p.described = at, described
}

// patience is how long nothing new is nothing wrong: three intervals. Of the newest
// two the shorter one counts, because an interval may be of a source that had stopped.
func (p *pace) patience() time.Duration {
	return min(max(3*min(p.intervals[0], p.intervals[1]), leastPatience), mostPatience)
}

// check says that the source does not collect any more; nil while it does.
func (p *pace) check(now time.Time) error {
	silent := now.Sub(p.at)
	if silent <= p.patience() {
		return nil
	}
	return fmt.Errorf("it answers, but has collected nothing new since %s, for %s: its exporter has stopped reading, or reads less often than every %s",
		p.at.UTC().Format(time.RFC3339), silent.Round(time.Second), p.patience())
}

// maxStampAge is how far the stamp of a value may be from the time of its scrape,
// which is for how long Prometheus takes a value for a present one.
const maxStampAge = 5 * time.Minute

// stamps are what a page says about the times of its values. A reading has the time
// of its scrape all the same: one scrape, one stamp. Stamps say whether it is a
// reading at all: a value of long ago, or of a clock that is wrong, is not taken, and
// where every value has one, they are a pulse.
type stamps struct {
	newest  time.Time // zero: none
	lacking bool      // some values have none
	refused int       // values that were not taken
	worst   time.Time // the stamp of one of them
}

// admit notes the stamp of a value, zero for none, and reports whether the value is
// to be taken.
func (s *stamps) admit(stamp, now time.Time) bool {
	switch {
	case stamp.IsZero():
		s.lacking = true
	case now.Sub(stamp).Abs() > maxStampAge:
		s.refused, s.worst = s.refused+1, stamp
		return false
	case stamp.After(s.newest):
		s.newest = stamp
	}
	return true
}

// check says which values were not taken; nil if all were.
func (s *stamps) check() error {
	if s.refused == 0 {
		return nil
	}
	return fmt.Errorf("%d series are stamped more than %s before or after their scrape, one of them %s, and are not taken: they are old, or a clock is wrong",
		s.refused, maxStampAge, s.worst.UTC().Format(time.RFC3339))
}

// repeats reports whether the scrape under way brings nothing new: it has pulses,
// none of which has moved, of the components that the newest new scrape described.
func (c *collector) repeats() bool {
	if len(c.fresh) != c.pace.described {
		return false
	}
	pulses := 0
	if stamp := c.stamps.newest; !stamp.IsZero() && !c.stamps.lacking {
		if !stamp.Equal(c.pace.stamp) {
			return false
		}
		pulses++
	}
	for _, r := range c.fresh {
		if !r.known || !r.described.Equal(c.pace.at) {
			return false
		}
		for _, slot := range c.mapping.pulses {
			switch now, before := r.now[slot], r.before[slot]; {
			case now == before:
				pulses++
			case !math.IsNaN(now) || !math.IsNaN(before):
				return false
			}
		}
	}
	return pulses > 0
}
