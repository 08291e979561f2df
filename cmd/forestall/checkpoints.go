package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
)

type checkpointsCmd struct {
	List   checkpointsListCmd   `cmd:"" default:"withargs" help:"List checkpoints (the default command)."`
	Show   checkpointsShowCmd   `cmd:"" help:"Show a checkpoint and the states in it."`
	Diff   checkpointsDiffCmd   `cmd:"" help:"Compare two checkpoints: which files differ, and how many bytes are new."`
	Create checkpointsCreateCmd `cmd:"" help:"Take a checkpoint of a workload now, or of a directory into a store."`
	Verify checkpointsVerifyCmd `cmd:"" help:"Read every byte of checkpoints and compare the hashes."`
	Pin    checkpointsPinCmd    `cmd:"" help:"Keep a checkpoint from retention."`
	Unpin  checkpointsUnpinCmd  `cmd:"" help:"Let retention have a checkpoint again."`
	Delete checkpointsDeleteCmd `cmd:"" help:"Drop checkpoints."`

	History checkpointsHistoryCmd `cmd:"" help:"List what operators had dropped, pinned and unpinned."`

	GC     checkpointsGCCmd     `cmd:"" name:"gc" help:"Remove what no checkpoint needs any more."`
	Stats  checkpointsStatsCmd  `cmd:"" help:"Show what a store holds."`
	Export checkpointsExportCmd `cmd:"" help:"Copy a checkpoint into a file or another store."`
	Import checkpointsImportCmd `cmd:"" help:"Take a checkpoint from a file."`

	Foreign foreignCmd `cmd:"" help:"Keep track of checkpoints that others write, such as PyTorch's."`
}

// Help adds to the command's help.
func (checkpointsCmd) Help() string {
	return "The exit status is 1 for an error, also when a checkpoint is not whole, and 3 when a command did what it was asked and met damage to a store, of which it tells on standard error. IDs may be cut to their first digits, at least 4."
}

// whichFlags choose checkpoints.
type whichFlags struct {
	Workload string    `short:"w" placeholder:"NAME" help:"Only those of this workload."`
	Label    string    `placeholder:"PATTERN" help:"Only those with such a label: before*."`
	Epoch    uint64    `placeholder:"N" help:"Only those that this epoch wrote."`
	Since    momentArg `placeholder:"TIME" help:"Only states of then or later: 2026-11-26T09:00:00Z, \"2026-11-26 09:00\" (local), or an age such as 2h."`
	Until    momentArg `placeholder:"TIME" help:"Only states of then or before."`
}

// pick leaves what the flags want, in its order.
func (f whichFlags) pick(now time.Time, all []forestall.Checkpoint) ([]forestall.Checkpoint, error) {
	since, err := f.Since.time(now, "--since")
	if err != nil {
		return nil, err
	}
	until, err := f.Until.time(now, "--until")
	if err != nil {
		return nil, err
	}
	if _, err := path.Match(f.Label, ""); err != nil {
		return nil, fmt.Errorf("--label %q: %w", f.Label, err)
	}
	out := []forestall.Checkpoint{}
	for _, cp := range all {
		match := f.Label == ""
		if !match {
			match, _ = path.Match(f.Label, cp.Label)
		}
		if match && (f.Workload == "" || cp.Workload == f.Workload) && (f.Epoch == 0 || cp.Epoch == forestall.Epoch(f.Epoch)) &&
			(since.IsZero() || !cp.Time.Before(since)) && (until.IsZero() || !cp.Time.After(until)) {
			out = append(out, cp)
		}
	}
	return out, nil
}

// momentArg is a moment as people write it; "" is none.
type momentArg string

func (m momentArg) time(now time.Time, flag string) (time.Time, error) {
	s := string(m)
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf(`%s %q: write 2026-11-26T09:00:00Z, "2026-11-26 09:00" or an age such as 2h`, flag, s)
}

type checkpointsListCmd struct {
	clientFlags
	storeFlag
	whichFlags
}

