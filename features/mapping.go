package features

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/stratoswarm/forestall"
)

// Mapping says which series are which metrics of which components. It is
// immutable and safe for concurrent use.
type Mapping struct {
	name     string
	kind     forestall.Kind
	labels   MapLabels
	slots    []string          // what rules write, by index: metrics, then helpers that begin with '.'
	nOut     int               // slots[:nOut] are metrics
	rules    map[string][]rule // by the series' name
	events   map[string]xidSeries
	formulas []computed // in the order of the table
	details  []int      // slots that are told only of components that have had them
	counting []int      // slots that are sums of counters, each aware of its resets
	pulses   []int      // slots that move whenever the source collects
	extra    []Metric   // those that the kind's list lacks
}

// rule maps one series onto a slot.
type rule struct {
	slot    int
	scale   float64
	join    join // several series of one component
	where   []*labels.Matcher
	limit   float64 // values from here on mean "no value"
	nonzero bool    // zero means "no value"
	bits    uint64  // 0 = the value itself; else whether one of these bits is set
}

// computed is a slot that a formula fills from others.
type computed struct {
	slot  int
	value formula
}

// join says what several series of one component make together.
type join uint8

const (
	joinMax join = iota
	joinSum
	joinMin
	joinCount
)

var joinNames = []string{"max", "sum", "min", "count"}

// Name returns the preset's name.
func (m *Mapping) Name() string { return m.name }

// Kind returns the kind of component that the mapping describes.
func (m *Mapping) Kind() forestall.Kind { return m.kind }

// Series returns the names of the series that the mapping reads, sorted.
func (m *Mapping) Series() []string {
	var names []string
	for name := range m.rules {
		names = append(names, name)
	}
	for name := range m.events {
		if m.rules[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// knows reports whether the mapping reads the series.
func (m *Mapping) knows(name string) bool { return m.rules[name] != nil || m.events[name] != notXID }

// findCounting notes the slots that are sums of counters and of nothing else.
func (m *Mapping) findCounting() {
	for slot, name := range m.slots[:m.nOut] {
		metric, ok := m.metric(name)
		written, sums := 0, 0
		for _, rules := range m.rules {
			for i := range rules {
				if r := &rules[i]; r.slot == slot {
					written++
					if r.join == joinSum && r.bits == 0 {
						sums++
					}
				}
			}
		}
		computed := slices.ContainsFunc(m.formulas, func(c computed) bool { return c.slot == slot })
		if ok && metric.Type == Counter && sums > 0 && sums == written && !computed {
			m.counting = append(m.counting, slot)
		}
	}
}

// matches reports whether the rule is for a series with these labels.
func (r *rule) matches(l labels.Labels) bool {
	for _, w := range r.where {
		if !w.Matches(l.Get(w.Name)) {
			return false
		}
	}
	return true
}

// read returns what a value of a series means; NaN if nothing.
func (r *rule) read(v float64) float64 {
	if v >= r.limit || r.nonzero && v == 0 {
		return math.NaN()
	}
	switch {
	case r.join == joinCount:
		v = 1
	case r.bits != 0:
		if v < 0 || !finite(v) {
			return math.NaN()
		}
		v = float64(min(uint64(v)&r.bits, 1)) // 0 or 1
	}
	return reported(v * r.scale)
}

// take adds the value of one series to the component's slots.
func (r *rule) take(slots []float64, v float64) {
	v = r.read(v)
	if math.IsNaN(v) {
		return
	}
	have := &slots[r.slot]
	switch {
	case math.IsNaN(*have):
		*have = v
	case r.join == joinSum || r.join == joinCount:
		*have += v
	case r.join == joinMin:
		*have = min(*have, v)
	default:
		*have = max(*have, v)
	}
}

// derive fills the slots that formulas give.
func (m *Mapping) derive(now, before []float64) {
	for _, c := range m.formulas {
		now[c.slot] = reported(c.value(now, before))
	}
}

// locate says whose series one with these labels is: the zero Component when
// it is of none that the mapping describes. node, if given, is the node; labels
// that the series lacks are those of its target.
func (m *Mapping) locate(l labels.Labels, node string, target map[string]string) (forestall.Component, error) {
	var none forestall.Component
	get := func(name string) string {
		if v := l.Get(name); v != "" {
			return v
		}
		return target[name]
	}
	switch m.kind {
	case forestall.KindAgent, forestall.KindService:
		name := get(m.labels.Name)
		if name == "" {
			return none, nil
		}
		if err := forestall.CheckName(name); err != nil {
			return none, fmt.Errorf("label %s: %w", m.labels.Name, err)
		}
		return forestall.Component{Kind: m.kind, Name: name}, nil
	case forestall.KindGPU:
		if get(m.labels.GPU) == "" { // of a switch, a CPU
			return none, nil
		}
	}
	if node == "" {
		var err error
		if node, err = m.node(get); err != nil {
			return none, err
		}
	}
	if m.kind == forestall.KindNode {
		return forestall.Node(node), nil
	}
	index, err := strconv.Atoi(get(m.labels.GPU))
	if err != nil || index < 0 {
		return none, fmt.Errorf("label %s=%q is not a GPU's index", m.labels.GPU, get(m.labels.GPU))
	}
	return forestall.GPU(node, index), nil
}

// node reads the node's name from the first of the mapping's labels that is
// there. An address gives its host.
func (m *Mapping) node(get func(string) string) (string, error) {
	for _, name := range m.labels.Node {
		v := get(name)
		if v == "" {
			continue
		}
		if host, _, err := net.SplitHostPort(v); err == nil {
			v = host
		}
		if err := forestall.CheckName(v); err != nil {
			return "", fmt.Errorf("label %s: %w; set the target's node", name, err)
		}
		return v, nil
	}
	return "", fmt.Errorf("no label names the node (looked for %q); set the target's node", m.labels.Node)
}
