package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/stratoswarm/forestall/internal/durable"
)

// RestoreState makes target/state what the checkpoint holds under that name and
// leaves the rest of target alone. Like [Dir.Restore] it builds beside the
// target, verifies every byte, and replaces the state in one step. Errors wrap
// [ErrNotFound], also when the checkpoint has no such state, and [ErrCorrupt],
// and leave the state as it was.
func (d *Dir) RestoreState(ctx context.Context, id, state, target string) error {
	m, unpin, err := d.pinManifest(id)
	if err != nil {
		return fmt.Errorf("restore state %q to %s: %w", state, target, err)
	}
	defer unpin()
	if err := d.restoreState(ctx, m, state, target); err != nil {
		return fmt.Errorf("restore state %q of checkpoint %.12s of %s to %s: %w", state, id, m.workload, target, err)
	}
	return nil
}

func (d *Dir) restoreState(ctx context.Context, m *manifest, state, target string) (err error) {
	part, err := m.part(state)
	if err != nil {
		return err
	}
	if err := d.apart(target); err != nil {
		return err
	}
	if err := mayReplace(target, state, part.entries[0].kind); err != nil {
		return err
	}
	if part.entries[0].kind == kindDir {
		return d.restore(ctx, part, filepath.Join(target, state))
	}
	undo, err := durable.MakeDirs(d.aim, target, 0o755)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	unlock, err := d.restoring.lock(ctx, filepath.Join(target, state))
	if err != nil {
		return err
	}
	defer unlock()
	build, err := newSite(target, state, target)
	if err != nil {
		return err
	}
	defer func() {
		if rerr := build.remove(); rerr != nil {
			d.opt.Logger.Warn("remove what a restore left", "path", build.dir, "error", rerr)
		}
	}()
	// The file is built in a directory of its own, then renamed over the old one.
	part.entries[0].keepOwn(filepath.Join(target, state))
	root := entry{path: ".", kind: kindDir, mode: 0o700, mtime: part.entries[0].mtime}
	alone := &manifest{header: part.header, entries: []entry{root, part.entries[0]}}
	if err := d.build(ctx, alone, build.dir); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("%w: the state needs %d bytes in %s: %w", ErrDiskFull, part.size, target, err)
		}
		return err
	}
	if err := os.Rename(filepath.Join(build.dir, state), filepath.Join(target, state)); err != nil {
		return err
	}
	return d.aim.SyncDir(target)
}

// part returns the tree under one name at the top: of a directory with it as
// the root, of anything else just that.
func (m *manifest) part(state string) (*manifest, error) {
	part := &manifest{header: m.header}
	part.size = 0
	for _, e := range m.entries[1:] {
		switch below, ok := strings.CutPrefix(e.path, state+"/"); {
		case e.path == state && e.kind == kindDir:
			e.path = "."
		case ok:
			e.path = below
		case e.path != state:
			continue
		}
		part.entries = append(part.entries, e)
		part.size += e.size
	}
	if len(part.entries) == 0 || strings.Contains(state, "/") {
		return nil, fmt.Errorf("%w: no state %.200q; it has %s", ErrNotFound, state, m.names())
	}
	return part, nil
}

// names lists the states, the first few of them.
func (m *manifest) names() string {
	var names []string
	for _, e := range m.entries[1:] {
		if strings.Contains(e.path, "/") {
			continue
		}
		if len(names) == 10 {
			names = append(names, "...")
			break
		}
		names = append(names, e.path)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
