package recording

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestRecent reads six files of an hour and twelve scrapes each, the last one a
// journal: only those that are new enough and few enough.
func TestRecent(t *testing.T) {
	dir := t.TempDir()
	c := forestall.GPU("n1", 0)
	if _, _, err := Recent(dir, epoch, 1000); !errors.Is(err, ErrEmpty) {
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
		r, from, err := Recent(dir, epoch.Add(tt.since), tt.limit)
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
	if _, _, err := Recent(dir, epoch.Add(7*time.Hour), 1000); !errors.Is(err, ErrEmpty) {
		t.Errorf("when all is old: %v", err)
	}
}
