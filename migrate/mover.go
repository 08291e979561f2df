package migrate

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/stratoswarm/forestall"
)

// mover is what the leader remembers about one workload's step while it tries
// it. It decides, and does nothing itself: next says what to do, called and
// proposed tell it how that went. Losing it (a new leader) costs a repetition,
// never safety: everything that counts is in the ledger.
type mover struct {
	workload string
	cfg      *ExecutorConfig

	step      Step
	tries     int       // failed calls or proposals of the step
	notBefore time.Time // of the next attempt
	cause     error     // of the last failure that said what is wrong
	usedUp    bool      // the node's answer to a start was final for its epoch
	shut      error     // the node's breaker did not let the start in; nil: it did, or was not asked
	result    Command   // to be proposed until it is applied or refused

	migration string    // the open one
	began     time.Time // when this leader first saw it, or had last waited for its first target
	said      time.Time // when it last wrote down why it waits
}

// deed is one thing to do. At most one of call and command is set; with none,
// wait until something changes, or no longer than wait if it isn't 0.
type deed struct {
	call    *call
	command Command
	id      string // of command
	wait    time.Duration
	idle    bool // nothing is left to do for the workload
}

// surroundings are what a mover sees beside the ledger.
type surroundings struct {
	now        time.Time // a clock that doesn't jump
	leases     *Leases
	conditions Conditions
	tripped    func(node string) string // why the node's breaker lets nothing through, or ""
	claims     *claims                  // of the movers beside it; nil: there are none
}

// next decides what to do now.
func (m *mover) next(s *State, env surroundings) deed {
	step := Next(s, m.workload)
	if step != m.step {
		m.step, m.tries, m.notBefore, m.cause, m.usedUp, m.shut, m.result = step, 0, time.Time{}, nil, false, nil, nil
	}
	if step.Kind == StepNone {
		return deed{idle: true}
	}
	if step.Migration != m.migration {
		m.migration, m.began, m.said = step.Migration, env.now, time.Time{}
	}
	if wait := m.patience(env); wait > 0 {
		return deed{wait: wait}
	}
	if m.result != nil {
		if open := s.Open[m.step.Migration]; m.step.Kind == StepFence && strings.HasPrefix(open.Note, waiting) {
			return deed{command: &Wait{open.ID, waited + strings.TrimPrefix(open.Note, waiting)}}
		}
		return m.entry(m.result)
	}
	w := s.Workloads[m.workload]
	switch step.Kind {
	case StepThaw:
		return m.ask(5*time.Second, StartOrder{})
	case StepSave:
		return m.save(s, w, env)
	case StepGrant:
		return m.grant(s, w, env)
	case StepFence:
		return m.fence(s.Open[m.step.Migration], env)
	case StepStop:
		return m.stop(w, env)
	case StepStart:
		return m.start(s, w, env)
	default:
		return m.move(s, w, env, m.lost(s, w))
	}
}

func (m *mover) ask(timeout time.Duration, o StartOrder) deed {
	return deed{call: &call{m.step, o, timeout}}
}

// entry proposes a command under an ID that names the intention, so that a
// repetition after a lost reply takes effect once.
func (m *mover) entry(c Command) deed {
	m.result = c
	id := fmt.Sprintf("%s %s %s %s %d", c.kind(), m.workload, m.step.Migration, m.step.Node, m.step.Epoch)
	return deed{command: c, id: id}
}

func (m *mover) save(s *State, w *WorkloadState, env surroundings) deed {
	open := s.Open[m.step.Migration]
	_, failed := s.Incident(open.Component)
	if m.tries > 0 && failed {
		return m.grant(s, w, env)
	}
	if m.tries == 0 {
		_, _, err := m.choose(s, env, nil)
		switch {
		case err != nil && failed: // staying is no better
			return m.withoutTarget(open, env, err)
		case err != nil:
			return m.entry(&Abort{open.ID, err.Error()})
		}
	}
	if m.tries >= m.cfg.StepAttempts {
		return m.entry(&Abort{m.step.Migration, m.unsaved()})
	}
	return m.ask(m.cfg.SaveTimeout+w.Spec.Hook.Timeout, StartOrder{})
}

