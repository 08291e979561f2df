package gpu

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxUnreaped is how many killed children that the kernel has not let go, stuck
// in the driver, a source bears before it starts no more.
const maxUnreaped = 8

// lane is a child process and its successors, one at a time. Most GPUs share
// one lane; a GPU that cost a child has one of its own until it answers again,
// so that its siblings do not suffer with it.
type lane struct {
	turn chan struct{} // holds one token while an exchange is under way
	// The holder of the token owns the rest.
	fails int       // children lost in a row
	after time.Time // no new child before it
	last  *process  // the child before; nil: none

	mu   sync.Mutex
	proc *process // nil: none runs
}

func newLane() *lane { return &lane{turn: make(chan struct{}, 1)} }

// errResting is wrapped while a lane has no child and may not start one yet.
var errResting = errors.New("no child process")

// lost is an exchange that cost the lane its child. silent: by not answering.
type lost struct {
	silent bool
	err    error
}

func (l *lost) Error() string { return l.err.Error() }
func (l *lost) Unwrap() error { return l.err }

// ask sends a request to the lane's child, starting one first where there is
// none. The caller holds the token. The error is *lost when this request cost
// the child; one that the library reported is a *boardError; all others say
// that there is no child.
func (n *NVML) ask(l *lane, q request) (response, error) {
	p, err := n.child(l)
	if err != nil {
		return response{}, err
	}
	r, err := p.exchange(q, n.cfg.Deadline)
	if err != nil {
		n.lose(l, p)
		return response{}, &lost{silent: errors.Is(err, errSilent), err: err}
	}
	l.fails = 0
	n.report(r.XIDs)
	return r, r.Error.err()
}

// child returns the lane's running child, or starts one and says hello to it.
func (n *NVML) child(l *lane) (*process, error) {
	if p := l.process(); p != nil {
		if !p.dead() {
			return p, nil
		}
		n.lose(l, p) // it ended unasked
	}
	now := n.cfg.Now()
	if now.Before(l.after) {
		return nil, fmt.Errorf("%w: the last of %d ended; the next starts in %s", errResting, l.fails, l.after.Sub(now).Round(time.Millisecond))
	}
	p, err := n.start(l)
	if err != nil {
		return nil, err
	}
	r, err := p.exchange(request{Op: opHello}, n.cfg.Start)
	if err != nil {
		n.lose(l, p)
		return nil, fmt.Errorf("initialise NVML: %w", err)
	}
	if err := r.Error.err(); err != nil {
		n.lose(l, p)
		return nil, err
	}
	n.mu.Lock()
	n.driver, n.count = r.Driver, r.Count
	n.mu.Unlock()
	return p, nil
}

// start starts a child for the lane, unless too many hang in the kernel.
func (n *NVML) start(l *lane) (*process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errNVMLClosed
	}
	stuck := n.killed[:0]
	for _, p := range n.killed {
		if !p.dead() {
			stuck = append(stuck, p)
		}
	}
	n.killed = stuck
	if l != n.shared && l.last != nil && !l.last.dead() {
		return nil, fmt.Errorf("%w: the last was killed and is stuck in the driver", errResting)
	}
	if len(stuck) >= maxUnreaped {
		return nil, fmt.Errorf("%w: %d killed children are stuck in the driver; the node needs a reboot", errResting, len(stuck))
	}
	p, err := startProcess(n.cfg.Command)
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", n.cfg.Command, err)
	}
	l.mu.Lock()
	l.proc = p
	l.mu.Unlock()
	return p, nil
}

// lose kills the lane's child and puts off the next: not at all the first
// time, then for 1 s, doubling to a minute.
func (n *NVML) lose(l *lane, p *process) {
	n.drop(l, p)
	l.fails++
	if l.fails > 1 {
		l.after = n.cfg.Now().Add(min(time.Minute, time.Second<<min(l.fails-2, 6)))
	}
}

// drop kills the lane's child and remembers it until the kernel lets it go.
func (n *NVML) drop(l *lane, p *process) {
	p.kill()
	p.await(100 * time.Millisecond) // the kernel lets most go at once
	l.last = p
	l.mu.Lock()
	l.proc = nil
	l.mu.Unlock()
	n.mu.Lock()
	n.killed = append(n.killed, p)
	n.mu.Unlock()
}

func (l *lane) process() *process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.proc
}