// Help adds to the command's help.
func (checkpointsListCmd) Help() string {
	return "Without --store an engine is asked: listed is what its own node holds, and of each workload the newest that counts, wherever it is held. For what another node holds, ask its engine. " +
		"A checkpoint whose manifest is lost or cannot be read is not listed but named on standard error, and the exit status is then 3."
}

func (c checkpointsListCmd) Run(g *globals) error {
	all, err := c.list(g)
	if err == nil {
		all, err = c.pick(g.now(), all)
	}
	return show(g, c.clientFlags, all, err, func(v view, all []forestall.Checkpoint) {
		where := "none counts, and the engine's node holds none."
		if c.Store != "" {
			where = c.Store + " holds none."
		}
		if c.whichFlags != (whichFlags{}) {
			where = "none is like that."
		}
		v.checkpoints(all, "No checkpoints: "+where)
	})
}

func (c checkpointsListCmd) list(g *globals) ([]forestall.Checkpoint, error) {
	if c.Store == "" {
		all, err := c.client().Checkpoints(g.ctx, c.Workload)
		if err != nil {
			return nil, err
		}
		stats, err := c.client().StoreStats(g.ctx)
		for _, d := range stats.Damaged {
			g.damage.Add(1)
			fmt.Fprintf(g.err, "forestall: node %s: checkpoint left out: %s\n", textClean(stats.Node), textClean(d.Error))
		}
		return all, err
	}
	s, err := c.open(g, reading)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.dir != nil {
		g.damage.Add(int64(len(s.dir.Damaged())))
	}
	return s.List(g.ctx, c.Workload)
}

type checkpointsShowCmd struct {
	clientFlags
	storeFlag
	ID string `arg:"" help:"The ID, or its beginning, of at least 4 digits."`
}

// Help adds to the command's help.
func (checkpointsShowCmd) Help() string {
	return "Without --store an engine is asked, which asks the other nodes for what its own does not hold. The exit status is 1 when the checkpoint is damaged; what is known of it is shown."
}

func (c checkpointsShowCmd) Run(g *globals) error {
	d, err := c.detail(g)
	if err := show(g, c.clientFlags, d, err, view.checkpoint); err != nil {
		return err
	}
	if d.Damage != "" {
		return exitCode(1)
	}
	return nil
}

func (c checkpointsShowCmd) detail(g *globals) (d api.CheckpointDetail, err error) {
	if c.Store == "" {
		cp, err := c.resolve(g.ctx, c.ID)
		if err != nil {
			return d, err
		}
		return c.client().Checkpoint(g.ctx, cp.ID)
	}
	s, err := c.open(g, reading)
	if err != nil {
		return d, err
	}
	defer s.close()
	cp, err := s.resolve(g.ctx, c.ID)
	if err != nil {
		return d, err
	}
	return s.detail(g.ctx, cp)
}

// detail looks into a checkpoint of the store.
func (o *opened) detail(ctx context.Context, cp forestall.Checkpoint) (d api.CheckpointDetail, err error) {
	d = api.CheckpointDetail{Checkpoint: cp, States: []api.CheckpointState{}}
	states, left, err := o.inside(ctx, cp.ID)
	if err != nil && !errors.Is(err, checkpoint.ErrCorrupt) {
		return d, err
	}
	if err != nil {
		d.Damage = err.Error()
	}
	if left.Count > 0 {
		d.LeftOut = left
	}
	for _, s := range states {
		d.States = append(d.States, api.CheckpointState(s))
	}
	return d, nil
}

type checkpointsDiffCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	neededStore
	From string `arg:"" help:"ID of the earlier one, or its beginning."`
	To   string `arg:"" help:"ID of the later one, or its beginning."`
}

func (c checkpointsDiffCmd) Run(g *globals) error {
	d, err := c.diff(g)
	return show(g, clientFlags{JSON: c.JSON}, d, err, view.difference)
}

func (c checkpointsDiffCmd) diff(g *globals) (d checkpoint.Difference, err error) {
	s, err := c.open(g, reading)
	if err != nil {
		return d, err
	}
	defer s.close()
	ids := make([]string, 2)
	for i, arg := range []string{c.From, c.To} {
		cp, err := s.resolve(g.ctx, arg)
		if err != nil {
			return d, err
		}
		ids[i] = cp.ID
	}
	dir, done, err := s.local(g.ctx, ids...)
	if err != nil {
		return d, err
	}
	defer done()
	return dir.Diff(g.ctx, ids[0], ids[1])
}

type checkpointsVerifyCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	neededStore
	whichFlags
	IDs []string `arg:"" optional:"" name:"id" help:"IDs or their beginnings; without any, all that the flags choose."`
}

// Help adds to the command's help.
func (checkpointsVerifyCmd) Help() string {
	return "A directory may be verified while its engine runs; what is dropped meanwhile is said to be, and no fault. The exit status is 1 when a checkpoint is not whole."
}

// verdict is what became of one checkpoint.
type verdict struct {
	forestall.Checkpoint
	Error   string `json:"error,omitempty"`
	Dropped bool   `json:"dropped,omitempty"` // meanwhile, by another program
}

func (c checkpointsVerifyCmd) Run(g *globals) error {
	s, err := c.open(g, reading)
	if err != nil {
		return err
	}
	defer s.close()
	chosen, err := s.choose(g, c.whichFlags, c.IDs)
	if err != nil {
		return err
	}
	if s.dir != nil && len(c.IDs) == 0 {
		for _, id := range slices.Sorted(maps.Keys(s.dir.Damaged())) { // of whose they are nothing is known
			chosen = append(chosen, forestall.Checkpoint{ID: id})
		}
	}
	out := []verdict{}
	bad := 0
	for i, cp := range chosen {
		bar := newProgress(g, c.JSON, "verify", fmt.Sprintf("%s (%d of %d)", shortID(cp.ID), i+1, len(chosen)), cp.Size)
		s.onRead = bar.add
		v := c.judge(g, s, cp)
		bar.end()
		if g.ctx.Err() != nil {
			return context.Cause(g.ctx)
		}
		if v.Error != "" {
			bad++
		}
		out = append(out, v)
	}
	if err := show(g, clientFlags{JSON: c.JSON}, out, nil, view.verdicts); err != nil {
		return err
	}
	if bad > 0 {
		return exitCode(1)
	}
	return nil
}

func (c checkpointsVerifyCmd) judge(g *globals, s *opened, cp forestall.Checkpoint) verdict {
	v := verdict{Checkpoint: cp}
	err := s.verify(g.ctx, cp.ID)
	if err != nil && g.ctx.Err() == nil {
		v.Dropped, err = c.again(g, s, cp.ID, err)
	}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

// again looks whether a checkpoint that seemed not to be whole was dropped, or its
// chunks moved by a GC, since the store was opened: it verifies what the store has
// now. err is what there was to say.
func (c checkpointsVerifyCmd) again(g *globals, s *opened, id string, err error) (dropped bool, _ error) {
	now := s
	if s.dir != nil {
		quiet := *g
		quiet.err, quiet.damage = io.Discard, new(atomic.Int64) // it was told before
		var oerr error
		if now, oerr = c.open(&quiet, reading); oerr != nil {
			return false, err
		}
		defer now.close()
		if now.dir.Damaged()[id] != nil {
			return false, err
		}
	}
	all, lerr := now.List(g.ctx, "")
	if lerr != nil {
		return false, err
	}
	if !slices.ContainsFunc(all, func(cp forestall.Checkpoint) bool { return cp.ID == id }) {
		return true, nil
	}
	if s.dir == nil {
		return false, err
	}
	return false, now.verify(g.ctx, id)
}

type checkpointsStatsCmd struct {
	clientFlags
	storeFlag
}

func (c checkpointsStatsCmd) Run(g *globals) error {
	if c.Store == "" {
		s, err := c.client().StoreStats(g.ctx)
		return show(g, c.clientFlags, s, err, view.storeStats)
	}
	s, err := c.open(g, reading)
	if err != nil {
		return err
	}
	defer s.close()
	if s.dir == nil {
		return errors.New("of a store in S3, `forestall checkpoints gc --dry-run` tells the number and size of the objects")
	}
	stats, err := s.dir.Stats()
	return show(g, c.clientFlags, statsOf(stats, s.dir.Damaged()), err, view.storeStats)
}
