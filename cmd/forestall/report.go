package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train/report"
)

// examplesShown are the worst false alarms and the worst misses of a report,
// each.
const examplesShown = 6

// checkFile finds out before the work whether the file that a flag asks for can be
// written; an empty path asks for none. A file takes the place of what has its name,
// so that a device or a pipe would be gone.
func checkFile(flag, path string) error {
	if path == "" {
		return nil
	}
	switch info, err := os.Stat(path); {
	case err != nil: // it is not there, or what follows says why
	case info.IsDir():
		return fmt.Errorf("%s %s: this is a directory; name a file", flag, path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s %s: this is a device or a pipe, whose place the file would take; name a file", flag, path)
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return checkWritable(flag+" "+path, filepath.Dir(path))
}

// checkOut finds out before the work whether a model can be written to the directory
// of --out, which need not be there.
func checkOut(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
		case err != nil:
			return fmt.Errorf("--out: %w", err)
		case !info.IsDir():
			return fmt.Errorf("--out %s: it is a file; name a directory", dir)
		default:
			return checkWritable("--out "+dir, at)
		}
	}
}

// checkWritable makes a file in a directory, for what a flag asks for, and removes
// it.
func checkWritable(flag, dir string) error {
	f, err := os.CreateTemp(dir, ".forestall-*")
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return fmt.Errorf("%s: no file can be made in %s: %w", flag, dir, path.Err)
	} else if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// report writes the page. It is replaced whole or not at all.
func (r *evaluated) report(g *globals) error {
	c := r.cmd
	rows, err := report.Collect(g.ctx, r.model, c.Table, c.only, r.e, c.Seed)
	if err != nil {
		return err
	}
	p := report.Page{
		Made: g.now(), Program: "forestall " + version, Card: r.model.Card, Trees: r.model.Trees(), Rows: rows,
		Table: report.Table{
			Path: c.Table, SHA256: r.digest, Label: c.Label, Group: c.Group, Time: c.Time, EventTime: c.EventTime,
			FirstTime: r.first, LastTime: r.last,
		},
		Unit: c.unit(), Lead: c.Lead.n, Evaluation: r.e, Notes: r.notes(),
	}
	if r.paired != nil {
		p.Against = &report.Against{Model: c.Against, Paired: *r.paired}
	}
	var page bytes.Buffer
	if err := p.Render(&page); err != nil {
		return err
	}
	if err := model.ReplaceFile(c.Report, page.Bytes()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// notes are what a reader must know before the figures.
func (r *evaluated) notes() []string {
	notes := slices.Clone(r.cmd.notes)
	if r.trainedHere() {
		notes = append(notes, "This is the table that the model was trained on: the figures say how well it remembers, not how well it predicts.")
	}
	return notes
}

// trainedHere reports whether the model was trained on the very rows.
func (r *evaluated) trainedHere() bool {
	return r.cmd.only == nil && r.digest != "" && r.digest == r.model.Card.Training.DataSHA256
}
