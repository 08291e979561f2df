package features

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

func readJournal(t testing.TB, text string) (samples []forestall.Sample, damaged int) {
	t.Helper()
	damaged, err := ReadJournal(strings.NewReader(text), func(s forestall.Sample) error {
		samples = append(samples, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return samples, damaged
}

func TestReadJournal(t *testing.T) {
	c, n := forestall.GPU("n1", 0), forestall.Node("n1")
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	var b []byte
	b = AppendScrape(b, c, at(2), []forestall.Sample{{Metric: "a", Value: 1.5}, {Metric: "b", Value: math.NaN()}}, time.Second)
	b = AppendScrape(b, n, at(1), nil, -1)
	b = AppendScrape(b, n, at(3), []forestall.Sample{{Metric: MetricScrapeLatency, Value: 7}}, time.Second)
	want := []forestall.Sample{
		sample(c, at(2), "a", 1.5), sample(c, at(2), "b", math.NaN()), sample(c, at(2), MetricScrapeLatency, 1),
		sample(n, at(1), MetricScrapeLatency, math.NaN()), sample(n, at(3), MetricScrapeLatency, 7),
	}
	got, damaged := readJournal(t, string(b))
	if diff := cmp.Diff(want, got, equalNaN); diff != "" || damaged != 0 {
		t.Errorf("%d damaged (-want +got):\n%s", damaged, diff)
	}
	whole := "1000,gpu/n1/0,a,1\n"
	for _, tt := range []struct {
		name, text string
		good, bad  int
	}{
		{"empty", "", 0, 0},
		{"cut off", whole + whole[:10], 1, 1},
		{"cut off before its end", whole + "2000,gpu/n1/0,a,12", 1, 1},
		{"zeros between", whole + "\x00\x00\x00\n" + whole, 2, 1},
		{"a long line between", whole + strings.Repeat("x", 3*maxHistoryLine) + "\n" + whole, 2, 1},
		{"a long line last", whole + strings.Repeat("x", 3*maxHistoryLine), 1, 1},
		{"a blank line", whole + "\n" + whole, 2, 1},
	} {
		if got, damaged := readJournal(t, tt.text); len(got) != tt.good || damaged != tt.bad {
			t.Errorf("%s: %d samples and %d damaged lines, want %d and %d", tt.name, len(got), damaged, tt.good, tt.bad)
		}
	}
	broken := errors.New("disk on fire")
	if _, err := ReadJournal(iotest.ErrReader(broken), nil); !errors.Is(err, broken) {
		t.Errorf("a broken disk: %v", err)
	}
}

// FuzzReadJournal: what is read can be written and read again.
func FuzzReadJournal(f *testing.F) {
	f.Add([]byte("1000,gpu/n1/0,a,1\n1000,gpu/n1/0,b,\n2000,node/n1,c,1e-7\nx"))
	f.Add([]byte("\x00\n,,,\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		samples, damaged := readJournal(t, string(text))
		if len(samples)+damaged > bytes.Count(text, []byte{'\n'})+1 {
			t.Fatalf("%d samples and %d damaged lines of %q", len(samples), damaged, text)
		}
		var b []byte
		for _, s := range samples {
			if s.Metric == MetricScrapeLatency {
				continue
			}
			b = AppendScrape(b, s.Component, s.Time, []forestall.Sample{s}, -1)
		}
		again, damaged := readJournal(t, string(b))
		if damaged != 0 {
			t.Fatalf("%d damaged lines in %q", damaged, b)
		}
		i := 0
		for _, s := range samples {
			if s.Metric == MetricScrapeLatency {
				continue
			}
			if diff := cmp.Diff(s, again[i], equalNaN); diff != "" {
				t.Fatal(diff)
			}
			i++
		}
	})
}
