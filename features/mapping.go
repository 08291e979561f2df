package features

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/stratoswarm/forestall"
)

// Mapping says which series of a page are which metrics of which components.
// It is immutable and safe for concurrent use.
type Mapping struct {
	name   string
	kind   forestall.Kind
	slots  []string                                                        // what rules write, by index: our metrics, then helpers that begin with '.'
	nOut   int                                                             // slots[:nOut] are metrics
	rules  map[string][]rule                                               // by the page's metric name
	xid    string                                                          // series whose value is the last XID; "" = none
	locate func(l labels.Labels, node string) (forestall.Component, error) // zero: not of any
	derive func(now, before []float64)                                     // fills metrics from helpers
}

// rule maps one series onto a slot.
type rule struct {
	slot  int
	scale float64 // 0 = 1
	join  join    // several series of one component
	where func(labels.Labels) bool
	value func(float64) float64 // before scale; NaN = not reported
}

// join says what several series of one component make together.
type join uint8

const (
	joinMax join = iota
	joinSum
	joinMin
)

// Presets returns the names that [Preset] accepts.
func Presets() []string { return []string{"dcgm", "node"} }

// Preset returns the mapping of a well-known exporter: "dcgm" for
// dcgm-exporter, which describes GPUs, "node" for node_exporter, which
// describes a node.
func Preset(name string) (*Mapping, error) {
	switch name {
	case "dcgm":
		return dcgmMapping(), nil
	case "node":
		return nodeMapping(), nil
	}
	return nil, fmt.Errorf("preset %q is not one of %s", name, strings.Join(Presets(), ", "))
}

// Name returns the preset's name.
func (m *Mapping) Name() string { return m.name }

// Kind returns the kind of component that the mapping describes.
func (m *Mapping) Kind() forestall.Kind { return m.kind }

// spec is how a preset writes a rule: names where rule has indices.
type spec struct {
	from, to string
	scale    float64
	join     join
	where    func(labels.Labels) bool
	value    func(float64) float64
}

// compile returns a mapping whose slots are the kind's metrics, then helpers.
func compile(m Mapping, helpers []string, specs []spec) *Mapping {
	for _, metric := range Metrics(m.kind) {
		m.slots = append(m.slots, metric.Name)
	}
	m.nOut = len(m.slots)
	m.slots = append(m.slots, helpers...)
	m.rules = make(map[string][]rule, len(specs))
	for _, s := range specs {
		r := rule{slot: slices.Index(m.slots, s.to), scale: s.scale, join: s.join, where: s.where, value: s.value}
		if r.scale == 0 {
			r.scale = 1
		}
		m.rules[s.from] = append(m.rules[s.from], r)
	}
	return &m
}

// slot returns the index of a name; presets use it for their helpers.
func (m *Mapping) slot(name string) int { return slices.Index(m.slots, name) }

// take adds one series to the component's slots.
func (r *rule) take(slots []float64, v float64) {
	if r.value != nil {
		v = r.value(v)
	}
	v = reported(v * r.scale)
	if math.IsNaN(v) {
		return
	}
	have := &slots[r.slot]
	switch {
	case math.IsNaN(*have):
		*have = v
	case r.join == joinSum:
		*have += v
	case r.join == joinMin:
		*have = min(*have, v)
	default:
		*have = max(*have, v)
	}
}

func label(name string, accepted ...string) func(labels.Labels) bool {
	return func(l labels.Labels) bool { return slices.Contains(accepted, l.Get(name)) }
}
