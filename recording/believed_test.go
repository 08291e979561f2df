package recording

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

func TestBelieved(t *testing.T) {
	day := 24 * time.Hour
	now := epoch.Add(1000 * day)
	hourly := func(from time.Duration, n int) (files []stored) {
		for i := range n {
			files = append(files, stored{changed: now.Add(from + time.Duration(i)*time.Hour)})
		}
		return files
	}
	for name, c := range map[string]struct {
		files []stored
		want  time.Duration // after now
	}{
		"nothing":                       {nil, 0},
		"steady":                        {hourly(-100*time.Hour, 100), 0},
		"a leap, nothing since":         {hourly(-100*day, 10), -100*day + 9*time.Hour},
		"a leap, two hours ago":         {append(hourly(-100*day, 10), hourly(-2*time.Hour, 2)...), -100*day + 9*time.Hour},
		"a leap that stands":            {append(hourly(-100*day, 10), hourly(-30*time.Hour, 30)...), 0},
		"set back: files of the future": {append(hourly(-100*time.Hour, 100), hourly(100*day, 3)...), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := believed(c.files, now).Sub(now); got != c.want {
				t.Errorf("believed is %v after now; want %v", got, c.want)
			}
		})
	}
}

// TestClockLeapKeepsRecording: packing while the clock is 100 days ahead removes
// nothing of the files that were young before.
func TestClockLeapKeepsRecording(t *testing.T) {
	dir := t.TempDir()
	now := epoch
	r := open(t, config(dir, func() time.Time { return now }))
	for i := range 20 {
		at := epoch.Add(time.Duration(i) * time.Hour)
		path := filepath.Join(dir, segmentName(Samples, forestall.KindGPU, newID(at)))
		write(t, path, "x")
		if err := os.Chtimes(path, time.Time{}, at); err != nil {
			t.Fatal(err)
		}
	}
	r.cfg.MaxAge = 5 * 24 * time.Hour
	for hours, want := range map[int]int{100 * 24: 20, 20: 20} {
		now = epoch.Add(time.Duration(hours) * time.Hour)
		if err := r.keep(); err != nil {
			t.Fatal(err)
		}
		if got := len(names(t, dir)); got != want {
			t.Errorf("%d files at %s; want %d", got, now, want)
		}
	}
}
