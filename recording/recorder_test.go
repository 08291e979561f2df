package recording

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

var equalNaN = cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func history(t testing.TB) iter.Seq2[[]forestall.Sample, error] {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "history", "samples.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return features.ReadHistory(bytes.NewReader(text))
}

func collect(t testing.TB, scrapes iter.Seq2[[]forestall.Sample, error]) (all [][]forestall.Sample) {
	t.Helper()
	for scrape, err := range scrapes {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, scrape)
	}
	return all
}

func open(t testing.TB, cfg Config) *Recorder {
	t.Helper()
	r, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func config(dir string, now func() time.Time) Config {
	c := DefaultConfig()
	c.Dir, c.Now = dir, now
	return c
}

func sample(c forestall.Component, t time.Time, metric string, v float64) forestall.Sample {
	return forestall.Sample{Component: c, Metric: metric, Time: t, Value: v}
}

func names(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestRecordedHistory records the hour of testdata with journals that are packed
// on the way, reads it back and compares the vectors of the two, bit for bit.
func TestRecordedHistory(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	cfg := config(dir, func() time.Time { return now })
	cfg.SegmentAge = 17 * time.Minute
	r := open(t, cfg)
	rows, samples := 0, 0
	for scrape, err := range history(t) {
		if err != nil {
			t.Fatal(err)
		}
		if now.Before(scrape[0].Time) {
			now = scrape[0].Time
			r.flush()
			r.rotate()
		}
		r.Record(scrape[0].Component, scrape[0].Time, scrape, -1)
		rows, samples = rows+1, samples+len(scrape)
	}
	r.flush()
	if got := r.Stats(); got.Samples != uint64(samples) || got.Dropped != 0 {
		t.Errorf("stats %+v, want %d samples", got, samples)
	}
	files := names(t, dir)
	if len(files) != 4 || !strings.HasSuffix(files[0], ".journal") || !strings.HasPrefix(files[1], "samples-gpu-2026") {
		t.Errorf("files %q, want a journal and 3 segments", files)
	}
	var size, packed int64
	for _, name := range files[1:] {
		info, err := ReadSegment(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		size, packed = size+info.Size, packed+info.Rows*int64(len(info.Metrics))
	}
	each := float64(size) / float64(packed)
	t.Logf("%d samples in %d scrapes; %.2f bytes a sample packed", samples, rows, each)
	if each > 0.7 { // docs/format/telemetry.md says 0.55
		t.Errorf("%.2f bytes a sample", each)
	}

	recorded, err := Read(dir, Samples, forestall.KindUnknown)
	if err != nil {
		t.Fatal(err)
	}
	want, got := vectors(t, history(t)), vectors(t, recorded.Scrapes(t.Context()))
	if len(want) != rows {
		t.Fatalf("%d vectors of %d scrapes", len(want), rows)
	}
	if !maps.EqualFunc(want, got, slices.Equal) {
		t.Error("the vectors of the recording differ")
	}
}

// vectors replays scrapes and returns the bits of each vector.
func vectors(t *testing.T, scrapes iter.Seq2[[]forestall.Sample, error]) map[string][]uint64 {
	t.Helper()
	schema, err := features.NewSchema(forestall.KindGPU, features.Metrics(forestall.KindGPU), []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]uint64{}
	store := features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema})
	err = features.Replay(scrapes, store, 0, func(c forestall.Component, at time.Time, w *features.Window) error {
		var bits []uint64
		for _, v := range w.Vector(nil) {
			bits = append(bits, math.Float64bits(v))
		}
		out[c.String()+at.String()] = bits
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRecordKeeps: NaN and what was not in the scrape, an empty scrape, kinds,
// times that come late, latencies.
func TestRecordKeeps(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	r := open(t, config(dir, func() time.Time { return now }))
	g0, g1, n := forestall.GPU("n1", 0), forestall.GPU("n1", 1), forestall.Node("n1")
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	r.Record(g1, at(5), []forestall.Sample{sample(g1, at(5), "a", 1.0/3)}, 2*time.Millisecond)
	r.Record(g0, at(0), []forestall.Sample{sample(g0, at(0), "a", math.NaN()), sample(g0, at(0), "b", math.Inf(1))}, -1)
	r.Record(g0, at(5), nil, time.Millisecond)
	r.Record(n, at(1), []forestall.Sample{sample(n, at(1), "up", 1)}, -1)
	r.flush()
	nan := math.NaN()
	journalWant := [][]forestall.Sample{
		{sample(g0, at(0), "a", nan), sample(g0, at(0), "b", nan)},
		{sample(n, at(1), "up", 1)},
		{sample(g0, at(5), features.MetricScrapeLatency, 0.001)},
		{sample(g1, at(5), "a", 1.0/3), sample(g1, at(5), features.MetricScrapeLatency, 0.002)},
	}
	read := func(kind forestall.Kind) [][]forestall.Sample {
		t.Helper()
		recorded, err := Read(dir, Samples, kind)
		if err != nil {
			t.Fatal(err)
		}
		return collect(t, recorded.Scrapes(t.Context()))
	}
	if diff := cmp.Diff(journalWant, read(forestall.KindUnknown), equalNaN); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	now = now.Add(2 * time.Hour)
	r.rotate()
	latency := features.MetricScrapeLatency
	want := [][]forestall.Sample{ // columns in the order of their names
		{sample(g0, at(0), "a", nan), sample(g0, at(0), "b", nan), sample(g0, at(0), latency, nan)},
		{sample(n, at(1), "up", 1)},
		{sample(g0, at(5), "a", nan), sample(g0, at(5), "b", nan), sample(g0, at(5), latency, 0.001)},
		{sample(g1, at(5), "a", 1.0/3), sample(g1, at(5), "b", nan), sample(g1, at(5), latency, 0.002)},
	}
	if diff := cmp.Diff(want, read(forestall.KindUnknown), equalNaN); diff != "" {
		t.Errorf("segments (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:2], read(forestall.KindNode), equalNaN); diff != "" {
		t.Errorf("one kind (-want +got):\n%s", diff)
	}
}

// TestCrash: at each moment of a packing the directory reads the same, and the
// next recorder mends it.
func TestCrash(t *testing.T) {
	line := func(s, v string) string { return s + ",gpu/n1/0,a," + v + "\n" }
	whole := line("1000", "1") + line("2000", "2")
	for _, tt := range []struct {
		name  string
		text  string
		want  int // scrapes
		extra func(t *testing.T, dir string)
	}{
		{name: "in the middle of a line", text: whole + "3000,gpu/n1/0,a,12", want: 2},
		{name: "a block of zeros", text: line("1000", "1") + strings.Repeat("\x00", 5000) + "\n" + line("2000", "2"), want: 2},
		{name: "a block of zeros at the end", text: whole + strings.Repeat("\x00", 4096), want: 2},
		{name: "nothing written", text: "", want: 0},
		{name: "a segment half written", text: whole, want: 2, extra: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, segmentName(Samples, forestall.KindGPU, "20260101T000000.000Z")+temporary), "PAR1 half")
		}},
		{name: "packed, journal not removed", text: whole, want: 2, extra: func(t *testing.T, dir string) {
			path := filepath.Join(dir, journalName(Samples, "20260101T000000.000Z"))
			b, err := readJournal(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.write(filepath.Join(dir, segmentName(Samples, forestall.KindGPU, "20260101T000000.000Z")), Samples, forestall.KindGPU); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, journalName(Samples, "20260101T000000.000Z")), tt.text)
			if tt.extra != nil {
				tt.extra(t, dir)
			}
			count := func() int {
				recorded, err := Read(dir, Samples, forestall.KindUnknown)
				if errors.Is(err, ErrEmpty) {
					return 0
				}
				if err != nil {
					t.Fatal(err)
				}
				return len(collect(t, recorded.Scrapes(t.Context())))
			}
			if got := count(); got != tt.want {
				t.Errorf("%d scrapes as the crash left it, want %d", got, tt.want)
			}
			r := open(t, config(dir, nil))
			r.packAll()
			if got := count(); got != tt.want {
				t.Errorf("%d scrapes once mended, want %d", got, tt.want)
			}
			for _, name := range names(t, dir) {
				if !strings.HasSuffix(name, ".parquet") {
					t.Errorf("%s is left", name)
				}
			}
		})
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestLimits: the oldest files go first, files of others stay.
func TestLimits(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	r := open(t, config(dir, func() time.Time { return now }))
	write(t, filepath.Join(dir, "notes.parquet"), "mine")
	for i := range 6 {
		path := filepath.Join(dir, segmentName(Samples, forestall.KindGPU, newID(epoch.Add(time.Duration(i)*time.Hour))))
		write(t, path, strings.Repeat("x", 1000))
		if err := os.Chtimes(path, time.Time{}, epoch.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	now = epoch.Add(6 * time.Hour)
	r.cfg.MaxAge = 5 * time.Hour
	if err := r.keep(); err != nil {
		t.Fatal(err)
	}
	if got := len(names(t, dir)); got != 6 {
		t.Errorf("%d files, want 5 that are young enough and notes.parquet", got)
	}
	r.cfg.MaxSize = 4000
	if err := r.keep(); err != nil {
		t.Fatal(err)
	}
	want := []string{"notes.parquet", "samples-gpu-20260101T030000.000Z.parquet", "samples-gpu-20260101T040000.000Z.parquet", "samples-gpu-20260101T050000.000Z.parquet"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if got := r.Stats().Bytes; got != 3000 {
		t.Errorf("stats say %d bytes", got)
	}
}

// TestRun goes through the life of a recorder in virtual time.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := config(dir, nil)
		cfg.SegmentAge = time.Minute
		r, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(cfg); !errors.Is(err, ErrInUse) {
			t.Errorf("a second recorder: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		c := forestall.Node("n1")
		for range 100 {
			r.Record(c, time.Now(), []forestall.Sample{{Metric: "up", Value: 1}}, -1)
			r.RecordVector(c, time.Now(), []string{"up_last"}, []float64{1})
			time.Sleep(time.Second)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
	for _, content := range []Content{Samples, Vectors} {
		recorded, err := Read(dir, content, forestall.KindNode)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(collect(t, recorded.Scrapes(t.Context()))); got != 100 || len(recorded.sources) != 2 {
			t.Errorf("%s: %d of 100 scrapes in %d files, want 2", content, got, len(recorded.sources))
		}
	}
}

// TestDiskFails: what cannot be written waits and is dropped beyond a bound, and
// what waited is written once the disk is back.
func TestDiskFails(t *testing.T) {
	dir := t.TempDir()
	r := open(t, config(dir, nil))
	c := forestall.Node("n1")
	record := func(i int) {
		r.Record(c, epoch.Add(time.Duration(i)*time.Second), []forestall.Sample{{Metric: strings.Repeat("a", 1000), Value: 1}}, -1)
	}
	record(0)
	r.cfg.Dir = filepath.Join(dir, "gone")
	r.flush()
	for i := 1; i < 10000; i++ {
		record(i)
	}
	r.flush()
	stats := r.Stats()
	if stats.Dropped == 0 || !r.failing {
		t.Fatalf("stats %+v, failing %v", stats, r.failing)
	}
	r.cfg.Dir = dir
	r.flush()
	if r.failing {
		t.Error("still failing")
	}
	recorded, err := Read(dir, Samples, forestall.KindUnknown)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(collect(t, recorded.Scrapes(t.Context()))); got != int(stats.Samples) {
		t.Errorf("%d scrapes were read, %d taken", got, stats.Samples)
	}
}
