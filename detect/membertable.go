package detect

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/stratoswarm/forestall"
)

// Member is another node as gossip shows it, or this one.
type Member struct {
	Name     string
	Address  string // host:port of its gossip
	Meta     []byte // what it tells about itself
	State    forestall.MemberState
	Since    time.Time // when State began, by this node's clock
	LastSeen time.Time // when it last answered this node's probe or announced itself
}

// MemberEvent is a change of another member: of its state, or of its Meta while
// it is alive. State is MemberAlive, MemberFailed or MemberLeft: memberlist keeps
// suspicion to itself, and what one node sees is only a report (see Witnesses).
type MemberEvent struct {
	Name  string
	State forestall.MemberState
	Meta  []byte
	Time  time.Time // when this node learned of it
}

// forgetAfter is how long members that failed or left are listed.
const forgetAfter = 24 * time.Hour

// Meta on the wire begins with one of these: memberlist tells its delegates
// that a member is dead, but not whether it said good-bye.
const (
	metaStaying = 0
	metaLeaving = 1
)

// table is what this node knows of the members. memberlist calls its delegate
// methods, some with its locks held, so none blocks.
type table struct {
	self    string
	meta    []byte
	now     func() time.Time
	metrics *Metrics
	events  chan MemberEvent

	mu      sync.Mutex
	leaving bool // this node is
	members map[string]*Member
	pending []MemberEvent // at most one for each member, oldest first
	wake    chan struct{} // capacity 1
}

var (
	_ memberlist.Delegate      = (*table)(nil)
	_ memberlist.EventDelegate = (*table)(nil)
	_ memberlist.PingDelegate  = (*table)(nil)
)

func newTable(self string, meta []byte, now func() time.Time, m *Metrics) *table {
	return &table{
		self: self, meta: meta, now: now, metrics: m,
		events: make(chan MemberEvent), members: map[string]*Member{}, wake: make(chan struct{}, 1),
	}
}

func (t *table) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving = true
}

func (t *table) list() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Member, 0, len(t.members))
	for _, e := range t.members {
		m := *e
		if m.Name == t.self {
			m.LastSeen = t.now()
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (t *table) aliveAddresses() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, e := range t.members {
		if e.State == forestall.MemberAlive {
			out = append(out, e.Address)
		}
	}
	return out
}

// forget drops members that have long been gone.
func (t *table) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, e := range t.members {
		if e.State != forestall.MemberAlive && t.now().Sub(e.Since) > forgetAfter {
			delete(t.members, name)
		}
	}
	t.count()
}

// NotifyJoin hears of a new or returned member, first of this node itself.
func (t *table) NotifyJoin(n *memberlist.Node) { t.update(n, forestall.MemberAlive) }

// NotifyUpdate hears of a changed Meta.
func (t *table) NotifyUpdate(n *memberlist.Node) { t.update(n, forestall.MemberAlive) }

// NotifyLeave hears of a death; that of a member that announced it is a
// good-bye.
func (t *table) NotifyLeave(n *memberlist.Node) { t.update(n, forestall.MemberFailed) }

func (t *table) update(n *memberlist.Node, state forestall.MemberState) {
	leaving, meta := false, []byte(nil)
	if len(n.Meta) > 0 {
		leaving, meta = n.Meta[0] == metaLeaving, bytes.Clone(n.Meta[1:])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	e := t.members[n.Name]
	if e == nil {
		e = &Member{Name: n.Name}
		t.members[n.Name] = e
	}
	if state == forestall.MemberFailed && leaving {
		state = forestall.MemberLeft
	}
	changed := e.State != state || state == forestall.MemberAlive && !bytes.Equal(e.Meta, meta)
	if e.State != state {
		e.State, e.Since = state, now
	}
	if state == forestall.MemberAlive {
		e.LastSeen = now
	}
	e.Address, e.Meta = n.Address(), meta
	t.count()
	if changed && n.Name != t.self {
		t.announce(MemberEvent{Name: n.Name, State: state, Meta: meta, Time: now})
	}
}

// count shows the members by state. The caller holds the lock.
func (t *table) count() {
	byState := map[forestall.MemberState]int{}
	for _, e := range t.members {
		byState[e.State]++
	}
	t.metrics.setMembers(byState)
}

// announce puts the event in the place of an undelivered one of the same
// member. The caller holds the lock.
func (t *table) announce(e MemberEvent) {
	t.pending = slices.DeleteFunc(t.pending, func(p MemberEvent) bool { return p.Name == e.Name })
	t.pending = append(t.pending, e)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *table) next() (MemberEvent, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) == 0 {
		return MemberEvent{}, false
	}
	e := t.pending[0]
	t.pending = t.pending[1:]
	return e, true
}

// deliver hands the events out until ctx ends.
func (t *table) deliver(ctx context.Context) {
	for {
		e, ok := t.next()
		if !ok {
			select {
			case <-t.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case t.events <- e:
		case <-ctx.Done():
			return
		}
	}
}

// NodeMeta returns what this node tells about itself.
func (t *table) NodeMeta(int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	flag := byte(metaStaying)
	if t.leaving {
		flag = metaLeaving
	}
	return append([]byte{flag}, t.meta...)
}

// NotifyPingComplete hears that a member answered this node's probe.
func (t *table) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.members[n.Name]; e != nil {
		e.LastSeen = t.now()
	}
}

// AckPayload adds nothing to answers.
func (t *table) AckPayload() []byte { return nil }

// NotifyMsg ignores user messages: none are sent.
func (t *table) NotifyMsg([]byte) {}

// GetBroadcasts has nothing to say.
func (t *table) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState adds nothing to full exchanges.
func (t *table) LocalState(bool) []byte { return nil }

// MergeRemoteState expects nothing from full exchanges.
func (t *table) MergeRemoteState([]byte, bool) {}
