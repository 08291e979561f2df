package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/internal/durable"
)

// carried is what became of a checkpoint that was to be elsewhere.
type carried struct {
	forestall.Checkpoint
	To string `json:"to"` // a file, a directory or a bucket
}

func (v view) carried(c carried) {
	fmt.Fprintf(v.out, "checkpoint %s is in %s\n", textClean(named(c.Checkpoint)), textClean(c.To))
}

type checkpointsExportCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	neededStore
	ID string `arg:"" help:"The ID, or its beginning."`
	To string `required:"" placeholder:"FILE|DIR|s3://..." help:"A file that does not exist yet, a directory that is there, which is or becomes a store, or a bucket."`
}

// Help adds to the command's help.
func (checkpointsExportCmd) Help() string {
	return "When it fails nothing of it is left but, in a bucket, a prefix that has become an empty store and what was sent already, which the GC of a day later removes; the command may be repeated."
}

func (c checkpointsExportCmd) Run(g *globals) error {
	s, err := c.open(g, reading)
	if err != nil {
		return err
	}
	defer s.close()
	cp, err := s.resolve(g.ctx, c.ID)
	if err != nil {
		return err
	}
	err = c.carry(g, s, cp)
	return show(g, clientFlags{JSON: c.JSON}, carried{cp, c.To}, err, view.carried)
}

// carry copies a checkpoint into another store or a file.
func (c checkpointsExportCmd) carry(g *globals, from *opened, cp forestall.Checkpoint) error {
	dir, done, err := from.local(g.ctx, cp.ID)
	if err != nil {
		return err
	}
	defer done()
	p, err := dir.Parcel(cp.ID)
	if err != nil {
		return err
	}
	defer p.Close()
	bar := newProgress(g, c.JSON, "export", shortID(cp.ID), 0)
	defer bar.end()
	bar.chunks(p)
	return sendTo(g, storeFlag{sealFlags: c.sealFlags, Store: c.To}, p)
}

func sendTo(g *globals, to storeFlag, p *checkpoint.Parcel) error {
	if isStore(to.Store) {
		s, err := to.open(g, writing)
		if err != nil {
			return err
		}
		defer s.close()
		p.Imported = g.now()
		return s.unfilled(s.Put(g.ctx, p))
	}
	return writeNew(to.Store, func(f *os.File) error { return checkpoint.WriteParcel(g.ctx, f, p) })
}

// isStore tells a store from a file: a bucket, or a directory.
func isStore(to string) bool {
	fi, err := os.Stat(to)
	return isBucket(to) || err == nil && fi.IsDir()
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// writeNew makes a file that either is whole and durable, or not there.
func writeNew(name string, write func(*os.File) error) (err error) {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s is there already; give another name", name)
	}
	if dir := filepath.Dir(name); gone(dir) {
		return fmt.Errorf("%s: there is no directory %s; make it first", name, dir)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer os.Remove(f.Name()) // it has gone where all went well
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return durable.OS{}.SyncDir(filepath.Dir(name))
}

type checkpointsImportCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	neededStore
	From string `arg:"" placeholder:"FILE" help:"A file that export has written."`
}

// Help adds to the command's help.
func (checkpointsImportCmd) Help() string {
	return "A store is made where --store names none; a directory is removed again when the import fails, a bucket's prefix stays an empty store."
}

func (c checkpointsImportCmd) Run(g *globals) error {
	f, err := os.Open(c.From)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file; give one that `forestall checkpoints export` has written", c.From)
	}
	p, err := checkpoint.ReadParcel(f, fi.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", c.From, err)
	}
	s, err := c.open(g, writing)
	if err != nil {
		return err
	}
	defer s.close()
	err = c.take(g, s, p)
	return show(g, clientFlags{JSON: c.JSON}, carried{p.Checkpoint, c.Store}, err, view.carried)
}

func (c checkpointsImportCmd) take(g *globals, to *opened, p *checkpoint.Parcel) (err error) {
	p.Imported = g.now()
	bar := newProgress(g, c.JSON, "import", shortID(p.ID), 0)
	defer bar.end()
	bar.chunks(p)
	if to.dir != nil {
		err = to.dir.Take(g.ctx, p)
	} else {
		err = to.Put(g.ctx, p)
	}
	if err != nil {
		return to.unfilled(fmt.Errorf("%s: %w", c.From, err))
	}
	return nil
}

// unfilled adds to the error of a command what it leaves of a store that was not
// there before: of a directory nothing.
func (o *opened) unfilled(err error) error {
	if err == nil || o.s3 == nil || !o.s3.Made() {
		return err
	}
	return fmt.Errorf("%w; %s is a store now, with no checkpoint in it: the same command may follow, and what was sent is removed by the GC of a day later", err, o.name)
}