func (m *mover) grant(s *State, w *WorkloadState, env surroundings) deed {
	open := s.Open[m.step.Migration]
	if h, held := w.Holder(); held && w.Running && open.Action == forestall.ActionRecover && open.Component == forestall.Node(h.Node) && s.Alive(h.Node) {
		return m.entry(&Abort{open.ID, fmt.Sprintf("node %s is back before another could take it, and its run has not ended", h.Node)})
	}
	node, gpus, err := m.choose(s, env, nil)
	if err != nil {
		return m.withoutTarget(open, env, err)
	}
	g := &Grant{Migration: open.ID, Node: node, GPUs: gpus}
	if saves(open.Action) && open.Phase == forestall.PhaseProposed {
		g.Unsaved = fmt.Sprintf("no final checkpoint: %s does not run on a node that answers", m.workload)
		if m.cause != nil {
			g.Unsaved = m.unsaved()
		}
	}
	return m.entry(g)
}

func (m *mover) unsaved() string {
	return "no final checkpoint: " + clip(m.cause.Error(), maxCause)
}

// withoutTarget waits for a node, with the reason in the ledger. A workload that
// may stand still for its move meanwhile is let go, soon if it surely does; one
// that was granted has recovery_timeout, see move; any other waits for as long
// as it takes.
func (m *mover) withoutTarget(open *forestall.Migration, env surroundings, err error) deed {
	saving := m.step.Kind == StepSave
	limit := time.Duration(1<<63 - 1)
	switch {
	case open.Phase == forestall.PhaseSaved || saving && m.tries > 0:
		limit = m.cfg.SaveTimeout
	case saving: // an earlier leader may have had it stand still
		limit = m.cfg.RecoveryTimeout
	case open.Phase == forestall.PhaseProposed:
		m.began = env.now
	}
	if env.now.Sub(m.began) >= limit {
		return m.entry(&Abort{open.ID, err.Error()})
	}
	note := waiting + err.Error()
	if note == open.Note || !m.said.IsZero() && env.now.Sub(m.said) < waitEvery {
		return deed{wait: m.cfg.BackoffMax}
	}
	m.said = env.now
	return deed{command: &Wait{open.ID, note}}
}

// patience is how long to wait before the next attempt. A stop waits no longer
// than until the lease has run out, since then it need not be asked for.
func (m *mover) patience(env surroundings) time.Duration {
	wait := m.notBefore.Sub(env.now)
	if m.step.Kind == StepStop {
		if expired, remaining := env.leases.Expired(m.workload, m.step.Node, m.step.Epoch); expired || remaining < wait {
			return remaining
		}
	}
	return wait
}

// waitEvery is how often at most the reason of waiting is written down anew:
// risks and breakers, which it may speak of, change all the time.
const waitEvery = 30 * time.Second

// stop asks the node of an earlier run to end it, unless its lease has run out
// meanwhile: then it has ended without being asked.
func (m *mover) stop(w *WorkloadState, env surroundings) deed {
	expired, remaining := env.leases.Expired(m.workload, m.step.Node, m.step.Epoch)
	if expired {
		return m.entry(&Stopped{Workload: m.workload, Node: m.step.Node, Epoch: m.step.Epoch, How: HowLeaseExpired})
	}
	return m.ask(min(remaining, m.cfg.StopTimeout+w.Spec.Stop), StartOrder{})
}

