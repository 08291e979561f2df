package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/foreign"
)

type foreignCmd struct {
	Register foreignRegisterCmd `cmd:"" help:"Enter a directory that its writer has finished."`
	List     foreignListCmd     `cmd:"" help:"List the entries."`
	Verify   foreignVerifyCmd   `cmd:"" help:"Compare entries with what is there."`
	Pin      foreignPinCmd      `cmd:"" help:"Keep an entry from prune, or let it go again."`
	Forget   foreignForgetCmd   `cmd:"" help:"Remove entries; the data stays."`
	Prune    foreignPruneCmd    `cmd:"" help:"Drop old entries and, if told to, their data."`
}

// ledgerFlag names the directory of entries.
type ledgerFlag struct {
	Ledger string `default:"/var/lib/forestall/foreign" env:"FORESTALL_FOREIGN" placeholder:"DIR" help:"The directory of the entries; on a shared file system all nodes of a job may use it (${default})."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (f ledgerFlag) open(g *globals) (*foreign.Ledger, error) { return foreign.Open(f.Ledger, g.now) }

// find returns the entry whose ID begins so.
func (f ledgerFlag) find(l *foreign.Ledger, id string) (found foreign.Entry, err error) {
	if len(id) < shortest {
		return found, fmt.Errorf("%q: give at least %d digits of the ID", id, shortest)
	}
	all, err := l.List("")
	n := 0
	for _, e := range all {
		if strings.HasPrefix(e.ID, id) {
			found = e
			n++
		}
	}
	switch {
	case n == 1:
		return found, nil // whatever is wrong with others
	case n > 1:
		return found, fmt.Errorf("%d entries in %s begin with %s; give more digits", n, f.Ledger, id)
	case err != nil:
		return found, err
	}
	return found, fmt.Errorf("%w: of the %d entries in %s none begins with %s", checkpoint.ErrNotFound, len(all), f.Ledger, id)
}

type foreignRegisterCmd struct {
	ledgerFlag
	Workload string `short:"w" required:"" placeholder:"NAME" help:"Whose state it is."`
	Label    string `placeholder:"TEXT" help:"Free text, shown in lists."`
	Hash     bool   `help:"Read every byte, so that verify --contents can tell changed content."`
	Path     string `arg:"" type:"existingdir" help:"The directory: of a PyTorch distributed checkpoint, the one with .metadata."`
}

func (c foreignRegisterCmd) Run(g *globals) error {
	l, err := c.open(g)
	if err != nil {
		return err
	}
	e, err := l.Register(g.ctx, foreign.Registration{Workload: c.Workload, Path: c.Path, Label: c.Label, Hash: c.Hash})
	return show(g, clientFlags{JSON: c.JSON}, []foreign.Entry{e}, err, view.foreigners)
}

type foreignListCmd struct {
	ledgerFlag
	Workload string `short:"w" placeholder:"NAME" help:"Only those of this workload."`
}

func (c foreignListCmd) Run(g *globals) error {
	l, err := c.open(g)
	if err != nil {
		return err
	}
	all, err := l.List(c.Workload)
	if serr := show(g, clientFlags{JSON: c.JSON}, all, nil, view.foreigners); serr != nil {
		return serr
	}
	return err
}

type foreignVerifyCmd struct {
	ledgerFlag
	Contents bool     `help:"Read every byte of those that were registered with --hash."`
	IDs      []string `arg:"" optional:"" name:"id" help:"IDs or their beginnings; without any, all."`
}

// foreignVerdict is what became of one entry.
type foreignVerdict struct {
	foreign.Entry
	Error string `json:"error,omitempty"`
}

func (c foreignVerifyCmd) Run(g *globals) error {
	l, err := c.open(g)
	if err != nil {
		return err
	}
	var chosen []foreign.Entry
	for _, id := range c.IDs {
		e, err := c.find(l, id)
		if err != nil {
			return err
		}
		chosen = append(chosen, e)
	}
	if len(c.IDs) == 0 {
		if chosen, err = l.List(""); err != nil {
			return err
		}
	}
	out := []foreignVerdict{}
	bad := false
	for _, e := range chosen {
		v := foreignVerdict{Entry: e}
		if err := l.Verify(g.ctx, e.ID, c.Contents && (e.Hashed() || len(c.IDs) > 0)); err != nil {
			v.Error, bad = err.Error(), true
		}
		out = append(out, v)
	}
	if err := show(g, clientFlags{JSON: c.JSON}, out, nil, view.foreignVerdicts); err != nil {
		return err
	}
	if bad {
		return exitCode(1)
	}
	return nil
}

type foreignPinCmd struct {
	ledgerFlag
	Off bool   `help:"Let it go again."`
	ID  string `arg:"" help:"The ID, or its beginning."`
}

func (c foreignPinCmd) Run(g *globals) error {
	l, err := c.open(g)
	if err != nil {
		return err
	}
	e, err := c.find(l, c.ID)
	if err != nil {
		return err
	}
	if err := l.Pin(e.ID, !c.Off); err != nil {
		return err
	}
	e.Pinned = !c.Off
	return show(g, clientFlags{JSON: c.JSON}, []foreign.Entry{e}, nil, view.foreigners)
}

type foreignForgetCmd struct {
	ledgerFlag
	IDs []string `arg:"" name:"id" help:"IDs or their beginnings."`
}

func (c foreignForgetCmd) Run(g *globals) error {
	l, err := c.open(g)
	if err != nil {
		return err
	}
	for _, id := range c.IDs {
		if len(id) == 64 { // also one that cannot be read
			if err := l.Forget(id); err != nil {
				return err
			}
			continue
		}
		e, err := c.find(l, id)
		if err != nil {
			return err
		}
		if err := l.Forget(e.ID); err != nil {
			return err
		}
	}
	return nil
}

type foreignPruneCmd struct {
	ledgerFlag
	OlderThan time.Duration `default:"168h" placeholder:"AGE" help:"Of the age of the data; 0s is any (${default})."`
	Keep      int           `default:"2" placeholder:"N" help:"The newest of each workload that stay, not counting those that are damaged or that verify --contents found so (${default})."`
	Data      bool          `help:"Remove the data too, where it is still what was registered and no entry that stays has its path there, inside or above."`
	DryRun    bool          `name:"dry-run" short:"n" help:"Only list what would be dropped."`
}

func (c foreignPruneCmd) Run(g *globals) error {
	l, err := c.open(g)
	if err != nil {
		return err
	}
	dropped, err := l.Prune(g.ctx, foreign.Retention{Age: c.OlderThan, Keep: c.Keep, Data: c.Data}, c.DryRun)
	if dropped == nil {
		dropped = []foreign.Entry{}
	}
	return show(g, clientFlags{JSON: c.JSON}, dropped, err, func(v view, all []foreign.Entry) {
		word := "dropped"
		if c.DryRun {
			word = "would drop"
		}
		for _, e := range all {
			fmt.Fprintf(v.out, "%s %s of %s: %s\n", word, shortID(e.ID), textClean(e.Workload), textClean(e.Path))
		}
		fmt.Fprintf(v.out, "%s %s.\n", word, textCountEntries(len(all)))
	})
}

func textCountEntries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func (v view) foreigners(all []foreign.Entry) {
	t := textTable{header: []string{"ID", "WORKLOAD", "KIND", "TAKEN", ">FILES", ">SIZE", "VERIFIED", "LABEL", "PATH"}}
	for _, e := range all {
		verified := "-"
		if e.Verified != nil {
			verified = v.ago(*e.Verified)
		}
		if e.Damaged != nil {
			verified = "damaged " + v.ago(*e.Damaged)
		}
		id := shortID(e.ID)
		if e.Pinned {
			id += " pinned"
		}
		t.add(cellOf(id), cellOf(e.Workload), cellOf(string(e.Kind)), cellOf(v.ago(e.Time)), cellOf(fmt.Sprint(len(e.Files))),
			cellOf(textBytes(e.Size)), cellOf(verified), cellOf(e.Label), cellOf(e.Path))
	}
	t.writeOr(v, "Nothing is registered.")
}

func (v view) foreignVerdicts(all []foreignVerdict) {
	t := textTable{header: []string{"ID", "WORKLOAD", "TAKEN", ">SIZE", "VERDICT"}}
	for _, e := range all {
		word := textCell{"as registered", sgrGreen}
		if e.Error != "" {
			first, _, _ := strings.Cut(e.Error, "\n")
			word = textCell{first, sgrRed}
		}
		t.add(cellOf(shortID(e.ID)), cellOf(e.Workload), cellOf(v.ago(e.Time)), cellOf(textBytes(e.Size)), word)
	}
	t.writeOr(v, "Nothing is registered.")
}
