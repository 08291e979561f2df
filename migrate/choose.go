package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall"
)

// Strategy says which of the nodes that can take a workload gets it.
type Strategy string

// The strategies.
const (
	FastestNode  Strategy = "fastest_node"  // holds the newest checkpoint, so that the restore is local
	LoadBalanced Strategy = "load_balanced" // has the least load
	LowestRisk   Strategy = "lowest_risk"   // is the least likely to fail
)

// UnmarshalText reads a strategy.
func (s *Strategy) UnmarshalText(b []byte) error {
	if v := Strategy(b); slices.Contains([]Strategy{FastestNode, LoadBalanced, LowestRisk}, v) {
		*s = v
		return nil
	}
	return fmt.Errorf("strategy %q is not one of fastest_node, load_balanced, lowest_risk", b)
}

// Conditions is what is known of the nodes beside the ledger.
type Conditions struct {
	Risks []forestall.Risk   // Unknown and impossible ones neither help nor harm
	Loads map[string]float64 // by node, 0 idle to 1 full; a node that is missing counts by its workloads

	claimed map[string]claim // what other movers have chosen and the ledger doesn't hold yet, by workload
}

// Placement asks where a workload can go.
type Placement struct {
	Strategy     Strategy
	KeepGPUsNear bool                // preserve_gpu_affinity: GPUs in one aligned block where possible
	Workload     string              //
	Flee         forestall.Component // never this node or GPU; zero: nothing
	Prefer       string              // taken whatever the strategy says, if it can take it
	Avoid        string              // taken only if no other can
	Exclude      map[string]string   // nodes not to take, and why
	Conditions   Conditions
}

// Choose returns a node for the workload and its GPUs on it, in order. The
// error wraps [ErrNoTarget] and says of the nodes, up to 32, why they can't.
//
// A node that has failed or left, or is itself graded failing, and a GPU that
// has failed, is graded failing or is taken, are never chosen. Ties go to the
// zone with the fewest failed nodes, then to the node with the fewest
// workloads, then by name.
func Choose(s *State, p Placement) (node string, gpus []int, err error) {
	w, err := s.workload(p.Workload)
	if err != nil {
		return "", nil, err
	}
	v := newVista(s, p)
	var able []candidate
	var refused []string
	for _, name := range s.NodeNames() {
		c, why := v.judge(s, w, p, name)
		if why != "" {
			refused = append(refused, name+": "+why)
			continue
		}
		able = append(able, c)
	}
	if len(able) == 0 {
		if len(refused) == 0 {
			refused = []string{"no node has joined"}
		}
		if n := len(refused) - maxRefusals; n > 0 {
			refused = append(refused[:maxRefusals], fmt.Sprintf("and %d more nodes", n))
		}
		return "", nil, fmt.Errorf("%w: %s: %s", ErrNoTarget, p.Workload, strings.Join(refused, "; "))
	}
	best := slices.MinFunc(able, func(a, b candidate) int { return a.compare(b, p) })
	return best.node, best.gpus, nil
}

// maxRefusals bounds the error's length, which the ledger keeps.
const maxRefusals = 32

// candidate is a node that can take the workload.
type candidate struct {
	node       string
	gpus       []int
	local      bool    // holds the newest checkpoint
	load       float64 //
	risk       float64 // the worst probability of the node and the GPUs chosen
	zoneDown   int     // failed nodes in its zone
	workloads  int     //
	avoided    bool    //
	beside     bool    // it holds the GPU that the workload flees from
	suspicious bool    // it, or a GPU chosen, is graded suspect
}

func (c candidate) compare(d candidate, p Placement) int {
	return cmp.Or(
		first(c.node == p.Prefer, d.node == p.Prefer),
		first(!c.avoided, !d.avoided),
		first(!c.suspicious, !d.suspicious),
		first(!c.beside, !d.beside),
		c.rank(d, p.Strategy),
		cmp.Compare(c.zoneDown, d.zoneDown),
		cmp.Compare(c.workloads, d.workloads),
		strings.Compare(c.node, d.node),
	)
}

func (c candidate) rank(d candidate, s Strategy) int {
	switch s {
	case FastestNode:
		return cmp.Or(first(c.local, d.local), cmp.Compare(c.load, d.load))
	case LowestRisk:
		return cmp.Or(cmp.Compare(c.risk, d.risk), cmp.Compare(c.load, d.load))
	}
	return cmp.Compare(c.load, d.load)
}

func first(a, b bool) int {
	switch {
	case a && !b:
		return -1
	case b && !a:
		return 1
	}
	return 0
}

// vista is the conditions, looked up by component and node.
type vista struct {
	risks     map[forestall.Component]forestall.Risk
	loads     map[string]float64
	zoneDown  map[string]int
	workloads map[string]int   // other ones held, by node
	memory    map[string]int64 // promised to them
}

