package recording

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// Recording is recorded telemetry opened for reading: the segments and journals
// of one or more recorders, and histories.
type Recording struct {
	path    string
	content Content
	kind    forestall.Kind // KindUnknown: all
	sources []source
	met     map[string]bool // segments among the files that were listed
	packed  []string        // segments for which their journal was passed over
}

// source is a file with scrapes in the order of time.
type source interface {
	name() string
	// begins returns a time that no scrape lies before.
	begins() time.Time
	// ends returns a time that no scrape lies after.
	ends(ctx context.Context) (time.Time, error)
	scrapes(ctx context.Context) iter.Seq2[[]forestall.Sample, error]
}

// ErrEmpty says that there is no telemetry where it was looked for.
var ErrEmpty = errors.New("no recorded telemetry")

// Read opens a file, or all files of a directory and those below it: segments
// of the content, journals, and, for samples, histories as
// [features.ReadHistory] reads them. Other files of a directory are passed over.
// kind bounds what is read to components of one kind; KindUnknown means all.
//
// A recorder may go on writing in the directory: what it has synced is read.
// Errors name the file; [ErrEmpty] if there is none, [ErrFormat] if one is
// damaged.
func Read(path string, content Content, kind forestall.Kind) (*Recording, error) {
	r := &Recording{path: path, content: content, kind: kind}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if err := r.add(path, true); err != nil {
			return nil, err
		}
	} else if err := r.walk(); err != nil {
		return nil, err
	}
	if len(r.sources) == 0 {
		what := string(content)
		if kind != forestall.KindUnknown {
			what += " of kind " + kind.String()
		}
		return nil, fmt.Errorf("%s: %w: it holds no %s", path, ErrEmpty, what)
	}
	r.order()
	return r, nil
}

// order puts the sources in the order of time.
func (r *Recording) order() {
	slices.SortStableFunc(r.sources, func(a, b source) int {
		return cmp.Or(a.begins().Compare(b.begins()), strings.Compare(a.name(), b.name()))
	})
}

// Span returns about when the first scrape and the last were made: no scrape
// lies outside. Of a history the whole is read for it.
func (r *Recording) Span(ctx context.Context) (from, to time.Time, err error) {
	from = r.sources[0].begins()
	for _, s := range r.sources {
		end, err := s.ends(ctx)
		if err != nil {
			return from, to, err
		}
		if end.After(to) {
			to = end
		}
	}
	return from, to, nil
}

// Files returns the names of the files that are read, in the order of time.
func (r *Recording) Files() []string {
	names := make([]string, len(r.sources))
	for i, s := range r.sources {
		names[i] = s.name()
	}
	return names
}

// walk adds the files of a directory. A journal that is packed meanwhile is
// found again as its segments.
func (r *Recording) walk() error {
	const tries = 5
	for try := 1; ; try++ {
		r.sources, r.met, r.packed = nil, nil, nil
		err := filepath.WalkDir(r.path, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			return r.add(path, false)
		})
		if err == nil {
			err = r.settled()
		}
		if !errors.Is(err, fs.ErrNotExist) || try == tries {
			return err
		}
	}
}

// add adds a file; a named one must be telemetry.
func (r *Recording) add(path string, named bool) error {
	base := filepath.Base(path)
	content, id, isJournal := parseJournal(base)
	switch {
	case isJournal && content == r.content:
		return r.addJournal(path, id)
	case isJournal:
		return nil
	case strings.HasSuffix(base, segment) || named && startsWith(path, "PAR1"):
		return r.addSegment(path, named)
	case r.content == Samples && (named || strings.HasSuffix(base, ".csv") || strings.HasSuffix(base, ".csv.gz")):
		return r.addHistory(path, named)
	case named:
		return fmt.Errorf("%s: %w: a Parquet file is needed", path, ErrFormat)
	}
	return nil
}

func (r *Recording) addSegment(path string, named bool) error {
	if r.met == nil {
		r.met = map[string]bool{}
	}
	r.met[path] = true
	s, err := ReadSegment(path)
	switch {
	case err != nil:
		return err
	case s.Content == r.content && (r.kind == forestall.KindUnknown || s.Kind == r.kind):
		r.sources = append(r.sources, segmentSource{s})
	case named:
		return fmt.Errorf("%s: %w: it holds %s of kind %s, not %s", path, ErrEmpty, s.Content, s.Kind, r.content)
	}
	return nil
}

