package recording

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// batch is the content of a journal: at most about maxJournalSamples cells of
// 16 bytes.
type batch struct {
	damaged    int // lines
	components []forestall.Component
	metrics    []string
	scrapes    []scrape
	cells      []cell
}

type scrape struct {
	ms        int64
	component int32
	from, to  int32 // of cells
}

type cell struct {
	metric int32
	value  float64
}

// readJournal reads a journal and puts its scrapes in the order of time; those
// of one time are in the order of components.
func readJournal(path string) (*batch, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := &batch{}
	components, metrics := map[forestall.Component]int32{}, map[string]int32{}
	b.damaged, err = features.ReadJournal(f, func(s forestall.Sample) error {
		c, ok := components[s.Component]
		if !ok {
			c = int32(len(b.components))
			components[s.Component] = c
			b.components = append(b.components, s.Component)
		}
		m, ok := metrics[s.Metric]
		if !ok {
			m = int32(len(b.metrics))
			metrics[s.Metric] = m
			b.metrics = append(b.metrics, s.Metric)
		}
		ms := s.Time.UnixMilli()
		if n := len(b.scrapes); n == 0 || b.scrapes[n-1].ms != ms || b.scrapes[n-1].component != c {
			if len(b.cells) > math.MaxInt32-1 {
				return fmt.Errorf("%s: more than %d samples", path, math.MaxInt32)
			}
			b.scrapes = append(b.scrapes, scrape{ms: ms, component: c, from: int32(len(b.cells))})
		}
		b.cells = append(b.cells, cell{m, s.Value})
		b.scrapes[len(b.scrapes)-1].to = int32(len(b.cells))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	slices.SortStableFunc(b.scrapes, func(x, y scrape) int {
		return cmp.Or(cmp.Compare(x.ms, y.ms), b.components[x.component].Compare(b.components[y.component]))
	})
	// A component has one scrape at a time; a second is none of the recorder's.
	b.scrapes = slices.CompactFunc(b.scrapes, func(x, y scrape) bool { return x.ms == y.ms && x.component == y.component })
	return b, nil
}

// kinds returns the kinds of component in the batch.
func (b *batch) kinds() []forestall.Kind {
	seen := map[forestall.Kind]bool{}
	for _, c := range b.components {
		seen[c.Kind] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// write writes the scrapes of one kind as a segment.
func (b *batch) write(path string, content Content, kind forestall.Kind) error {
	used := make([]bool, len(b.metrics))
	for _, s := range b.scrapes {
		if b.components[s.component].Kind == kind {
			for _, c := range b.cells[s.from:s.to] {
				used[c.metric] = true
			}
		}
	}
	column := make([]int, len(b.metrics))
	var names []string
	for m, name := range b.metrics {
		if used[m] {
			column[m] = len(names)
			names = append(names, name)
		}
	}
	return writeFile(path, func(f *os.File) error {
		w, err := NewWriter(f, content, kind, "", names)
		if err != nil {
			return err
		}
		values, known := make([]float64, len(names)), make([]bool, len(names))
		for _, s := range b.scrapes {
			c := b.components[s.component]
			if c.Kind != kind {
				continue
			}
			clear(known)
			for _, cell := range b.cells[s.from:s.to] {
				i := column[cell.metric]
				values[i], known[i] = cell.value, true
			}
			if err := w.Write(time.UnixMilli(s.ms), c, values, known); err != nil {
				return err
			}
		}
		return w.Close()
	})
}

// yield yields the scrapes of some kinds, with the metrics that are wanted, or
// with one if none is; metrics is nil for all.
func (b *batch) yield(want func(forestall.Kind) bool, metrics func(forestall.Kind, string) bool) iter.Seq2[[]forestall.Sample, error] {
	return func(yield func([]forestall.Sample, error) bool) {
		for _, s := range b.scrapes {
			c := b.components[s.component]
			if !want(c.Kind) {
				continue
			}
			samples := make([]forestall.Sample, 0, s.to-s.from)
			for i, cell := range b.cells[s.from:s.to] {
				alone := s.from+int32(i)+1 == s.to && len(samples) == 0
				if metrics != nil && !alone && !metrics(c.Kind, b.metrics[cell.metric]) {
					continue
				}
				samples = append(samples, forestall.Sample{Component: c, Metric: b.metrics[cell.metric], Time: time.UnixMilli(s.ms).UTC(), Value: cell.value})
			}
			if !yield(samples, nil) {
				return
			}
		}
	}
}

// writeFile writes a file that is there whole or not at all.
func writeFile(path string, write func(f *os.File) error) error {
	f, err := os.OpenFile(path+temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer os.Remove(path + temporary) // gone after the rename
	defer f.Close()
	if err := write(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(path+temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
