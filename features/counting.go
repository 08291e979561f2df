package features

import (
	"math"

	"github.com/stratoswarm/forestall"
)

// counting joins the counters of several series into one that is aware of the
// resets of each: a network interface whose driver is loaded anew, a link that is
// missing for a while and comes back. Joined first and differenced afterwards,
// such a sum would fall, and a counter that falls began anew from zero, with all
// that the others have counted in their lives.
//
// The total is the sum of the series while nothing happens to them. A series that
// falls goes on from what it had, one that is missing keeps what it had, one that
// is new adds nothing by its first reading. Where all that are there fall at once
// the component began anew, and the total with it.
type counting struct {
	series map[countedKey]*counted
	order  []*counted // of first appearance, so that sums are the same each time
	offset float64    // of the total over what the series say
	begun  bool
	least  float64 // that the total begins with
}

// countedKey tells the series of one total apart.
type countedKey struct {
	name   string
	labels uint64 // their hash
	rule   int    // by which it counts
}

type counted struct {
	key       countedKey
	last      float64 // in the newest scrape that was completed and had it; NaN: none
	was       bool    // the newest completed scrape had it
	now       float64 // in the scrape under way
	scrape    uint64  // that now is of
	forgotten bool    // it is not in order
}

// of returns where a series is counted.
func (c *counting) of(key countedKey) *counted {
	s := c.series[key]
	if s == nil {
		if c.series == nil {
			c.series = map[countedKey]*counted{}
		}
		s = &counted{key: key, forgotten: true}
		c.series[key] = s
	}
	return s
}

// take takes the value of a series in a scrape, NaN for none.
func (c *counting) take(s *counted, scrape uint64, v float64) {
	if math.IsNaN(v) {
		return
	}
	if s.forgotten {
		s.forgotten, s.last, s.was = false, math.NaN(), false
		c.series[s.key] = s
		c.order = append(c.order, s)
	}
	s.now, s.scrape = v, scrape
}

// Newest returns the newest value of a component's metric that is known, NaN for
// none: of the windows that an engine refilled when it started.
type Newest func(c forestall.Component, metric string) float64

// seed has a total that has not begun go on from what windows hold of it. What
// series had that restarted before is known no more: without it the total would be
// less than it was, and pass for a counter that began anew with all that the series
// have counted in their lives. A total that is more than it was has counted on, one
// that is not half of it did begin anew, as on another board.
func (c *counting) seed(newest Newest, of forestall.Component, metric string) {
	if c.begun || newest == nil {
		return
	}
	c.least = newest(of, metric)
}

// total completes a scrape and returns the total; NaN if it has none of the
// series.
func (c *counting) total(scrape uint64) float64 {
	var sum, lost float64
	var here, fresh, fell, vanished int
	for _, s := range c.order {
		switch {
		case s.scrape != scrape:
			if s.was {
				vanished++
				lost += s.last
			}
			continue
		case math.IsNaN(s.last):
			fresh++
		case s.now < s.last:
			fell++
		}
		here++
		sum += s.now
	}
	if here == 0 {
		for _, s := range c.order {
			s.was = false
		}
		return math.NaN()
	}
	// Under new labels alone, and less than it was, it is another device's.
	restarted := !c.begun || fell == here || fresh == here && sum < lost
	if restarted {
		c.offset = 0
		if !c.begun && sum < c.least && 2*sum > c.least {
			c.offset = c.least - sum
		}
		c.begun = true
	} else {
		for _, s := range c.order {
			switch {
			case s.scrape != scrape:
			case math.IsNaN(s.last):
				c.offset -= s.now
			case s.now < s.last:
				c.offset += s.last
			}
		}
	}
	// Where some vanish as others appear they have new labels, such as the job
	// that runs: what they say once they are back, the others have said meanwhile.
	const many = 64
	if restarted || fresh > 0 && vanished > 0 || len(c.order)-here > here+many {
		c.forget(scrape, restarted)
	}
	for _, s := range c.order {
		if s.was = s.scrape == scrape; s.was {
			s.last = s.now
		} else if !math.IsNaN(s.last) {
			sum += s.last
		}
	}
	return sum + c.offset
}

// forget drops the series that the scrape has not; what they had stays in the
// total unless it begins anew.
func (c *counting) forget(scrape uint64, anew bool) {
	kept := c.order[:0]
	for _, s := range c.order {
		if s.scrape == scrape {
			kept = append(kept, s)
			continue
		}
		s.forgotten = true
		delete(c.series, s.key)
		if !anew && !math.IsNaN(s.last) {
			c.offset += s.last
		}
	}
	clear(c.order[len(kept):])
	c.order = kept
}