func newVista(s *State, p Placement) vista {
	v := vista{map[forestall.Component]forestall.Risk{}, p.Conditions.Loads, map[string]int{}, map[string]int{}, map[string]int64{}}
	for _, r := range p.Conditions.Risks {
		if possible(r) {
			v.risks[r.Component] = r
		}
	}
	for _, n := range s.Nodes {
		if n.Zone != "" && n.State == forestall.MemberFailed {
			v.zoneDown[n.Zone]++
		}
	}
	for name, w := range s.Workloads {
		if name == p.Workload {
			continue
		}
		for _, h := range w.Holders {
			v.workloads[h.Node]++
			v.memory[h.Node] += w.Spec.Needs.MemoryBytes
		}
		if c, claimed := p.Conditions.claimed[name]; claimed && !c.granted(w) {
			v.workloads[c.node]++
			v.memory[c.node] += w.Spec.Needs.MemoryBytes
		}
	}
	return v
}

func (v vista) grade(c forestall.Component) forestall.Grade { return v.risks[c].Grade }

// probability returns 0 for a component that could not be judged: it neither
// helps nor harms a node beside others.
func (v vista) probability(c forestall.Component) float64 {
	if r := v.risks[c]; r.Grade != forestall.Unknown {
		return r.Probability
	}
	return 0
}

// judge returns the node as a candidate, or why it is none.
func (v vista) judge(s *State, w *WorkloadState, p Placement, name string) (c candidate, why string) {
	n := s.Nodes[name]
	needs := w.Spec.Needs
	switch {
	case n.State != forestall.MemberAlive:
		return c, stateWord(n.State)
	case p.Exclude[name] != "":
		return c, p.Exclude[name]
	case p.Flee == forestall.Node(name):
		return c, "is what it flees from"
	case len(needs.Nodes) > 0 && !slices.Contains(needs.Nodes, name):
		return c, "not in its list of nodes"
	case v.grade(forestall.Node(name)) == forestall.Failing:
		return c, fmt.Sprintf("likely to fail itself (%s)", percent(v.probability(forestall.Node(name))))
	}
	if free := n.MemoryBytes - v.memory[name]; n.MemoryBytes > 0 && needs.MemoryBytes > free {
		return c, fmt.Sprintf("%d of %d bytes of memory free", max(free, 0), needs.MemoryBytes)
	}
	free, suspect, unfit := v.usableGPUs(s, n, p)
	if len(free) < needs.GPUs {
		return c, fmt.Sprintf("%d of %d GPUs free%s", len(free), needs.GPUs, unfit)
	}
	c = candidate{node: name, gpus: pickGPUs(free, suspect, needs.GPUs, p.KeepGPUsNear), zoneDown: v.zoneDown[n.Zone], workloads: v.workloads[name]}
	c.avoided, c.beside = p.Avoid == name, p.Flee.NodeName() == name
	c.local = w.Head != nil && slices.Contains(w.Head.Replicas, name)
	load, known := v.loads[name]
	if !known {
		load = float64(v.workloads[name]) / float64(max(n.GPUs, 1))
	}
	c.load = load
	c.risk = v.probability(forestall.Node(name))
	c.suspicious = v.grade(forestall.Node(name)) == forestall.Suspect
	for _, g := range c.gpus {
		c.risk = max(c.risk, v.probability(forestall.GPU(name, g)))
		c.suspicious = c.suspicious || suspect[g]
	}
	return c, ""
}

func stateWord(s forestall.MemberState) string {
	if s == forestall.MemberUnknown {
		return "its state is unknown"
	}
	return string(s)
}

// usableGPUs returns the node's free GPUs that are neither failed, failing nor
// fled from, in order, which of them are suspect, and in words how many of the
// free ones it leaves out.
func (v vista) usableGPUs(s *State, n *Node, p Placement) (free []int, suspect map[int]bool, unfit string) {
	taken := s.TakenGPUs(n.Name, p.Workload)
	for name, c := range p.Conditions.claimed {
		if c.node != n.Name || name == p.Workload {
			continue
		}
		for _, g := range c.gpus {
			taken[g] = name
		}
	}
	suspect = map[int]bool{}
	var failed, failing int
	for g := range n.GPUs {
		gpu := forestall.GPU(n.Name, g)
		_, broken := s.Incident(gpu)
		switch {
		case taken[g] != "":
		case broken:
			failed++
		case gpu == p.Flee || v.grade(gpu) == forestall.Failing:
			failing++
		default:
			suspect[g] = v.grade(gpu) == forestall.Suspect
			free = append(free, g)
		}
	}
	if failed > 0 {
		unfit += fmt.Sprintf(", %d failed", failed)
	}
	if failing > 0 {
		unfit += fmt.Sprintf(", %d failing", failing)
	}
	return free, suspect, unfit
}
