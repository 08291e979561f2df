package main

import (
	"fmt"
	"path/filepath"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

type restoreCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	neededStore
	whichFlags
	ID     string `arg:"" optional:"" help:"The ID, or its beginning; without it the newest that the flags choose."`
	To     string `required:"" type:"path" placeholder:"DIR" help:"The directory that is to become the state. What it holds is replaced, in one step."`
	State  string `placeholder:"NAME" help:"Only this state, a name at the top of the checkpoint; the rest of the directory stays."`
	DryRun bool   `name:"dry-run" short:"n" help:"Read and verify everything, say what would change, write nothing."`
}

// Help adds to the command's help.
func (restoreCmd) Help() string {
	return "Every byte is verified before the directory changes; it is the old state or the new at any moment, also across a crash. " +
		"A directory in which a process works, as a workload does in its state directory, or of which it has a file open or mapped, is refused: stop the process, or let the engine recover it. " +
		"Modes and times are those of the checkpoint. Owners are restored by root; what does not get the owner that it had loses its set-uid and set-gid bits."
}

// restored is what a restore did or would do.
type restored struct {
	Checkpoint forestall.Checkpoint `json:"checkpoint"`
	To         string               `json:"to"`
	State      string               `json:"state,omitempty"`
	Size       int64                `json:"size_bytes"` // of what is restored
	DryRun     bool                 `json:"dry_run"`
	Changes    *checkpoint.Changes  `json:"changes,omitempty"` // of a dry run
}

func (c restoreCmd) Run(g *globals) error {
	r, err := c.restore(g)
	return show(g, clientFlags{JSON: c.JSON}, r, err, view.restored)
}

func (c restoreCmd) restore(g *globals) (r restored, err error) {
	s, err := c.open(g, reading)
	if err != nil {
		return r, err
	}
	defer s.close()
	r = restored{To: c.To, State: c.State, DryRun: c.DryRun}
	if r.Checkpoint, err = c.choose(g, s); err != nil {
		return r, err
	}
	bar := newProgress(g, c.JSON, "restore", shortID(r.Checkpoint.ID), r.Checkpoint.Size)
	defer bar.end()
	s.onRead = bar.add
	err = c.carryOut(g, s, &r)
	return r, err
}

func (c restoreCmd) choose(g *globals, s *opened) (cp forestall.Checkpoint, err error) {
	var ids []string
	if c.ID != "" {
		ids = []string{c.ID}
	}
	all, err := s.choose(g, c.whichFlags, ids)
	if err != nil {
		return cp, err
	}
	if len(all) == 0 {
		return cp, fmt.Errorf("%w: %s has none that the flags choose; `forestall checkpoints list --store %s` shows what there is", checkpoint.ErrNotFound, s.name, shellWord(s.name))
	}
	return newestOf(all)
}

func (c restoreCmd) carryOut(g *globals, s *opened, r *restored) error {
	id := r.Checkpoint.ID
	d, done, err := s.local(g.ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if r.Size, err = sizeOf(d, r.Checkpoint, c.State); err != nil {
		return err
	}
	if r.Checkpoint.LeftOut, err = d.LeftOut(id); err != nil {
		return err
	}
	if c.DryRun {
		changes, err := d.Preview(g.ctx, id, c.State, c.To)
		r.Changes = &changes
		return err
	}
	if err := notInUse(c.To, c.State); err != nil {
		return err
	}
	if c.State != "" {
		return d.RestoreState(g.ctx, id, c.State, c.To)
	}
	return d.Restore(g.ctx, id, c.To)
}

// sizeOf returns how much a restore of the state, "" being all, brings back.
func sizeOf(d *checkpoint.Dir, cp forestall.Checkpoint, state string) (int64, error) {
	if state == "" {
		return cp.Size, nil
	}
	states, err := d.States(cp.ID)
	for _, s := range states {
		if s.Name == state {
			return s.Size, nil
		}
	}
	return 0, err // that there is none the restore says
}

func (v view) restored(r restored) {
	what := fmt.Sprintf("checkpoint %s of %s, taken %s", shortID(r.Checkpoint.ID), r.Checkpoint.Workload, v.ago(r.Checkpoint.Time))
	if r.State != "" {
		what = "state " + r.State + " of " + what
	}
	if c := r.Changes; c != nil {
		v.changes(*c)
		fmt.Fprintf(v.out, "Every byte of %s is whole. Restoring it to %s would add %d, change %d and remove %d; %d stay as they are.\n",
			textClean(what), textClean(r.To), len(c.Added), len(c.Changed), len(c.Removed), c.Same)
		v.notRestored(r)
		return
	}
	to := r.To
	if r.State != "" {
		to = filepath.Join(to, r.State)
	}
	fmt.Fprintf(v.out, "%s is %s: %s, verified.\n", textClean(to), textClean(what), textBytes(r.Size))
	v.notRestored(r)
}

func (v view) notRestored(r restored) {
	if l := r.Checkpoint.LeftOut; l.Count > 0 && r.State == "" {
		fmt.Fprintf(v.out, "Not in the checkpoint, for its program to make anew: %s.\n", textClean(leftOutNames(l)))
	}
}
