package main

import (
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

func (b *bench) add(what, ours string, peers []result, bars ...bar) {
	parts := make([]string, len(peers))
	for i, p := range peers {
		parts[i] = p.String()
	}
	b.rows = append(b.rows, row{what, ours, strings.Join(parts, "; "), bars})
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
	fmt.Fprintf(w, "%s, %d CPUs, %s, %s; state %d MiB in %d files; ours with %d workers, zstd fastest; beside %s.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), cpuModel(), b.size>>20, fileCount, b.workers, strings.Join(b.versions, ", "))
	if len(b.absent) > 0 {
		fmt.Fprintf(w, "Not on this machine, and not compared: %s.\n", strings.Join(b.absent, ", "))
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

// named returns the peer with that name; ok is false where it is absent.
func named(all []result, name string) (result, bool) {
	i := slices.IndexFunc(all, func(r result) bool { return r.name == name })
	if i < 0 {
		return result{}, false
	}
	return all[i], true
}

// fasterThan is a bar of a ratio to a peer's time; where the peer is absent
// there is none.
func fasterThan(ours time.Duration, peers []result, name string, factor float64) []bar {
	p, ok := named(peers, name)
	if !ok {
		return nil
	}
	ratio := float64(p.took) / float64(ours)
	return []bar{{fmt.Sprintf("%.3gx as fast as %s (>= %.3g)", ratio, name, factor), ratio >= factor}}
}
