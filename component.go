package forestall

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind says what sort of component a name belongs to.
type Kind uint8

// The kinds of component. The zero value is no kind at all.
const (
	KindUnknown Kind = iota
	KindNode
	KindGPU
	KindAgent
	KindService
)

var kindNames = [...]string{"unknown", "node", "gpu", "agent", "service"}

// String returns the kind's name as it is written in a component's.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// ParseKind reads a kind's name. The error lists the accepted ones.
func ParseKind(s string) (Kind, error) {
	for k, name := range kindNames {
		if k != int(KindUnknown) && s == name {
			return Kind(k), nil
		}
	}
	return KindUnknown, fmt.Errorf("%w: kind %q is not one of node, gpu, agent, service", ErrBadName, s)
}

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the kind's name; "unknown" gives the zero value.
func (k *Kind) UnmarshalText(b []byte) (err error) {
	if string(b) == kindNames[KindUnknown] {
		*k = KindUnknown
		return nil
	}
	*k, err = ParseKind(string(b))
	return err
}

// ErrBadName is wrapped by every error about a malformed name.
var ErrBadName = errors.New("malformed name")

// Component is what can fail. It prints as kind/name: "node/n3", "gpu/n3/0",
// "agent/train-7". The zero value is no component. Components compare with ==.
type Component struct {
	Kind Kind
	Name string // one segment; for a GPU two: node and index
}

// Node returns the component of the named node.
func Node(name string) Component { return Component{KindNode, name} }

// GPU returns the component of the GPU with that index on that node.
func GPU(node string, index int) Component {
	return Component{KindGPU, node + "/" + strconv.Itoa(index)}
}

// Agent returns the component of the named agent.
func Agent(name string) Component { return Component{KindAgent, name} }

// Service returns the component of the named service.
func Service(name string) Component { return Component{KindService, name} }

// String returns kind/name, or "" for the zero value.
func (c Component) String() string {
	if c == (Component{}) {
		return ""
	}
	return c.Kind.String() + "/" + c.Name
}

// IsZero reports whether c is no component.
func (c Component) IsZero() bool { return c == (Component{}) }

// NodeName returns the node that a node or GPU component belongs to, and ""
// for agents and services, which move.
func (c Component) NodeName() string {
	switch c.Kind {
	case KindNode:
		return c.Name
	case KindGPU:
		node, _, _ := strings.Cut(c.Name, "/")
		return node
	}
	return ""
}

// GPUIndex returns the index of a GPU component on its node.
func (c Component) GPUIndex() (index int, ok bool) {
	if c.Kind != KindGPU {
		return 0, false
	}
	_, s, _ := strings.Cut(c.Name, "/")
	i, err := strconv.Atoi(s)
	return i, err == nil
}

// Compare orders components by kind, then node, then GPU index or name, so
// that gpu/n1/10 follows gpu/n1/9.
func (c Component) Compare(d Component) int {
	if c.Kind != d.Kind {
		return int(c.Kind) - int(d.Kind)
	}
	if c.Kind == KindGPU && c.NodeName() == d.NodeName() {
		i, _ := c.GPUIndex()
		j, _ := d.GPUIndex()
		return i - j
	}
	return strings.Compare(c.Name, d.Name)
}

// MarshalText writes the component as String does.
func (c Component) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Component) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*c = Component{}
		return nil
	}
	*c, err = ParseComponent(string(b))
	return err
}

// ParseComponent reads "node/n3", "gpu/n3/0", "agent/train-7" or
// "service/index". The error wraps [ErrBadName] and says what is wrong.
func ParseComponent(s string) (Component, error) {
	kindName, rest, ok := strings.Cut(s, "/")
	if !ok {
		return Component{}, fmt.Errorf("%w: component %q has no kind; write it as node/NAME, gpu/NODE/INDEX, agent/NAME or service/NAME", ErrBadName, s)
	}
	kind, err := ParseKind(kindName)
	if err != nil {
		return Component{}, fmt.Errorf("component %q: %w", s, err)
	}
	name := rest
	if kind == KindGPU {
		node, index, ok := strings.Cut(rest, "/")
		i, err := strconv.Atoi(index)
		if !ok || err != nil || i < 0 || strconv.Itoa(i) != index {
			return Component{}, fmt.Errorf("%w: component %q: a GPU is written gpu/NODE/INDEX with a decimal index", ErrBadName, s)
		}
		name = node
	}
	if err := CheckName(name); err != nil {
		return Component{}, fmt.Errorf("component %q: %w", s, err)
	}
	return Component{kind, rest}, nil
}

// CheckName reports whether s can name a node, a workload or a state: 1 to 63
// letters, digits, '.', '_' and '-', beginning with a letter or digit. Such a
// name is safe as a file name and as a label value.
func CheckName(s string) error {
	if s == "" {
		return fmt.Errorf("%w: empty name", ErrBadName)
	}
	if len(s) > 63 {
		return fmt.Errorf("%w: name %.20q... has %d characters, at most 63 are allowed", ErrBadName, s, len(s))
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return fmt.Errorf("%w: name %q: use letters, digits, '.', '_' and '-', beginning with a letter or digit", ErrBadName, s)
		}
	}
	return nil
}
