package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result is one tool's part of a row.
type result struct {
	name   string
	took   time.Duration
	added  int64 // -1: not a part of the row
	isBest bool
}

func (r result) String() string {
	s := fmt.Sprintf("%s %s", r.name, seconds(r.took))
	if r.added >= 0 {
		s += " / " + mb(r.added)
	}
	return s
}

func seconds(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func mb(n int64) string { return fmt.Sprintf("%.2f MB", float64(n)/1e6) }

// row is a line of the table.
type row struct {
	what, ours, peers string
	bars              []bar
}

// bar is a promise and whether it is kept.
type bar struct {
	text string
	kept bool
}

func told(all []result) string {
	parts := make([]string, len(all))
	for i, r := range all {
		parts[i] = r.String()
	}
	return strings.Join(parts, "; ")
}

func (b *bench) add(what, ours, peers string, bars ...bar) {
	b.rows = append(b.rows, row{what, ours, peers, bars})
	fmt.Fprintf(os.Stderr, "%s: %s\n", what, ours)
}

func (b *bench) missed() (n int) {
	for _, r := range b.rows {
		for _, bar := range r.bars {
			if !bar.kept {
				n++
			}
		}
	}
	return n
}

func (b *bench) print(w io.Writer) {
	fmt.Fprintf(w, "%s UTC, %d CPUs, %s, %s; state %d MiB in %d files; %d rounds; ours with %d workers, zstd fastest; beside %s.\n",
		time.Now().UTC().Format("2006-01-02 15:04"), runtime.NumCPU(), runtime.Version(), cpuModel(), b.size>>20, fileCount, b.rounds, b.workers, strings.Join(b.versions, ", "))
	if len(b.absent) > 0 {
		fmt.Fprintf(w, "Not on this machine, and not compared: %s.\n", strings.Join(b.absent, "; "))
	}
	if b.short {
		fmt.Fprintln(w, "A short run: it shows that everything works; the bars are for 1 GiB.")
	}
	fmt.Fprint(w, "\n| what | ours | peers | bar |\n|---|---|---|---|\n")
	for _, r := range b.rows {
		bars := make([]string, len(r.bars))
		for i, bar := range r.bars {
			verdict := "**PASS**"
			switch {
			case b.short:
				verdict = "not judged:"
			case !bar.kept:
				verdict = "**FAIL**"
			}
			bars[i] = verdict + " " + bar.text
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r.what, r.ours, dash(r.peers), dash(strings.Join(bars, "; ")))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

// middle is the median: of the times and of the bytes, each by itself.
func middle(all []result) result {
	r := all[0]
	took, added := make([]time.Duration, len(all)), make([]int64, len(all))
	for i := range all {
		took[i], added[i] = all[i].took, all[i].added
	}
	r.took, r.added = middleOf(took), middleOf(added)
	return r
}

// middleOf is the median; of an even number, the lower one.
func middleOf[T cmp.Ordered](all []T) T {
	all = slices.Sorted(slices.Values(all))
	return all[(len(all)-1)/2]
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// fasterThan is a bar of the ratio to the time of a peer, and one to that of
// each of its other versions; where it is absent there is none.
func fasterThan(ours result, peers []result, name string, factor float64) (bars []bar) {
	for _, p := range peers {
		if p.name == name || p.name == name+" new" {
			r := ratio(p.took, ours.took)
			bars = append(bars, bar{fmt.Sprintf("%s %.3gx as fast as %s (>= %.3g)", ours.name, r, p.name, factor), r >= factor})
		}
	}
	return bars
}
