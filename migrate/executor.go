package migrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Executor drives the open migrations, and the clean-up after them, on the
// leader. Workloads are driven side by side, the steps of one in order.
//
// It keeps nothing that a new leader would need: every step that counts is an
// entry of the ledger, and every call can be repeated.
type Executor struct {
	ledger  *Ledger
	propose ProposeFunc
	nodes   Nodes
	leases  *Leases
	cfg     ExecutorConfig
	breaker *breakers
	claims  *claims
	metrics *metrics
}

// NewExecutor checks the configuration and returns an executor that does
// nothing until [Executor.Run].
func NewExecutor(ledger *Ledger, propose ProposeFunc, nodes Nodes, leases *Leases, cfg ExecutorConfig) (*Executor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Conditions == nil {
		cfg.Conditions = func() Conditions { return Conditions{} }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Executor{ledger, propose, nodes, leases, cfg, newBreakers(cfg.Breaker), &claims{of: map[string]claim{}}, m}, nil
}

// Run drives migrations until ctx ends, which is when this node is the leader
// no more, and returns nil once every call it made has ended. It may be run
// again.
func (e *Executor) Run(ctx context.Context) error {
	var (
		wg     sync.WaitGroup
		ended  = make(chan string)
		active = map[string]bool{}
	)
	defer wg.Wait()
	for {
		changed := e.ledger.Changed()
		for _, name := range e.todo(active) {
			active[name] = true
			wg.Go(func() {
				e.drive(ctx, name)
				select {
				case ended <- name:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case name := <-ended:
			delete(active, name)
		case <-changed:
		}
	}
}

// todo returns the workloads that have a step to take and nobody to take it.
func (e *Executor) todo(active map[string]bool) (names []string) {
	e.ledger.View(func(s *State) {
		e.metrics.open(s)
		for _, name := range s.WorkloadNames() {
			if !active[name] && Next(s, name).Kind != StepNone {
				names = append(names, name)
			}
		}
	})
	return names
}

// drive takes one workload's steps until none is left.
func (e *Executor) drive(ctx context.Context, workload string) {
	m := &mover{workload: workload, cfg: &e.cfg}
	defer e.claims.drop(workload)
	for ctx.Err() == nil {
		changed := e.ledger.Changed()
		env := surroundings{now: e.cfg.Now(), leases: e.leases, conditions: e.cfg.Conditions(), tripped: e.breaker.tripped, claims: e.claims}
		var d deed
		e.ledger.View(func(s *State) { d = m.next(s, env) })
		if !d.places() { // it only looked whether there is room, or the ledger has the grant
			e.claims.drop(workload)
		}
		switch {
		case d.idle:
			return
		case d.command != nil:
			err := e.put(ctx, d)
			e.log(ctx, "propose", m.step, err, "command", d.command.kind())
			m.proposed(d.command, err, e.cfg.Now())
		case d.call != nil:
			value, err := e.ask(ctx, d.call)
			e.log(ctx, "call", d.call.step, err)
			m.called(d.call, value, err, e.cfg.Now())
		default:
			pause(ctx, changed, d.wait)
		}
	}
}

// pause waits for the first of the three; a wait of 0 is for ever.
func pause(ctx context.Context, changed <-chan struct{}, wait time.Duration) {
	var timer <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer:
	}
}

// put proposes a command and returns the ledger's refusal as an error too.
func (e *Executor) put(ctx context.Context, d deed) error {
	b, err := Encode(d.id, e.cfg.Now(), d.command)
	if err != nil {
		return err
	}
	_, value, err := e.propose(ctx, b)
	if err != nil {
		return err
	}
	if err, no := value.(error); no {
		return refusal{err}
	}
	e.ledger.View(func(s *State) { e.metrics.applied(s, d.command) })
	return nil
}

// ask makes a call, and breaks it off when the ledger no longer wants it: the
// node failed meanwhile, the process ended by itself, somebody retired it.
func (e *Executor) ask(ctx context.Context, c *call) (any, error) {
	if c.step.Kind == StepStart {
		if err := e.breaker.enter(c.step.Node); err != nil {
			return nil, fmt.Errorf("start on %s: %w", c.step.Node, err)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { e.breakOff(ctx, cancel, c.step) })
	value, err := c.carry(ctx, e.nodes)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	cancel(nil)
	watch.Wait()
	if c.step.Kind == StepStart {
		e.breaker.leave(c.step.Node, err)
	}
	return value, err
}

var errOvertaken = errors.New("the ledger has moved on")

// breakOff cancels a call whose step is not the next one any more.
func (e *Executor) breakOff(ctx context.Context, cancel context.CancelCauseFunc, st Step) {
	for {
		changed := e.ledger.Changed()
		var now Step
		e.ledger.View(func(s *State) { now = Next(s, st.Workload) })
		if now != st {
			cancel(errOvertaken)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (e *Executor) log(ctx context.Context, what string, st Step, err error, more ...any) {
	args := append([]any{"step", string(st.Kind), "workload", st.Workload, "node", st.Node, "epoch", uint64(st.Epoch), "migration", st.Migration}, more...)
	if err == nil {
		e.cfg.Logger.DebugContext(ctx, what, args...)
		return
	}
	level := slog.LevelWarn
	if ctx.Err() != nil || errors.Is(err, errOvertaken) {
		level = slog.LevelDebug
	}
	e.cfg.Logger.Log(ctx, level, what+" failed", append(args, "error", err.Error())...)
}
