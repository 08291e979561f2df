package recording

import (
	"errors"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestTornJournal: what was written and could not be synced, nor be cut off again,
// is written once the disk works, and is there once; after a crash before that it
// is there once as well.
func TestTornJournal(t *testing.T) {
	for _, crash := range []bool{false, true} {
		dir := t.TempDir()
		now := epoch
		r := open(t, config(dir, func() time.Time { return now }))
		g := forestall.GPU("n1", 0)
		record := func(s int) {
			at := epoch.Add(time.Duration(s) * time.Second)
			r.Record(g, at, []forestall.Sample{sample(g, at, "a", float64(s))}, -1)
		}
		record(1)
		r.flush()
		full := errors.New("the disk fails")
		r.faults = faults{afterWrite: func() error { return full }, beforeTruncate: func() error { return full }}
		record(2)
		if err := r.Flush(); !errors.Is(err, full) {
			t.Error(err)
		}
		now = now.Add(2 * time.Hour)
		record(3)
		r.flush()
		r.rotate() // packs nothing
		if files := names(t, dir); len(files) != 1 {
			t.Errorf("files %q, want the journal alone", files)
		}
		want := 3
		if crash {
			want = 2 // what was never written is gone
			for _, s := range r.streams {
				s.file.Close()
			}
			clear(r.streams)
			clear(r.pending)
			r.packAll()
		} else {
			r.faults = faults{}
			if err := r.Flush(); err != nil {
				t.Error(err)
			}
			r.rotate()
		}
		recorded, err := Read(dir, Samples, forestall.KindUnknown)
		if err != nil {
			t.Fatal(err)
		}
		scrapes := collect(t, recorded.Scrapes(t.Context()))
		if len(scrapes) != want {
			t.Fatalf("crash %v: %d scrapes, want %d: %v", crash, len(scrapes), want, scrapes)
		}
		for i, s := range scrapes {
			if s[0].Value != float64(i+1) {
				t.Errorf("scrape %d is %v", i, s)
			}
		}
	}
}
