package recording

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

func segmentFile(t testing.TB, path string, from, n int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f, Samples, forestall.KindGPU, "", []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		c := forestall.GPU("n1", i%2)
		if err := w.Write(epoch.Add(time.Duration(from+i/2)*time.Second), c, []float64{float64(i), 0.5}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir, Samples, forestall.KindUnknown); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty directory: %v", err)
	}
	segmentFile(t, filepath.Join(dir, "one.parquet"), 0, 10)
	if _, err := Read(dir, Samples, forestall.KindNode); !errors.Is(err, ErrEmpty) || !strings.Contains(err.Error(), "it holds no samples of kind node") {
		t.Errorf("another kind: %v", err)
	}
	if _, err := Read(dir, Vectors, forestall.KindUnknown); !errors.Is(err, ErrEmpty) {
		t.Errorf("another content: %v", err)
	}
	r, err := Read(dir, Samples, forestall.KindGPU)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(collect(t, r.Scrapes(t.Context()))); got != 10 {
		t.Errorf("%d scrapes, want 10", got)
	}

	segmentFile(t, filepath.Join(dir, "two.parquet"), 4, 10) // begins when the other ends
	r, err = Read(dir, Samples, forestall.KindGPU)
	if err != nil {
		t.Fatal(err)
	}
	for _, err = range r.Scrapes(t.Context()) {
		if err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "gpu/n1/0 at 2026-01-01T00:00:04Z is also in") {
		t.Errorf("a scrape twice: %v", err)
	}

	for name, text := range map[string]string{"x.parquet": "PAR1PAR1PAR1", "x": "nonsense"} {
		write(t, filepath.Join(dir, name), text)
		if _, err := Read(filepath.Join(dir, name), Samples, forestall.KindUnknown); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriterRefusesColumns(t *testing.T) {
	for _, metrics := range [][]string{{"a", "a"}, {"time"}, {""}} {
		if _, err := NewWriter(nil, Samples, forestall.KindGPU, "", metrics); err == nil {
			t.Errorf("columns %q are taken", metrics)
		}
	}
}

// FuzzSegment reads damaged segments: an error or rows, in bounded memory.
func FuzzSegment(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed.parquet")
	segmentFile(f, path, 0, 50)
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte("PAR1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "x.parquet")
		write(t, path, string(text))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := Read(path, Samples, forestall.KindUnknown)
		if err == nil {
			n := 0
			var last time.Time
			for scrape, err := range r.Scrapes(t.Context()) {
				if err != nil {
					break
				}
				if len(scrape) == 0 || scrape[0].Time.Before(last) || scrape[0].Component.IsZero() {
					t.Fatalf("scrape %d: %v after %v", n, scrape, last)
				}
				last = scrape[0].Time
				if n++; n > 1<<14 {
					break
				}
			}
		}
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 400<<20 {
			t.Errorf("%d bytes of memory for a file of %d", taken, len(text))
		}
	})
}
