package features

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"

	"github.com/stratoswarm/forestall"
)

// Bounds on what one source may describe.
const (
	maxTargetComponents = 1024
	maxPendingEvents    = 256
)

// collector turns the series of one source into samples, one scrape after the
// other, whatever they came by: a page, a Prometheus server's answers, a
// remote write. It remembers the components that it has seen and the readings
// of the scrape before, from which formulas derive shares of time. It is not
// safe for concurrent use.
type collector struct {
	mapping *Mapping
	node    string            // whose components they are; "" = a label says it
	target  map[string]string // labels of the source
	origin  string            // for the text of events
	limit   int               // of components
	newest  Newest            // nil: nothing is known
	xids    *LastXIDs         // nil: likewise
	forget  time.Duration     // how long a component is kept that is not described; 0: for ever

	seen   []forestall.Component // in order of Compare
	state  map[forestall.Component]*reading
	fresh  []*reading // that this scrape has touched
	scrape uint64     // counts scrapes
	names  []string   // that labels give nodes, where node says whose all components are
	named  uint16     // the name in the scrape under way; see route
	events []forestall.Event
	gone   []forestall.Component // forgotten since Forgotten was called

	pace     pace
	stamps   stamps // of this scrape
	repeated bool   // the newest scrape brought nothing new

	siblings Siblings
}

// reading is what a source said about one component.
type reading struct {
	component   forestall.Component
	now, before []float64 // the mapping's slots; NaN = missing
	xids        xids
	series      int        // that this scrape has of it
	scrape      uint64     // that touched it last
	first       uint64     // the scrape that described it first, or again under its old name
	known       bool       // it is in seen
	renamed     bool       // another has taken its place on the page
	described   time.Time  // of the newest scrape that described it
	counting    []counting // of the mapping's counting slots
	had         []bool     // of the mapping's details: which it has had
}

// route says what the values of one series are. The zero route is nothing.
type route struct {
	to      *reading
	rules   []rule
	counted []*counted // by rule, nil for one that does not count; nil: none does
	xid     xidSeries
	named   uint16 // which of the collector's names its labels give the node, counted from 1; 0: none, or it does not matter
	code    int32  // of a series that counts XIDs; of one that gives the last it tells those of a GPU apart
}

func newCollector(m *Mapping, node string, target map[string]string, origin string, limit int) *collector {
	return &collector{mapping: m, node: node, target: target, origin: origin, limit: limit, state: map[forestall.Component]*reading{}}
}

// route finds what a series is. It stays true for as long as the collector.
func (c *collector) route(name string, l labels.Labels) (route, error) {
	var r route
	if !c.mapping.knows(name) {
		return r, nil
	}
	component, err := c.mapping.locate(l, c.node, c.target)
	if err != nil {
		return r, fmt.Errorf("%w: series %s: %w", ErrExposition, name, err)
	}
	if component.IsZero() {
		return r, nil
	}
	r.rules = c.mapping.rules[name]
	for i := range r.rules {
		if !r.rules[i].matches(l) {
			r.rules = matching(r.rules, l)
			break
		}
	}
	if r.xid = c.mapping.events[name]; r.xid == countsXIDs {
		code, _ := strconv.ParseInt(l.Get("xid"), 10, 32) // without one it says that there was none
		r.code = int32(code)
	} else if r.xid == lastXID {
		r.code = int32(uint32(labels.StableHash(l)))
	}
	if c.node != "" {
		r.named = c.name(l)
	}
	if r.to = c.state[component]; r.to == nil {
		if len(c.state) >= c.limit && !c.evict() {
			return r, fmt.Errorf("%w: %w: more than %d components are described", ErrExposition, ErrTooLarge, c.limit)
		}
		n := len(c.mapping.slots)
		r.to = &reading{component: component, now: nans(n), before: nans(n), counting: make([]counting, len(c.mapping.counting)), had: make([]bool, len(c.mapping.details))}
		c.state[component] = r.to
	}
	for i := range r.rules {
		at := slices.Index(c.mapping.counting, r.rules[i].slot)
		if at < 0 {
			continue
		}
		if r.counted == nil {
			r.counted = make([]*counted, len(r.rules))
		}
		r.counted[i] = r.to.counting[at].of(countedKey{name, l.Hash(), i})
	}
	return r, nil
}

// name returns which of the names, counted from 1, the labels of a series give its
// node; 0: none.
func (c *collector) name(l labels.Labels) uint16 {
	name, err := c.mapping.node(l.Get)
	if err != nil || c.mapping.kind == forestall.KindNode && isIndex(name) { // of a NUMA node
		return 0
	}
	at := slices.Index(c.names, name)
	if at < 0 {
		const many = 1024
		if len(c.names) == many { // most of them are no more
			return 0
		}
		at = len(c.names)
		c.names = append(c.names, name)
	}
	return uint16(at + 1)
}

