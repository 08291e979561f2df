package predict

import "time"

const (
	leapLimit  = day       // a time this far from the one before has leapt
	leapStands = time.Hour // that it must have gone on from there to be believed
)

// Clock follows the time that it is told and does not believe one at once that
// has leapt by more than a day, either way: a node whose clock is wrong for a
// while, after it was started or restored, would end the horizons of all
// predictions and drop what is older than it should be. A leap that stands, as
// after days without power, is believed after an hour. The zero Clock believes
// the first time that it is told.
//
// It is not safe for concurrent use.
type Clock struct {
	newest time.Time // that was believed
	leapt  time.Time // where the time went on after a leap; zero: it has not leapt
	last   time.Time // that was told since
}

// Tell takes the time and reports whether it is believed. Where it is not,
// nothing is to be counted by it.
func (c *Clock) Tell(now time.Time) bool {
	switch {
	case c.newest.IsZero(), now.Sub(c.newest).Abs() <= leapLimit:
	case c.leapt.IsZero() || now.Before(c.leapt) || now.Sub(c.last).Abs() > leapLimit:
		c.leapt, c.last = now, now
		return false
	case now.Sub(c.leapt) < leapStands:
		c.last = now
		return false
	}
	*c = Clock{newest: now}
	return true
}

// Newest returns the newest time that was believed, zero before the first.
func (c *Clock) Newest() time.Time { return c.newest }

// Leapt returns where the time went on that is not believed yet; zero if it is.
func (c *Clock) Leapt() time.Time { return c.leapt }

// ahead reports whether a time that was noted lies so far ahead of now that the
// clock was set back since.
func ahead(noted, now time.Time) bool { return noted.Sub(now) > leapLimit }
