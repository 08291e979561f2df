package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
)

type checkpointsCreateCmd struct {
	clientFlags
	storeFlag
	waitFlag
	Workload string `arg:"" help:"The workload's name, without its kind: train-7."`
	Label    string `placeholder:"TEXT" help:"Free text, shown in lists."`
	Verify   bool   `help:"Have what the checkpoint shares with earlier ones read and verified; what is damaged is written anew. It takes as long as reading that."`
	Source   string `type:"existingdir" placeholder:"DIR" help:"With --store: the directory to save; nothing may write to it meanwhile."`
}

// Help adds to the command's help.
func (checkpointsCreateCmd) Help() string {
	return "Without --store the workload's engine has it write its state down, and the command returns once the checkpoint counts. Sockets, FIFOs and devices are left out: they are named, counted with --json (left_out), and change nothing about the exit status."
}

func (c checkpointsCreateCmd) Run(g *globals) error {
	cp, err := c.create(g)
	return show(g, c.clientFlags, []forestall.Checkpoint{cp}, err, view.created)
}

func (c checkpointsCreateCmd) create(g *globals) (cp forestall.Checkpoint, err error) {
	if c.Store == "" {
		if c.Source != "" {
			return cp, errors.New("--source needs --store: an engine knows its workloads' state directories")
		}
		defer waitFor(g, c.JSON, "create", c.Workload, c.working(c.Workload, checkpoint.StepRead))()
		return c.client().CreateCheckpoint(g.ctx, c.Workload, api.CheckpointRequest{Label: c.Label, Verify: c.Verify})
	}
	if c.Source == "" {
		return cp, errors.New("--store needs --source DIR: what is to be saved")
	}
	if isBucket(c.Store) {
		return cp, errors.New("a bucket takes checkpoints from a directory store: create it in one, then `forestall checkpoints export --to s3://...`")
	}
	s, err := c.openWhenFree(g, c.storeFlag, writing)
	if err != nil {
		return cp, err
	}
	defer s.close()
	bar := newProgress(g, c.JSON, "create", c.Workload, 0)
	defer bar.end()
	s.onProgress = bar.step
	epoch, err := s.dir.Fenced(c.Workload)
	if err != nil {
		return cp, err
	}
	if newest, err := s.List(g.ctx, c.Workload); err == nil && len(newest) > 0 {
		epoch = max(epoch, newest[0].Epoch)
	}
	return s.dir.Save(g.ctx, checkpoint.Snapshot{Workload: c.Workload, Epoch: epoch, Label: c.Label, Source: c.Source, Verify: c.Verify})
}

type checkpointsDeleteCmd struct {
	clientFlags
	storeFlag
	waitFlag
	DryRun bool     `name:"dry-run" short:"n" help:"Only list what would be dropped."`
	IDs    []string `arg:"" name:"id" help:"IDs or their beginnings."`
}

// Help adds to the command's help.
func (checkpointsDeleteCmd) Help() string {
	return "Without --store the engine drops them on all live nodes and in the off-site store. The newest that counts of a workload is refused. Their space is free after the next GC."
}

// dropped is what became of one checkpoint.
type dropped struct {
	forestall.Checkpoint
	api.Deleted
}

func (c checkpointsDeleteCmd) Run(g *globals) error {
	var s *opened
	resolve := c.resolve
	if c.Store != "" {
		var err error
		if s, err = c.openWhenFree(g, c.storeFlag, changes(!c.DryRun)); err != nil {
			return err
		}
		defer s.close()
		resolve = s.resolve
	}
	var chosen []forestall.Checkpoint
	for _, id := range c.IDs {
		cp, err := resolve(g.ctx, id)
		if err != nil {
			return err
		}
		chosen = append(chosen, cp)
	}
	out := []dropped{}
	failed := false
	for _, cp := range chosen {
		d := dropped{Checkpoint: cp, Deleted: api.Deleted{From: []string{}, Failed: []string{}}}
		switch {
		case c.DryRun && s == nil:
			if err := c.client().MayDeleteCheckpoint(g.ctx, cp.ID); err != nil {
				return err
			}
		case c.DryRun && cp.Pinned:
			return pinnedIn(s, cp.ID, fmt.Errorf("delete checkpoint %s: %w", shortID(cp.ID), checkpoint.ErrPinned))
		case c.DryRun:
		case s == nil:
			var err error
			if d.Deleted, err = c.client().DeleteCheckpoint(g.ctx, cp.ID); err != nil {
				return err
			}
		default:
			err := s.Delete(g.ctx, cp.ID, checkpoint.Claim{})
			if errors.Is(err, checkpoint.ErrPinned) {
				return pinnedIn(s, cp.ID, err)
			}
			if err != nil {
				return err
			}
			d.From = []string{s.name}
		}
		failed = failed || len(d.Failed) > 0
		out = append(out, d)
	}
	if err := show(g, c.clientFlags, out, nil, func(v view, all []dropped) { v.droppedOnes(all, c.DryRun) }); err != nil {
		return err
	}
	if failed {
		return exitCode(1)
	}
	return nil
}

func pinnedIn(s *opened, id string, err error) error {
	return fmt.Errorf("%w; `forestall checkpoints unpin %s --store %s` lets it go", err, shortID(id), shellWord(s.name))
}

// shellWord quotes what a shell would take apart.
func shellWord(s string) string {
	if strings.ContainsAny(s, " \t\n\"'$&*?;<>|()[]{}~#`\\!") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

type checkpointsGCCmd struct {
	clientFlags
	storeFlag
	waitFlag
	DryRun bool `name:"dry-run" short:"n" help:"With --store: only count what is garbage; of a directory also while its engine runs."`
}

// Help adds to the command's help.
func (checkpointsGCCmd) Help() string {
	return "Engines do this by themselves. In S3 garbage is marked first, and removed by a GC a day later if it is garbage still."
}

// garbage is what a GC of a directory would find.
type garbage struct {
	Bytes int64 `json:"garbage_bytes"`
}

func (c checkpointsGCCmd) Run(g *globals) error {
	if c.Store == "" {
		if c.DryRun {
			return errors.New("--dry-run needs --store: a directory, also while its engine runs, or a bucket")
		}
		waited := waitFor(g, c.JSON, "gc", "", c.working("", checkpoint.StepMark, checkpoint.StepRepack))
		done, err := c.client().CollectGarbage(g.ctx)
		waited()
		return show(g, c.clientFlags, done, err, view.collected)
	}
	s, err := c.openWhenFree(g, c.storeFlag, changes(!c.DryRun))
	if err != nil {
		return err
	}
	defer s.close()
	if s.s3 != nil {
		collect := s.s3.GC
		if c.DryRun {
			collect = s.s3.Garbage
		}
		done, err := collect(g.ctx)
		return show(g, c.clientFlags, done, err, view.collectedS3)
	}
	bar := newProgress(g, c.JSON, "gc", "", 0)
	s.onProgress = bar.step
	if c.DryRun {
		n, err := s.dir.Garbage(g.ctx)
		bar.end()
		return show(g, c.clientFlags, garbage{n}, err, view.garbage)
	}
	freed, err := s.dir.GC(g.ctx)
	bar.end()
	return show(g, c.clientFlags, api.Collected{Freed: freed}, err, view.collected)
}
