package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/stratoswarm/forestall/checkpoint/delta"
)

// Restore makes the named states, or all when none is named, what checkpoint id
// holds. Every byte is fetched and verified, every value decoded and every size
// compared before the program is held and the first state is touched: until
// then an error leaves everything as it was. Afterwards only the Restore of a
// [State] of one's own can fail: such states come first, in the order of their
// names, and the error says which are restored. A file is overwritten in place,
// so that whoever has it mapped sees it. The memory of another process cannot be
// restored into: the error wraps [errors.ErrUnsupported] and nothing is touched;
// name the other states, and write that one to a file with
// [checkpoint.Dir.RestoreState]. A state that the checkpoint
// lacks is an error when it was named and is left alone otherwise. What is read
// passes, in clear text also from an encrypted store, through a file without a
// name in [os.TempDir]. Errors wrap
// [checkpoint.ErrNotFound] and [checkpoint.ErrCorrupt].
func (m *Manager) Restore(ctx context.Context, id string, names ...string) error {
	if err := m.take(ctx); err != nil {
		return fmt.Errorf("restore %s: %w", m.cfg.Workload, err)
	}
	defer m.pass()
	if err := m.restore(ctx, id, names); err != nil {
		return fmt.Errorf("restore %s from checkpoint %.12s: %w", m.cfg.Workload, id, err)
	}
	return nil
}

// ready is a state that can be restored.
type ready struct {
	name  string
	apply func() error
	own   bool // a State of the program's own, whose Restore may fail
}

func (m *Manager) restore(ctx context.Context, id string, names []string) error {
	names, err := m.restorable(id, names)
	if err != nil {
		return err
	}
	var all []ready
	for _, name := range names {
		f, err := anonymousFile()
		if err != nil {
			return err
		}
		defer f.Close()
		size, err := m.store.ReadFile(ctx, id, name, f)
		if err != nil {
			return err
		}
		apply, err := m.states[name].prepare(ctx, f, size)
		if errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("state %q: %w; name the other states to restore those, and write this one to a file with RestoreState of the store", name, err)
		}
		if err != nil {
			return fmt.Errorf("state %q: %w", name, err)
		}
		w, own := m.states[name].(written)
		if own {
			_, value := w.State.(*delta.Value)
			own = !value
		}
		all = append(all, ready{name, apply, own})
	}
	slices.SortStableFunc(all, func(a, b ready) int {
		switch {
		case a.own == b.own:
			return 0
		case a.own:
			return -1
		}
		return 1
	})
	return m.apply(ctx, all)
}

// restorable returns the names of the states to restore, sorted.
func (m *Manager) restorable(id string, names []string) ([]string, error) {
	states, err := m.store.States(id)
	if err != nil {
		return nil, err
	}
	held := make(map[string]bool)
	for _, s := range states {
		held[s.Name] = true
	}
	if len(names) == 0 {
		for name := range m.states {
			if held[name] {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		if _, ok := m.states[name]; !ok {
			return nil, fmt.Errorf("no state %q is registered", name)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(names))), nil
}

// apply holds the program and restores the states.
func (m *Manager) apply(ctx context.Context, all []ready) error {
	release, err := m.hold(ctx)
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	defer release()
	for i, r := range all {
		if err := r.apply(); err != nil {
			return fmt.Errorf("state %q, number %d of %d (those before it are restored, those behind it are not): %w", r.name, i+1, len(all), err)
		}
	}
	return nil
}

// anonymousFile returns a file that is gone when it is closed.
func anonymousFile() (*os.File, error) {
	f, err := os.CreateTemp("", "forestall-restore-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
