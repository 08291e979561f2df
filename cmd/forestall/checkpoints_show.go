package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/s3"
)

func (v view) field(name, format string, args ...any) {
	fmt.Fprintf(v.out, "%-9s %s\n", name, textClean(fmt.Sprintf(format, args...)))
}

func (v view) checkpoint(d api.CheckpointDetail) {
	v.field("id", "%s", d.ID)
	if d.Damage != "" {
		fmt.Fprintln(v.out, v.paint(fmt.Sprintf("%-9s %s", "damaged", textClean(d.Damage)), sgrRed))
	}
	if d.Workload == "" { // its manifest is lost
		return
	}
	v.field("workload", "%s, epoch %s, sequence %d", d.Workload, d.Epoch, d.Sequence)
	v.field("taken", "%s (%s)", d.Time.UTC().Format(time.RFC3339), v.ago(d.Time))
	if d.Label != "" {
		v.field("label", "%s", d.Label)
	}
	v.field("size", "%s, of which %s were written for it", textBytes(d.Size), textBytes(d.Added))
	took := textDuration(d.Took)
	if d.Pause > 0 {
		took += ", the workload stood still for " + textDuration(d.Pause)
	}
	v.field("took", "%s", took)
	if d.Pinned {
		v.field("pinned", "yes, retention leaves it")
	}
	if !d.Imported.IsZero() {
		v.field("imported", "%s", v.ago(d.Imported))
	}
	if len(d.Replicas) > 0 {
		v.field("replicas", "%s", strings.Join(d.Replicas, " "))
	}
	if d.LeftOut.Count > 0 {
		v.field("not in it", "%s", leftOutNames(d.LeftOut))
	}
	if len(d.States) > 0 {
		fmt.Fprintln(v.out)
		t := textTable{header: []string{"STATE", ">FILES", ">SIZE"}}
		for _, s := range d.States {
			t.add(cellOf(s.Name), cellOf(fmt.Sprint(s.Files)), cellOf(textBytes(s.Size)))
		}
		t.write(v)
	}
}

func (v view) created(all []forestall.Checkpoint) {
	v.checkpoints(all, "")
	for _, cp := range all {
		if cp.LeftOut.Count > 0 {
			fmt.Fprintf(v.out, "\nNot in it, for its program to make anew: %s.\n", textClean(leftOutNames(cp.LeftOut)))
		}
	}
}

// leftOutNames names what is not in a checkpoint.
func leftOutNames(l forestall.LeftOut) string {
	names := strings.Join(l.First, ", ")
	more := l.Count - len(l.First)
	switch {
	case more <= 0:
		return names
	case names == "":
		return textCount(l.Count, "special file")
	}
	return fmt.Sprintf("%s and %d more", names, more)
}

// mostNames bounds what is listed of a comparison.
const mostNames = 50

func (v view) names(sign string, c sgr, names []string) {
	for _, n := range names[:min(len(names), mostNames)] {
		fmt.Fprintln(v.out, v.paint(sign+" "+textClean(n), c))
	}
	if more := len(names) - mostNames; more > 0 {
		fmt.Fprintf(v.out, "%s and %d more; --json lists all\n", sign, more)
	}
}

func (v view) difference(d checkpoint.Difference) {
	v.names("+", sgrGreen, d.Added)
	v.names("~", sgrYellow, d.Changed)
	v.names("-", sgrRed, d.Removed)
	fmt.Fprintf(v.out, "From %s to %s of %s: %d added, %d changed, %d removed, %d as before; %s of chunks are new.\n",
		shortID(d.From.ID), shortID(d.To.ID), textClean(d.To.Workload), len(d.Added), len(d.Changed), len(d.Removed), d.Same, textBytes(d.Bytes))
}

func (v view) changes(c checkpoint.Changes) {
	v.names("+", sgrGreen, c.Added)
	v.names("~", sgrYellow, c.Changed)
	v.names("-", sgrRed, c.Removed)
}

