package migrate

import (
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
)

// Join makes a node known, or known anew after a restart. It is alive from
// then on. May be repeated.
type Join struct {
	Name        string `json:"name"`
	Address     string `json:"address"` // host:port of its peer listener
	API         string `json:"api,omitempty"`
	Zone        string `json:"zone,omitempty"`
	GPUs        int    `json:"gpus"`
	MemoryBytes int64  `json:"memory_bytes,omitempty"` // 0: not counted
	GPUModel    string `json:"gpu_model,omitempty"`    // the product's name; of several they are joined by " + "
	GPUDriver   string `json:"gpu_driver,omitempty"`   // its driver's version
}

const (
	maxGPUs         = 1024
	maxHardwareName = 512 // bytes of what a node says of its hardware
)

func (*Join) kind() string { return "join" }

func (c *Join) check() error {
	switch {
	case c.GPUs < 0 || c.GPUs > maxGPUs:
		return fmt.Errorf("%w: node %s: %d GPUs, want 0 to %d", ErrBadCommand, c.Name, c.GPUs, maxGPUs)
	case c.MemoryBytes < 0:
		return fmt.Errorf("%w: node %s: memory %d is negative", ErrBadCommand, c.Name, c.MemoryBytes)
	case len(c.GPUModel) > maxHardwareName || len(c.GPUDriver) > maxHardwareName:
		return fmt.Errorf("%w: node %s: the names of GPU and driver have more than %d bytes", ErrBadCommand, c.Name, maxHardwareName)
	}
	return checkName("node", c.Name)
}

func (c *Join) apply(s *State, at stamp) any {
	if s.Nodes[c.Name] == nil && len(s.Nodes) >= maxNodes {
		return fmt.Errorf("%w: %d nodes", ErrFull, maxNodes)
	}
	n := &Node{c.Name, c.Address, c.API, c.Zone, c.GPUs, c.MemoryBytes, c.GPUModel, c.GPUDriver, forestall.MemberAlive, at.at}
	if old := s.Nodes[c.Name]; old != nil && old.State == forestall.MemberAlive {
		n.Since = old.Since
	}
	s.Nodes[c.Name] = n
	s.closeIncident(forestall.Node(c.Name), forestall.NodeCrash, at)
	return nil
}

// Leave records that a node went on purpose. What it holds stays held until it
// is known to have stopped. May be repeated.
type Leave struct {
	Name string `json:"name"`
}

func (*Leave) kind() string   { return "leave" }
func (c *Leave) check() error { return checkName("node", c.Name) }

func (c *Leave) apply(s *State, at stamp) any { return s.setNode(c.Name, forestall.MemberLeft, at) }

// NodeFailed records that a quorum of voters agrees that a node failed, and
// opens its incident, which starts at its last sign of life.
type NodeFailed struct {
	Name      string    `json:"name"`
	LastSeen  time.Time `json:"last_seen,omitzero"` // last sign of life; zero: not known
	Evidence  []string  `json:"evidence,omitempty"`
	Observers []string  `json:"observers,omitempty"` // who agrees
}

func (*NodeFailed) kind() string   { return "node_failed" }
func (c *NodeFailed) check() error { return checkName("node", c.Name) }

func (c *NodeFailed) apply(s *State, at stamp) any {
	node := forestall.Node(c.Name)
	if err := s.incidentRoom(node, forestall.NodeCrash); err != nil {
		return err
	}
	if err := s.setNode(c.Name, forestall.MemberFailed, at); err != nil {
		return err
	}
	s.openIncident(forestall.Incident{Component: node, Kind: forestall.NodeCrash, Start: failedAt(c.LastSeen, at), Agreed: at.at, Evidence: agreed(c.Evidence, c.Observers)}, 0)
	return nil
}

// NodeBack records that a failed node answers again, and closes its incident.
// May be repeated.
type NodeBack struct {
	Name string `json:"name"`
}

func (*NodeBack) kind() string   { return "node_back" }
func (c *NodeBack) check() error { return checkName("node", c.Name) }

func (c *NodeBack) apply(s *State, at stamp) any {
	if err := s.setNode(c.Name, forestall.MemberAlive, at); err != nil {
		return err
	}
	s.closeIncident(forestall.Node(c.Name), forestall.NodeCrash, at)
	return nil
}

// setNode returns any so that a nil error stays a nil result of Apply.
func (s *State) setNode(name string, state forestall.MemberState, at stamp) any {
	n := s.Nodes[name]
	if n == nil {
		return fmt.Errorf("%w: %q; it has to join first", ErrUnknownNode, name)
	}
	if n.State != state {
		n.State, n.Since = state, at.at
	}
	return nil
}

// SetBudget replaces the action budget. The leader proposes it when its
// configuration says otherwise than the ledger. May be repeated.
type SetBudget struct {
	Budget
}

func (*SetBudget) kind() string { return "budget" }

func (c *SetBudget) check() error {
	if c.Concurrent < 0 || c.PerWindow < 0 || c.PerWindow > maxHistory || c.Window <= 0 {
		return fmt.Errorf("%w: budget %+v: concurrent and per_window must not be negative (per_window at most %d), window must be positive", ErrBadCommand, c.Budget, maxHistory)
	}
	return nil
}

func (c *SetBudget) apply(s *State, _ stamp) any {
	s.Budget = c.Budget
	return nil
}

func checkName(what, name string) error {
	if err := forestall.CheckName(name); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBadCommand, what, err)
	}
	return nil
}
