package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall/checkpoint"
)

// tool is something that saves directories, in one way of being used.
type tool struct {
	name   string
	repo   string // its repository
	ours   bool
	isBest bool // a setting chosen for these bars
	// begin makes an empty repository; end, which may be nil, closes it.
	begin, end func() error
	save       func() error
	// restore fills a directory with the newest save, and says where in it the
	// files are.
	restore func(into string) (at string, err error)
}

// startClock starts a clock when the disk has nothing left to write of what was
// measured before.
func startClock() time.Time {
	unix.Sync()
	return time.Now()
}

// measureSave saves and returns the time and what the repository grew by.
func (t *tool) measureSave() (result, error) {
	before := treeSize(t.repo)
	began := startClock()
	if err := t.save(); err != nil {
		return result{}, fmt.Errorf("%s: %w", t.name, err)
	}
	return result{t.name, time.Since(began), treeSize(t.repo) - before, t.isBest}, nil
}

// library is checkpoint.Dir, open in this process.
func (b *bench) library(sealed bool) *tool {
	t := &tool{name: name("library", sealed), ours: true, repo: filepath.Join(b.work, name("library", sealed))}
	var d *checkpoint.Dir
	last := ""
	t.begin = func() (err error) {
		d, err = b.open(filepath.Base(t.repo), sealed)
		return err
	}
	t.end = func() error { return d.Close() }
	t.save = func() error {
		cp, err := d.Save(b.ctx, checkpoint.Snapshot{Workload: "bench", Source: b.source})
		last = cp.ID
		return err
	}
	t.restore = func(into string) (string, error) {
		return filepath.Join(into, "state"), d.Restore(b.ctx, last, filepath.Join(into, "state"))
	}
	return t
}

// command is the command line without an engine, from the start of its process
// to its end.
func (b *bench) command(sealed bool) *tool {
	t := &tool{name: name("command", sealed), ours: true, repo: filepath.Join(b.work, name("command", sealed))}
	run := func(args ...string) error {
		args = append(args, "--store", t.repo)
		if sealed {
			args = append(args, "--keyring", b.keys.keyring, "--identity", b.keys.identity)
		}
		return b.exec("", nil, append([]string{b.binary}, args...)...)
	}
	t.begin = func() error { return nil } // the first save makes the store, as an operator's does
	t.save = func() error { return run("checkpoints", "create", "bench", "--source", b.source) }
	t.restore = func(into string) (string, error) {
		return filepath.Join(into, "state"), run("restore", "--workload", "bench", "--to", filepath.Join(into, "state"))
	}
	return t
}

// exec runs a command line in dir.
func (b *bench) exec(dir string, env []string, args ...string) error {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %.500s", strings.Join(args, " "), err, out)
	}
	return nil
}

func treeSize(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, de fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what vanishes meanwhile has no size
		}
		if fi, err := de.Info(); err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
		return nil
	})
	return n
}
