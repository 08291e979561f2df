package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
)

// Restore makes the named states, or all when none is named, what checkpoint id
// holds. Every byte is fetched and verified before the program is held and the
// first state is touched; a state whose own Restore then fails is left as its
// Restore leaves it, and those before it, in the order of their names, are
// restored: the error says which. A state that the checkpoint lacks is an error
// when it was named and is left alone otherwise. Errors wrap
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

// fetched is a state's content, verified.
type fetched struct {
	name string
	file *os.File
	size int64
}

func (m *Manager) restore(ctx context.Context, id string, names []string) error {
	states, err := m.store.States(id)
	if err != nil {
		return err
	}
	held := make(map[string]bool)
	for _, s := range states {
		held[s.Name] = true
	}
	for _, name := range names {
		if _, ok := m.states[name]; !ok {
			return fmt.Errorf("no state %q is registered", name)
		}
	}
	if len(names) == 0 {
		for _, name := range slices.Sorted(maps.Keys(m.states)) {
			if held[name] {
				names = append(names, name)
			}
		}
	}
	var all []fetched
	defer func() {
		for _, f := range all {
			f.file.Close()
		}
	}()
	for _, name := range slices.Sorted(slices.Values(names)) {
		f, err := anonymousFile()
		if err != nil {
			return err
		}
		all = append(all, fetched{name: name, file: f})
		if all[len(all)-1].size, err = m.store.ReadFile(ctx, id, name, f); err != nil {
			return err
		}
	}
	return m.apply(ctx, all)
}

// apply holds the program and restores the states.
func (m *Manager) apply(ctx context.Context, all []fetched) error {
	release, err := m.hold(ctx)
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	defer release()
	for i, f := range all {
		if err := m.states[f.name].restore(ctx, f.file, f.size); err != nil {
			return fmt.Errorf("state %q (%d of %d; those before it are restored): %w", f.name, i+1, len(all), err)
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
