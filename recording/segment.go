package recording

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/train/table"
)

// ErrFormat is wrapped by every error about a file that is no segment or not a
// sound one.
var ErrFormat = errors.New("not recorded telemetry")

// Bounds on what is read of a segment.
const (
	maxMetrics    = 1 << 16
	maxComponents = 1 << 20
	maxUnixMilli  = 9214646400000 // 2262-01-01
)

// Segment is what a segment's metadata says.
type Segment struct {
	Path       string
	Size       int64 // bytes
	Content    Content
	Kind       forestall.Kind
	Schema     string // of vectors
	From, To   time.Time
	Rows       int64
	Components []forestall.Component
	Metrics    []string
}

// ReadSegment reads the metadata of a segment. The error names the file and, if
// it is no sound segment, wraps [ErrFormat].
func ReadSegment(path string) (*Segment, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	t, err := table.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer t.Close()
	s := &Segment{Path: path, Size: info.Size()}
	if err := s.read(t); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrFormat, err)
	}
	return s, nil
}

func (s *Segment) read(t *table.Table) (err error) {
	switch v, ok := t.Metadata(keyVersion); {
	case !ok:
		return fmt.Errorf("it has no metadata %s", keyVersion)
	case v != version:
		return fmt.Errorf("%s is %.20q; version %s is read", keyVersion, v, version)
	}
	content, _ := t.Metadata(keyContent)
	if s.Content = Content(content); !slices.Contains([]Content{Samples, Vectors, Table}, s.Content) {
		return fmt.Errorf("%s is %.20q", keyContent, content)
	}
	kind, _ := t.Metadata(keyKind)
	if s.Kind, err = forestall.ParseKind(kind); err != nil {
		return fmt.Errorf("%s: %w", keyKind, err)
	}
	s.Schema, _ = t.Metadata(keySchema)
	for key, to := range map[string]*time.Time{keyFrom: &s.From, keyTo: &s.To} {
		text, _ := t.Metadata(key)
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 0 || ms >= maxUnixMilli {
			return fmt.Errorf("%s is %.40q: want milliseconds since 1970", key, text)
		}
		*to = time.UnixMilli(ms).UTC()
	}
	s.Rows, _ = t.Rows()
	list, _ := t.Metadata(keyComponents)
	if err := json.Unmarshal([]byte(list), &s.Components); err != nil {
		return fmt.Errorf("%s: %w", keyComponents, err)
	}
	if len(s.Components) > maxComponents {
		return fmt.Errorf("%s: %d components; at most %d are read", keyComponents, len(s.Components), maxComponents)
	}
	for _, c := range s.Components {
		if c.Kind != s.Kind {
			return fmt.Errorf("%s: %q is no %s", keyComponents, c, s.Kind)
		}
	}
	for _, name := range t.Columns() {
		if name != ColumnTime && name != ColumnComponent && name != ColumnIndex {
			s.Metrics = append(s.Metrics, name)
		}
	}
	if len(s.Metrics) > maxMetrics {
		return fmt.Errorf("%d metrics; at most %d are read", len(s.Metrics), maxMetrics)
	}
	return s.selectFrom(t)
}

// selectFrom has t read the time in milliseconds, the component's number and the
// metrics.
func (s *Segment) selectFrom(t *table.Table) error {
	t.Times(float64(24*time.Hour/time.Millisecond), ColumnTime)
	return t.Select(append([]string{ColumnTime, ColumnIndex}, s.Metrics...))
}

// errStopped ends a read whose consumer wants no more.
var errStopped = errors.New("stopped")

// Scrapes yields the rows of the segment, each as the samples of all its
// metrics, NaN where one has no value. They are the caller's to keep. An error
// names the file and the row and ends the sequence.
func (s *Segment) Scrapes(ctx context.Context) iter.Seq2[[]forestall.Sample, error] {
	return func(yield func([]forestall.Sample, error) bool) {
		err := s.scan(ctx, func(ms int64, c forestall.Component, b *table.Block, i int) error {
			scrape := make([]forestall.Sample, len(s.Metrics))
			t := time.UnixMilli(ms).UTC()
			for m, name := range s.Metrics {
				scrape[m] = forestall.Sample{Component: c, Metric: name, Time: t, Value: b.Column(m + 2)[i]}
			}
			if !yield(scrape, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// scan calls visit with each row; column 2+m of the block is metric m.
func (s *Segment) scan(ctx context.Context, visit func(ms int64, c forestall.Component, b *table.Block, i int) error) error {
	t, err := table.Open(s.Path)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := s.selectFrom(t); err != nil {
		return err
	}
	from, to := float64(s.From.UnixMilli()), float64(s.To.UnixMilli())
	last := from
	return t.Read(ctx, table.Reading{Threads: 1, InOrder: true, Do: func(b *table.Block) error {
		times, numbers := b.Column(0), b.Column(1)
		for i, ms := range times {
			number := numbers[i]
			switch {
			case !(ms >= last && ms <= to) || ms != math.Trunc(ms):
				return b.Errorf(i, ": %w: time %v does not lie between that of the row before and the file's last, %v", ErrFormat, ms, to)
			case !(number >= 0 && number < float64(len(s.Components))) || number != math.Trunc(number):
				return b.Errorf(i, ": %w: component_index %v of %d components", ErrFormat, number, len(s.Components))
			}
			last = ms
			if err := visit(int64(ms), s.Components[int(number)], b, i); err != nil {
				return err
			}
		}
		return nil
	}})
}