func (v view) verdicts(all []verdict) {
	t := textTable{header: []string{"ID", "WORKLOAD", "TAKEN", ">SIZE", "VERDICT"}}
	bad := 0
	for _, d := range all {
		word := textCell{"whole", sgrGreen}
		if d.Dropped {
			word = cellOf("dropped meanwhile")
		}
		if d.Error != "" {
			bad++
			first, _, _ := strings.Cut(d.Error, "\n")
			word = textCell{first, sgrRed}
		}
		t.add(cellOf(shortID(d.ID)), cellOf(d.Workload), cellOf(v.ago(d.Time)), cellOf(textBytes(d.Size)), word)
	}
	t.writeOr(v, "Nothing to verify: no checkpoint is like that.")
	if bad > 0 {
		fmt.Fprintf(v.out, "\n%d of %s cannot be restored from this store.\n", bad, textCount(len(all), "checkpoint"))
	}
}

func (v view) droppedOnes(all []dropped, dry bool) {
	for _, d := range all {
		what := named(d.Checkpoint)
		if !d.Time.IsZero() {
			what += ", taken " + v.ago(d.Time)
		}
		switch {
		case dry:
			fmt.Fprintf(v.out, "would drop %s\n", textClean(what))
		case len(d.From) > 0:
			fmt.Fprintf(v.out, "dropped %s, from %s\n", textClean(what), textClean(strings.Join(d.From, ", ")))
		}
		for _, f := range d.Failed {
			fmt.Fprintf(v.out, "%s\n", v.paint(textClean("may be still there: "+f), sgrRed))
		}
	}
}

func (v view) collected(c api.Collected) { fmt.Fprintf(v.out, "%s freed.\n", textBytes(c.Freed)) }

func (v view) garbage(g garbage) {
	fmt.Fprintf(v.out, "%s are needed by no checkpoint; gc gives back what fills a third of its pack or more.\n", textBytes(g.Bytes))
}

func (v view) collectedS3(c s3.Collected) {
	fmt.Fprintf(v.out, "%s, %s; %d are garbage and wait for the grace period; %d removed, %s freed; %s aborted.\n",
		textCount(c.Objects, "object"), textBytes(c.Bytes), c.Marked, c.Removed, textBytes(c.Freed), textCount(c.Aborted, "unfinished upload"))
}

func (v view) storeStats(s api.StoreStats) {
	if s.Node != "" {
		v.field("node", "%s", s.Node)
	}
	v.field("store", "%s", s.Path)
	v.field("holds", "%s of %s, %s of state", textCount(s.Checkpoints, "checkpoint"), textCount(s.Workloads, "workload"), textBytes(s.StateBytes))
	v.field("chunks", "%d, %s as stored", s.Chunks, textBytes(s.ChunkBytes))
	v.field("packs", "%d, %s on disk", s.Packs, textBytes(s.PackBytes))
	free := "unknown"
	if s.FreeBytes >= 0 {
		free = textBytes(s.FreeBytes)
	}
	v.field("free", "%s", free)
	for _, d := range s.Damaged {
		fmt.Fprintln(v.out, v.paint(fmt.Sprintf("%-9s %s: %s", "damaged", shortID(d.ID), textClean(d.Error)), sgrRed))
	}
}

// newestOf picks the newest state of the one workload that all are of.
func newestOf(all []forestall.Checkpoint) (forestall.Checkpoint, error) {
	var workloads []string
	newest := all[0]
	for _, cp := range all {
		if !slices.Contains(workloads, cp.Workload) {
			workloads = append(workloads, cp.Workload)
		}
		if cp.NewerThan(newest) {
			newest = cp
		}
	}
	if len(workloads) > 1 {
		slices.Sort(workloads)
		return newest, fmt.Errorf("there are checkpoints of %s; name one with --workload", strings.Join(workloads, ", "))
	}
	return newest, nil
}