func isIndex(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// oneNode returns an error where a series belongs to another node than one before it
// in the scrape, and both would be taken for those of the target's node: of two
// devices one would be made.
func (c *collector) oneNode(r route) error {
	switch {
	case r.named == 0 || r.named == c.named:
		return nil
	case c.named == 0:
		c.named = r.named
		return nil
	}
	return fmt.Errorf("%w: it describes the nodes %q and %q, and its target stands for one, %q: list it in file_sd without node, so that their labels (%s) name them",
		ErrExposition, c.names[c.named-1], c.names[r.named-1], c.node, strings.Join(c.mapping.labels.Node, ", "))
}

func matching(rules []rule, l labels.Labels) []rule {
	var some []rule
	for _, one := range rules {
		if one.matches(l) {
			some = append(some, one)
		}
	}
	return some
}

// begin starts a scrape.
func (c *collector) begin() {
	c.scrape++
	c.fresh, c.stamps, c.named = c.fresh[:0], stamps{}, 0
}

// touch says that the scrape describes the component.
func (c *collector) touch(r *reading) {
	if r.scrape == c.scrape {
		return
	}
	r.scrape = c.scrape
	r.now, r.before = r.before, r.now
	fillNaN(r.now)
	r.xids.begin()
	r.series = 0
	if r.renamed {
		r.renamed, r.first = false, c.scrape
	}
	c.fresh = append(c.fresh, r)
}

// add takes the value of one series. A staleness marker says that the series
// has vanished: its component is described, its metric missing.
func (c *collector) add(r route, v float64) {
	if r.to == nil {
		return
	}
	c.touch(r.to)
	if promvalue.IsStaleNaN(v) {
		return
	}
	r.to.series++
	if r.xid != notXID {
		r.to.xids.take(r.xid, int(r.code), reported(v))
	}
	for i := range r.rules {
		if r.counted != nil && r.counted[i] != nil {
			at := slices.Index(c.mapping.counting, r.rules[i].slot)
			r.to.counting[at].take(r.counted[i], c.scrape, r.rules[i].read(v))
		} else {
			r.rules[i].take(r.to.now, v)
		}
	}
}

// abort takes back a scrape that went wrong: the readings before it stand.
func (c *collector) abort() {
	for _, r := range c.fresh {
		r.now, r.before = r.before, r.now
		r.scrape = 0
		if !r.known {
			delete(c.state, r.component)
		}
	}
	c.fresh = c.fresh[:0]
}

var errNothingKnown = errors.New("none of its series is known")

// end completes the scrape: what needs two readings is derived, new XIDs are
// noted, and a component that the scrape did not describe has no values now. One
// that brought nothing new leaves the readings before it, and repeated says so.
func (c *collector) end(now time.Time) error {
	if len(c.fresh) == 0 {
		return errNothingKnown
	}
	if c.repeated = c.repeats(); c.repeated {
		c.abort()
		return nil
	}
	before := c.pace.at
	c.pace.fresh(now, len(c.fresh))
	c.pace.stamp = c.stamps.newest
	newcomers := 0
	for _, r := range c.fresh {
		if !r.known {
			r.known = true
			r.first = c.scrape
			if at, there := slices.BinarySearchFunc(c.seen, r.component, forestall.Component.Compare); !there {
				c.seen = slices.Insert(c.seen, at, r.component)
			}
			c.state[r.component] = r
		}
		if r.first == c.scrape {
			newcomers++
		}
		r.described = now
		for i, slot := range c.mapping.counting {
			r.counting[i].seed(c.newest, r.component, c.mapping.slots[slot])
			r.now[slot] = r.counting[i].total(c.scrape)
		}
		c.mapping.derive(r.now, r.before)
		c.noteXIDs(r, now)
	}
	if len(c.fresh) == len(c.seen) {
		return nil
	}
	c.forgetOld(now)
	if newcomers > 0 {
		c.findRenamed(before)
	}
	for _, component := range c.seen {
		if r := c.state[component]; !r.renamed {
			c.touch(r)
		}
	}
	return nil
}

// findRenamed finds the components of nodes that the scrape before, made at a time,
// was the last to describe, where this one describes for the first time the like of
// them on another node: the label that names the node has changed. That a component
// is not described under a name that is no more says nothing about it: it has no
// values, as has one whose source cannot be read.
func (c *collector) findRenamed(before time.Time) {
	here, first := map[string]bool{}, map[forestall.Component]bool{}
	for _, component := range c.seen {
		r := c.state[component]
		if r.scrape != c.scrape {
			continue
		}
		here[component.NodeName()] = true
		if r.first == c.scrape {
			first[like(component)] = true
		}
	}
	for _, component := range c.seen {
		r := c.state[component]
		node := component.NodeName()
		if node != "" && !here[node] && r.described.Equal(before) && first[like(component)] {
			r.renamed = true
		}
	}
}

// like returns a component without its node.
func like(c forestall.Component) forestall.Component {
	c.Name = strings.TrimPrefix(c.Name, c.NodeName())
	return c
}

// forgetOld drops what has not been described for too long: a pod's name that is
// no more. A GPU is kept while others of its node are described: that it alone is
// silent says something about it.
func (c *collector) forgetOld(now time.Time) {
	if c.forget == 0 {
		return
	}
	heard := map[string]time.Time{} // by node
	for _, component := range c.seen {
		if node, at := component.NodeName(), c.state[component].described; at.After(heard[node]) {
			heard[node] = at
		}
	}
	for _, component := range slices.Clone(c.seen) {
		at := c.state[component].described
		if node := component.NodeName(); node != "" {
			at = heard[node]
		}
		if now.Sub(at) > c.forget {
			c.drop(component)
		}
	}
}

// evict makes room for a component: it drops the one that has not been described
// for longest, if this scrape and the one before have left it out.
func (c *collector) evict() bool {
	var oldest *reading
	newest := time.Time{}
	for _, component := range c.seen {
		r := c.state[component]
		if r.described.After(newest) {
			newest = r.described
		}
		if r.scrape != c.scrape && (oldest == nil || r.described.Before(oldest.described)) {
			oldest = r
		}
	}
	if oldest == nil || !oldest.described.Before(newest) {
		return false
	}
	c.drop(oldest.component)
	return true
}

func (c *collector) drop(component forestall.Component) {
	if at, ok := slices.BinarySearchFunc(c.seen, component, forestall.Component.Compare); ok {
		c.seen = slices.Delete(c.seen, at, at+1)
	}
	c.state[component].known = false // values of it may be on their way
	delete(c.state, component)
	c.siblings.Forget(component)
	c.gone = append(c.gone, component)
}

// Forgotten drains the components that were described once and have not been for
// so long that they are no more.
func (c *collector) Forgotten() []forestall.Component {
	gone := slices.DeleteFunc(c.gone, func(one forestall.Component) bool { return c.state[one] != nil })
	c.gone = nil
	return gone
}

// noteXIDs reports the XIDs that are new.
func (c *collector) noteXIDs(r *reading, now time.Time) {
	var since time.Time
	given := len(r.xids.last) > 0
	if given && len(r.xids.before) == 0 {
		r.xids.before, since = c.xids.before(r.component, r.xids.before)
	}
	codes := r.xids.end()
	if given {
		c.xids.read(r.component, now, r.xids.before)
	}
	for _, code := range codes {
		detail := "last XID that " + c.origin + " reports"
		switch {
		case !since.IsZero():
			const layout = "2006-01-02 15:04:05Z"
			detail += fmt.Sprintf("; it came after %s, when that was read last, and before %s", since.UTC().Format(layout), now.UTC().Format(layout))
		case r.xids.counted:
			detail = "XID that " + c.origin + " counts"
		}
		c.event(forestall.Event{Component: r.component, Kind: forestall.EventXID, Time: now, Code: code, Detail: detail})
	}
}

func (c *collector) event(e forestall.Event) {
	if len(c.events) == maxPendingEvents {
		c.events = slices.Delete(c.events, 0, 1)
	}
	c.events = append(c.events, e)
}

// Events drains what happened since the last call: XIDs that came between two
// scrapes, as far as the source tells, and failed scrapes, which belong to the
// target's node (no component when that is not configured). The newest 256 are
// kept.
func (c *collector) Events() []forestall.Event {
	events := c.events
	c.events = nil
	return events
}

// Repeated returns the components that the newest scrape described with nothing
// new: the source answers, and has not collected anew.
func (c *collector) Repeated() []forestall.Component {
	if !c.repeated {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(c.seen), func(one forestall.Component) bool { return c.state[one].renamed })
}

// samples returns one group for each component that is remembered and has not got
// another name: a sample of every
// metric that the mapping gives, and what [Context] has of the component; none
// after a scrape that brought nothing new.
func (c *collector) samples(now time.Time) [][]forestall.Sample {
	if c.repeated {
		return nil
	}
	out := make([][]forestall.Sample, 0, len(c.seen))
	for _, component := range c.seen {
		if r := c.state[component]; !r.renamed {
			out = append(out, c.group(r, now))
		}
	}
	c.siblings.Append(out)
	if c.mapping.kind == forestall.KindGPU || c.mapping.kind == forestall.KindNode {
		for i, group := range out {
			component := group[0].Component
			out[i] = append(group, forestall.Sample{Component: component, Metric: MetricSeries, Time: now, Value: float64(c.state[component].series)})
		}
	}
	return out
}

func (c *collector) group(r *reading, now time.Time) []forestall.Sample {
	// With room for what is known of siblings and of the past.
	n := c.mapping.nOut - len(c.mapping.details) + 1 + len(siblingMetrics) + len(xidMetrics) + len(failureMetrics) + len(cohortMetrics)
	for _, had := range r.had {
		if had {
			n++
		}
	}
	group := make([]forestall.Sample, 0, n)
	detail := 0
	for slot := range c.mapping.nOut {
		v := r.now[slot]
		if detail < len(c.mapping.details) && c.mapping.details[detail] == slot {
			r.had[detail] = r.had[detail] || !math.IsNaN(v)
			detail++
			if !r.had[detail-1] {
				continue
			}
		}
		group = append(group, forestall.Sample{Component: r.component, Metric: c.mapping.slots[slot], Time: now, Value: v})
	}
	return group
}

func fillNaN(s []float64) {
	for i := range s {
		s[i] = math.NaN()
	}
}
