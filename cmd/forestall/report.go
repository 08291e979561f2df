package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/report"
)

// examplesShown are the worst false alarms and the worst misses of a report,
// each.
const examplesShown = 6

// checkReport finds out before the work whether the report can be written.
func checkReport(path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("--report %s: this is a directory; name a file", path)
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	return nil
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
		Unit: train.ParseTimeUnit(c.TimeUnit), Lead: c.Lead, Evaluation: r.e, Notes: r.notes(),
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