// fence asks a write quorum to refuse the earlier epochs. There is no way around it,
// so it waits for as long as it takes, with the reason in the ledger.
func (m *mover) fence(open *forestall.Migration, env surroundings) deed {
	if m.tries >= m.cfg.StepAttempts && (m.said.IsZero() || env.now.Sub(m.said) >= waitEvery) {
		why := clip(m.cause.Error(), maxCause)
		if errors.Is(m.cause, forestall.ErrStaleEpoch) {
			why += ". The store is of a ledger before this one: give this cluster another fault_tolerance.checkpoint_storage, and fetch what is needed from the old one with `forestall restore`"
		}
		if note := waiting + why; note != open.Note {
			m.said = env.now
			return deed{command: &Wait{open.ID, note}}
		}
	}
	return m.ask(m.cfg.FenceTimeout, StartOrder{})
}

func (m *mover) start(s *State, w *WorkloadState, env surroundings) deed {
	if m.usedUp || m.tries >= m.cfg.StepAttempts {
		return m.move(s, w, env, m.cause)
	}
	open := s.Open[m.step.Migration]
	if m.shut != nil {
		return m.outside(s, w, env, open)
	}
	o := StartOrder{Workload: w.Spec, Epoch: open.Epoch, GPUs: open.GPUs, Checkpoint: open.Checkpoint}
	if w.Head != nil {
		o.Replicas = w.Head.Replicas
	}
	return m.ask(m.cfg.StartTimeout, o)
}

// outside takes a workload that its target's breaker did not let in to another node,
// or waits until it is let in: nothing of it has failed that a further attempt would
// be spent on.
func (m *mover) outside(s *State, w *WorkloadState, env surroundings, open *forestall.Migration) deed {
	why := m.shut
	m.shut = nil // it is asked again after the wait
	if env.now.Sub(m.began) >= m.cfg.RecoveryTimeout {
		return m.move(s, w, env, why)
	}
	node, gpus, err := m.choose(s, env, map[string]string{open.To: why.Error()})
	if err == nil && open.Attempt < m.cfg.MaxAttempts {
		return m.entry(&Retry{Migration: open.ID, Attempt: open.Attempt + 1, Node: node, GPUs: gpus, Note: m.tried(open, why)})
	}
	if err == nil {
		err = fmt.Errorf("%w; it has had its %s", why, attempts(open.Attempt))
	}
	return m.withoutTarget(open, env, fmt.Errorf("%s; %w", m.tried(open, why), err))
}

// tried says why the present attempt came to nothing, by the newest cause that tells.
func (m *mover) tried(open *forestall.Migration, cause error) string {
	if known := earlierCause(open); known != "" && !telling(cause) {
		return known
	}
	return notStarted(open.To, cause)
}

// move takes the workload to a further target, or gives it up.
func (m *mover) move(s *State, w *WorkloadState, env surroundings, cause error) deed {
	open := s.Open[m.step.Migration]
	tried := m.tried(open, cause)
	if limit := m.limit(open, env.now); limit != "" {
		return m.entry(&GiveUp{open.ID, m.givenUp(w, open, cause, tried, limit)})
	}
	node, gpus, err := m.choose(s, env, map[string]string{open.To: "has just failed to start it"})
	if err != nil { // the same node, in a new epoch, is better than none
		node, gpus, err = m.choose(s, env, nil)
	}
	if err != nil {
		return m.withoutTarget(open, env, fmt.Errorf("%s; %w", tried, err))
	}
	return m.entry(&Retry{Migration: open.ID, Attempt: open.Attempt + 1, Node: node, GPUs: gpus, Note: tried})
}

// limit says which bound on further attempts is reached, or "".
func (m *mover) limit(open *forestall.Migration, now time.Time) string {
	switch {
	case open.Attempt >= m.cfg.MaxAttempts:
		return attempts(open.Attempt)
	case now.Sub(m.began) >= m.cfg.RecoveryTimeout:
		return fmt.Sprintf("recovery_timeout %s has passed", span(m.cfg.RecoveryTimeout))
	}
	return ""
}

// givenUp says why no further attempt is made. A fault of the workload comes
// with its remedy.
func (m *mover) givenUp(w *WorkloadState, open *forestall.Migration, cause error, tried, limit string) string {
	if !errors.Is(cause, ErrWorkload) {
		return limit + "; " + tried
	}
	var next time.Duration
	if m.cfg.RetryAfter != nil {
		next = m.cfg.RetryAfter(w.Tries + 1) // the giving up is one
	}
	return ownFault(open.To, cause, limit, next)
}

