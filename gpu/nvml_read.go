package gpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
)

// await reads a device and waits until ctx ends at most. A call that is under
// way then goes on to its own deadline, so that who hangs is found out.
func (n *NVML) await(ctx context.Context, d *nvmlDevice) ([]float64, error) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, errNVMLClosed
	}
	n.calls.Add(1) // under mu: not after Close waits
	n.mu.Unlock()
	type result struct {
		values []float64
		err    error
	}
	done := make(chan result, 1)
	go func() {
		defer n.calls.Done()
		l := n.take(ctx, d)
		if l == nil {
			done <- result{err: ctx.Err()}
			return
		}
		values, err := n.read(l, d)
		<-l.turn
		done <- result{values, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil && errors.Is(r.err, ctx.Err()) {
			return nil, fmt.Errorf("read %s: %w", d.component, r.err)
		}
		return r.values, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("read %s: %w", d.component, ctx.Err())
	}
}

// take waits for its turn on the device's lane and returns the lane, nil when
// ctx ended first.
func (n *NVML) take(ctx context.Context, d *nvmlDevice) *lane {
	for ctx.Err() == nil {
		l := n.laneOf(d)
		select {
		case l.turn <- struct{}{}:
			if l == n.laneOf(d) {
				return l
			}
			<-l.turn // it has moved meanwhile
		case <-ctx.Done():
		}
	}
	return nil
}

func (n *NVML) laneOf(d *nvmlDevice) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own != nil {
		return d.own
	}
	return n.shared
}

// read asks for the device's values. The caller has the lane's turn.
func (n *NVML) read(l *lane, d *nvmlDevice) ([]float64, error) {
	d.mu.Lock()
	uuid := d.info.UUID
	d.mu.Unlock()
	if uuid == "" {
		if err := n.describe(l, d); err != nil {
			return nil, err
		}
		uuid = d.info.UUID // only who has the turn writes it
	}
	r, err := n.ask(l, request{Op: opRead, UUID: uuid})
	if err = n.judge(l, d, err); err != nil {
		return nil, err
	}
	return r.Values, nil
}

// describe asks what the device at its index is. The caller has the lane's turn.
func (n *NVML) describe(l *lane, d *nvmlDevice) error {
	r, err := n.ask(l, request{Op: opDescribe, Index: d.index})
	if err = n.judge(l, d, err); err != nil {
		return err
	}
	for _, other := range n.devices {
		if other == d {
			continue
		}
		other.mu.Lock()
		taken := other.info.UUID == r.Device.UUID
		other.mu.Unlock()
		if taken { // the driver lists fewer GPUs than it did
			return fmt.Errorf("read %s: %w: the driver now has %s at its place", d.component, ErrGone, other.component)
		}
	}
	d.mu.Lock()
	d.info = *r.Device
	d.mu.Unlock()
	return nil
}

// judge turns what an exchange came to into what is known of the device, and
// gives a device that cost a child a lane of its own. The caller has the turn
// of lane l.
func (n *NVML) judge(l *lane, d *nvmlDevice, err error) error {
	now := n.cfg.Now()
	var cost *lost
	var said *boardError
	switch {
	case err == nil || errors.As(err, &said):
		n.answered(l, d)
		if err != nil {
			return fmt.Errorf("read %s: %w", d.component, err)
		}
		return nil
	case errors.As(err, &cost):
		return n.suspect(d, cost, now)
	}
	// There was no child to ask.
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.silent.IsZero() && !errors.Is(err, ErrUnavailable) {
		return &SilentError{Component: d.component, Since: d.silent}
	}
	if errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("read %s: %w", d.component, err)
	}
	return fmt.Errorf("read %s: %w: %w", d.component, ErrUnavailable, err)
}

// suspect notes that asking d cost a child.
func (n *NVML) suspect(d *nvmlDevice, cost *lost, now time.Time) error {
	if errors.Is(cost.err, errNVMLClosed) {
		return errNVMLClosed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own == nil {
		d.own = newLane()
		n.cfg.Logger.Warn("a GPU cost the process that reads all of them; it is read by one of its own until it answers again",
			"component", d.component, "error", cost.err)
	}
	d.good = 0
	if !cost.silent {
		return fmt.Errorf("read %s: %w: the process that asked was lost: %w", d.component, ErrUnavailable, cost.err)
	}
	if d.silent.IsZero() {
		d.silent = now
		n.event(forestall.Event{
			Component: d.component, Kind: forestall.EventTelemetryCollapse, Time: now,
			Detail: fmt.Sprintf("NVML gave no answer within %s; the process that asked was killed", n.cfg.Deadline),
		})
	}
	return &SilentError{Component: d.component, Since: d.silent, Waited: n.cfg.Deadline}
}

// answered notes that d gave an answer, and returns it to the others' lane once
// it is trusted.
func (n *NVML) answered(l *lane, d *nvmlDevice) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own == nil {
		return
	}
	if !d.silent.IsZero() {
		n.cfg.Logger.Info("a silent GPU answers again", "component", d.component, "silent_for", n.cfg.Now().Sub(d.silent).Round(time.Millisecond))
		d.silent = time.Time{}
	}
	if d.good++; d.good < answersToTrust {
		return
	}
	d.own, d.good = nil, 0
	if p := l.process(); p != nil {
		n.drop(l, p)
	}
}