func (r *Recording) addJournal(path, id string) error {
	b, err := readJournal(path)
	if err != nil {
		return err
	}
	packed := map[forestall.Kind]bool{}
	for _, kind := range b.kinds() {
		segment := filepath.Join(filepath.Dir(path), segmentName(r.content, kind, id))
		_, err := os.Stat(segment)
		if packed[kind] = err == nil; packed[kind] { // its segment is there beside it
			r.packed = append(r.packed, segment)
		}
	}
	j := journalSource{path: path, batch: b, want: func(k forestall.Kind) bool {
		return !packed[k] && (r.kind == forestall.KindUnknown || k == r.kind)
	}}
	for _, err := range j.batch.yield(j.want, nil) {
		r.sources = append(r.sources, j)
		return err
	}
	return nil
}

// settled returns an error that wraps [fs.ErrNotExist] when a journal was passed
// over for a segment that came to be after the files had been listed.
func (r *Recording) settled() error {
	for _, segment := range r.packed {
		if !r.met[segment] {
			return fmt.Errorf("%s: %w in the list of files, its journal was packed meanwhile", segment, fs.ErrNotExist)
		}
	}
	return nil
}

// addHistory adds a history; other CSV files of a directory are not meant.
func (r *Recording) addHistory(path string, named bool) error {
	if !named && !startsWith(path, features.HistoryHeader) {
		return nil
	}
	h := historySource{path: path, kind: r.kind}
	for scrape, err := range h.scrapes(context.Background()) {
		if err != nil {
			return err
		}
		h.first = scrape[0].Time
		r.sources = append(r.sources, h)
		break
	}
	return nil
}

// startsWith tells whether a file, plain or gzipped, begins with a text.
func startsWith(path, text string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	plain, err := features.Plain(f)
	if err != nil {
		return false
	}
	start := make([]byte, len(text))
	n, _ := io.ReadFull(plain, start)
	return string(start[:n]) == text
}

type segmentSource struct{ s *Segment }

func (s segmentSource) name() string                            { return s.s.Path }
func (s segmentSource) begins() time.Time                       { return s.s.From }
func (s segmentSource) ends(context.Context) (time.Time, error) { return s.s.To, nil }
func (s segmentSource) scrapes(ctx context.Context) iter.Seq2[[]forestall.Sample, error] {
	return s.s.Scrapes(ctx)
}

type journalSource struct {
	path  string
	batch *batch
	want  func(forestall.Kind) bool
	only  func(forestall.Kind, string) bool // nil: all metrics
}

func (j journalSource) name() string      { return j.path }
func (j journalSource) begins() time.Time { return time.UnixMilli(j.batch.scrapes[0].ms).UTC() }
func (j journalSource) ends(context.Context) (time.Time, error) {
	return time.UnixMilli(j.batch.scrapes[len(j.batch.scrapes)-1].ms).UTC(), nil
}

func (j journalSource) scrapes(context.Context) iter.Seq2[[]forestall.Sample, error] {
	return j.batch.yield(j.want, j.only)
}

type historySource struct {
	path  string
	kind  forestall.Kind
	first time.Time
}

func (h historySource) name() string      { return h.path }
func (h historySource) begins() time.Time { return h.first }
func (h historySource) ends(ctx context.Context) (last time.Time, err error) {
	for scrape, err := range h.scrapes(ctx) {
		if err != nil {
			return last, err
		}
		last = scrape[0].Time
	}
	return last, nil
}

func (h historySource) scrapes(ctx context.Context) iter.Seq2[[]forestall.Sample, error] {
	return func(yield func([]forestall.Sample, error) bool) {
		f, err := os.Open(h.path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		for scrape, err := range features.ReadHistory(f) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, fmt.Errorf("%s: %w", h.path, err))
				return
			}
			if h.kind != forestall.KindUnknown && scrape[0].Component.Kind != h.kind {
				continue
			}
			if !yield(scrape, nil) {
				return
			}
		}
	}
}
