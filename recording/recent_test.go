package recording

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestRecent reads six files of an hour and twelve scrapes each, the last one a
// journal: only those that are new enough and few enough.
func TestRecent(t *testing.T) {
	dir := t.TempDir()
	c := forestall.GPU("n1", 0)
	gpus := func(since time.Duration, limit int64) Part {
		return Part{Since: map[forestall.Kind]time.Time{forestall.KindGPU: epoch.Add(since)}, Limit: limit}
	}
	if _, _, err := Recent(dir, gpus(0, 1000)); !errors.Is(err, ErrEmpty) {
		t.Errorf("of an empty directory: %v", err)
	}
	for hour := range 6 {
		text := ""
		begun := epoch.Add(time.Duration(hour) * time.Hour)
		for i := range 12 {
			text += fmt.Sprintf("%d,%s,gpu_temperature_celsius,%d\n", begun.Add(time.Duration(i)*5*time.Minute).UnixMilli(), c, hour)
		}
		path := filepath.Join(dir, journalName(Samples, newID(begun)))
		write(t, path, text)
		if hour == 5 {
			break
		}
		b, err := readJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.write(filepath.Join(dir, segmentName(Samples, c.Kind, newID(begun))), Samples, c.Kind); err != nil {
			t.Fatal(err)
		}
		if hour == 3 { // packed, the journal not removed yet
			continue
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, journalName(Vectors, newID(epoch.Add(5*time.Hour)))), "1,gpu/n1/0,a,1\n")
	for _, tt := range []struct {
		name  string
		since time.Duration
		limit int64
		files int
		first time.Duration // of the scrapes from the time that is returned
		n     int
	}{
		{"all", 0, 1000, 6, 0, 72},
		{"since within a file", 3*time.Hour + 30*time.Minute, 1000, 3, 3*time.Hour + 30*time.Minute, 30},
		{"few", 0, 30, 2, 4 * time.Hour, 24},
		{"one file at least", 0, 1, 1, 5 * time.Hour, 12},
	} {
		r, from, err := Recent(dir, gpus(tt.since, tt.limit))
		if err != nil {
			t.Fatal(err)
		}
		var times []time.Time
		for _, scrape := range collect(t, r.Scrapes(t.Context())) {
			if at := scrape[0].Time; !at.Before(from) {
				times = append(times, at)
			}
		}
		if files := len(r.Files()); files != tt.files || len(times) != tt.n || !times[0].Equal(epoch.Add(tt.first)) {
			t.Errorf("%s: %d files, %d scrapes from %s; want %d, %d, %s", tt.name, files, len(times), times[0].Sub(epoch), tt.files, tt.n, tt.first)
		}
	}
	if _, _, err := Recent(dir, gpus(7*time.Hour, 1000)); !errors.Is(err, ErrEmpty) {
		t.Errorf("when all is old: %v", err)
	}
}

// TestRecentPart: of the kinds and metrics that are wanted only, each kind since
// its own time.
func TestRecentPart(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	r := open(t, config(dir, func() time.Time { return now }))
	g, n := forestall.GPU("n1", 0), forestall.Node("n1")
	for range 3 { // two segments of each kind, and a journal
		r.Record(g, now, []forestall.Sample{sample(g, now, "a", 1), sample(g, now, "b", 2)}, -1)
		r.Record(n, now, []forestall.Sample{sample(n, now, "c", 3)}, -1)
		r.flush()
		now = now.Add(2 * time.Hour)
		if now.Before(epoch.Add(5 * time.Hour)) {
			r.rotate()
		}
	}
	read := func(p Part) (text []string) {
		p.Limit = 1000
		recent, _, err := Recent(dir, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, scrape := range collect(t, recent.Scrapes(t.Context())) {
			line := scrape[0].Time.Format("15 ") + scrape[0].Component.String()
			for _, s := range scrape {
				line += " " + s.Metric
			}
			text = append(text, line)
		}
		return text
	}
	since := func(h time.Duration) time.Time { return epoch.Add(h * time.Hour) }
	got := read(Part{Since: map[forestall.Kind]time.Time{forestall.KindGPU: since(2), forestall.KindNode: since(0)}})
	if d := cmp.Diff([]string{"00 node/n1 c", "02 node/n1 c", "02 gpu/n1/0 a b", "04 node/n1 c", "04 gpu/n1/0 a b"}, got); d != "" {
		t.Error(d)
	}
	got = read(Part{
		Since:   map[forestall.Kind]time.Time{forestall.KindGPU: since(0)},
		Metrics: func(_ forestall.Kind, m string) bool { return m == "b" },
	})
	if d := cmp.Diff([]string{"00 gpu/n1/0 b", "02 gpu/n1/0 b", "04 gpu/n1/0 b"}, got); d != "" {
		t.Error(d)
	}
	got = read(Part{
		Since:   map[forestall.Kind]time.Time{forestall.KindGPU: since(1)},
		Metrics: func(forestall.Kind, string) bool { return false },
	})
	if d := cmp.Diff([]string{"02 gpu/n1/0 a", "04 gpu/n1/0 b"}, got); d != "" {
		t.Errorf("a scrape of which nothing is wanted: %s", d)
	}
}
