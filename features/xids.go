package features

import (
	"math"
	"slices"
)

// xidSeries says what a series tells of a GPU's XIDs.
type xidSeries uint8

const (
	notXID     xidSeries = iota
	lastXID              // its value is the last one, so that a second one of the same code is not seen
	countsXIDs           // its value is how many of a code, its label xid, came within the exporter's window
)

var xidEvents = map[string]xidSeries{"xid": lastXID, "xid_count": countsXIDs}

// maxXIDs bounds what one scrape is believed of one code: a faulty program's come
// by the thousand.
const maxXIDs = 64

// xids finds the XIDs that came between two scrapes of a GPU. Where the source
// counts them, a count that rises is as many new ones: at least, because old ones
// leave the exporter's window meanwhile. What the first scrape tells may be from long
// ago, because an exporter keeps the last XID until the driver is reloaded: it is news
// where it is another than was known before, of [LastXIDs].
type xids struct {
	last, before []lastOne // the last ones, in this scrape and as they were given before
	counted      bool      // this scrape has counts
	known        bool      // the one before had
	codes        []xidCount
}

// lastOne is the last XID that one series gives: a GPU has one for each MIG instance.
type lastOne struct {
	series int32
	code   float64
}

type xidCount struct {
	code        int
	now, before float64 // 0: none lately
}

// begin starts a scrape.
func (x *xids) begin() {
	x.last, x.counted = x.last[:0], false
	for i := range x.codes {
		x.codes[i].now = 0
	}
}

// take takes the value of a series, NaN for none. The code is that which the series
// counts, or tells those apart that give the last one.
func (x *xids) take(what xidSeries, code int, v float64) {
	if math.IsNaN(v) {
		return
	}
	if what == lastXID {
		x.last = append(x.last, lastOne{int32(code), v})
		return
	}
	x.counted = true
	if code <= 0 {
		return
	}
	i := slices.IndexFunc(x.codes, func(c xidCount) bool { return c.code == code })
	if i < 0 {
		i = len(x.codes)
		x.codes = append(x.codes, xidCount{code: code})
	}
	x.codes[i].now += v // of a GPU's MIG instances
}

// end completes the scrape and returns the codes that are new, each as often as
// it came.
func (x *xids) end() (news []int) {
	if !x.counted || !x.known {
		news = x.changed()
	}
	if x.counted {
		for i := range x.codes {
			c := &x.codes[i]
			if x.known {
				for range int(min(c.now-c.before, maxXIDs)) {
					news = append(news, c.code)
				}
			}
			c.before = c.now
		}
		x.codes = slices.DeleteFunc(x.codes, func(c xidCount) bool { return c.now == 0 })
	}
	x.known = x.counted
	if len(x.last) > 0 {
		x.last, x.before = x.before, x.last
	}
	return news
}

// changed returns the codes that are the last ones now and were not before: in their
// series or, where it has new labels such as those of the pod that runs, in any.
func (x *xids) changed() (news []int) {
	if len(x.before) == 0 {
		return nil
	}
	for _, l := range x.last {
		before := slices.IndexFunc(x.before, func(b lastOne) bool { return b.series == l.series })
		if before < 0 {
			before = slices.IndexFunc(x.before, func(b lastOne) bool { return b.code == l.code })
		}
		if (before < 0 || x.before[before].code != l.code) && l.code != 0 && !slices.Contains(news, int(l.code)) {
			news = append(news, int(l.code))
		}
	}
	return news
}
