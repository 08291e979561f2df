package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/stratoswarm/forestall"
)

// Staged is a snapshot whose bytes no longer depend on the workload: what
// changed since its last checkpoint is copied aside, as shared blocks where the
// file system can.
type Staged struct {
	d    *Dir
	s    Snapshot
	plan *plan
	dir  string
	once sync.Once
}

// Stage takes the frozen copy from which [Staged.Save] makes the checkpoint, so
// that the workload may go on in between. The caller ends it with Save or
// Discard. Errors are those of [Dir.Save].
func (d *Dir) Stage(ctx context.Context, s Snapshot) (*Staged, error) {
	p, err := d.plan(ctx, s)
	if err != nil {
		return nil, s.wrap(err)
	}
	st := &Staged{d: d, s: s, plan: p, dir: filepath.Join(d.path, stageDir, strconv.FormatUint(d.temps.Add(1), 10))}
	if err := st.copyAside(ctx); err != nil {
		st.Discard()
		return nil, s.wrap(d.diskFull(err))
	}
	return st, nil
}

// Save makes the checkpoint, records how long the workload stood still for it,
// and removes the copy, also when it fails. Errors are those of [Dir.Save].
func (s *Staged) Save(ctx context.Context, pause time.Duration) (forestall.Checkpoint, error) {
	defer s.Discard()
	s.plan.m.pause = max(0, pause)
	cp, err := s.d.execute(ctx, s.plan)
	return cp, s.s.wrap(err)
}

// Discard removes the copy. It may be called after Save and more than once.
func (s *Staged) Discard() {
	s.once.Do(func() {
		s.plan.end()
		if err := os.RemoveAll(s.dir); err != nil {
			s.d.opt.Logger.Warn("remove stage", "error", err)
		}
	})
}

func (s *Staged) copyAside(ctx context.Context) error {
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	return parallel(ctx, s.d.opt.Workers, len(s.plan.todo), func(ctx context.Context, i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &s.plan.todo[i]
		aside := filepath.Join(s.dir, strconv.Itoa(i))
		if err := c.copyTo(aside); err != nil {
			return err
		}
		c.path, c.info = aside, nil
		return nil
	})
}

func (c *content) copyTo(aside string) error {
	src, err := os.OpenFile(c.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	defer src.Close()
	dst, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if reflink(dst, src) != nil {
		_, err = io.CopyN(dst, src, c.info.Size())
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %s became shorter", ErrChanged, c.path)
		}
	}
	if err := errors.Join(err, dst.Close()); err != nil {
		return err
	}
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	if !c.unchanged(fi) {
		return fmt.Errorf("%w: %s was written to; freeze the workload or let its hook write aside and rename", ErrChanged, c.path)
	}
	return nil
}