// lost says why the target of a granted migration is none any more.
func (m *mover) lost(s *State, w *WorkloadState) error {
	if _, held := w.Holder(); held {
		return fmt.Errorf("node %s is %s", w.Node, stateWord(s.Nodes[w.Node].State))
	}
	const ended = "the run ended before it was confirmed"
	if i, open := s.Incident(w.Spec.Component()); open && i.Epoch == w.Epoch && len(i.Evidence) > 0 {
		return fmt.Errorf("%s: %s", ended, i.Evidence[0])
	}
	return errors.New(ended)
}

func (m *mover) choose(s *State, env surroundings, exclude map[string]string) (string, []int, error) {
	open := s.Open[m.step.Migration]
	p := Placement{Workload: m.workload, KeepGPUsNear: m.cfg.KeepGPUsNear, Exclude: map[string]string{}, Conditions: env.conditions}
	p.Strategy = m.cfg.RecoveryStrategy
	if open.Action == forestall.ActionRecover {
		p.Avoid = open.From // unless the decision prefers it
	}
	if saves(open.Action) || open.Component.Kind == forestall.KindGPU {
		p.Flee = open.Component // a recovery may go back to a node that is back
	}
	if saves(open.Action) {
		p.Strategy = m.cfg.MigrationStrategy
		if !withinNode(open.Decision) {
			p.Exclude[open.From] = "is where it comes from"
		}
	}
	if open.Attempt == 0 {
		p.Prefer = open.To
	}
	for name := range s.Nodes {
		if why := env.tripped(name); why != "" {
			p.Exclude[name] = why
		}
	}
	for name, why := range exclude {
		p.Exclude[name] = why
	}
	return env.claims.choose(s, p)
}

// places reports whether the deed gives the workload to a node.
func (d deed) places() bool {
	switch d.command.(type) {
	case *Grant, *Retry:
		return true
	}
	return false
}

// called takes in how a call went. value is the forestall.Checkpoint of a
// save or the acks, []string, of a fence.
func (m *mover) called(c *call, value any, err error, now time.Time) {
	if c.step != m.step {
		return
	}
	if errors.Is(err, circuitbreaker.ErrOpen) {
		m.shut = err
		return
	}
	if err != nil {
		m.usedUp = c.step.Kind == StepStart && usesUp(err)
		m.failed(err, now)
		return
	}
	m.cause = nil
	switch c.step.Kind {
	case StepThaw:
		m.result = &Resumed{m.workload, c.step.Migration}
	case StepSave:
		m.result = &Saved{c.step.Migration, value.(forestall.Checkpoint)}
	case StepFence:
		m.result = &Fenced{c.step.Migration, c.step.Epoch, value.([]string)}
	case StepStop:
		m.result = &Stopped{Workload: m.workload, Node: c.step.Node, Epoch: c.step.Epoch, How: HowConfirmed}
	case StepStart:
		m.result = &Done{c.step.Migration, c.step.Epoch}
	}
}

// proposed takes in how a proposal went: err is of consensus or of the ledger.
// A refusal means that the state has moved on, or soon will: the next look at
// it decides.
func (m *mover) proposed(c Command, err error, now time.Time) {
	if err == nil {
		return
	}
	if _, waits := c.(*Wait); waits {
		m.said, m.notBefore = time.Time{}, now.Add(m.cfg.BackoffMax)
		return
	}
	if refused(err) {
		m.result = nil
	}
	m.failed(notTaken{fmt.Errorf("propose %s: %w", c.kind(), err)}, now)
}

// failed keeps the cause that is known when an error has nothing to add to it.
func (m *mover) failed(err error, now time.Time) {
	m.tries++
	if m.cause == nil || telling(err) {
		m.cause = err
	}
	m.notBefore = now.Add(m.cfg.backoff(m.tries))
}
