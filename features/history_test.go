package features

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

var equalNaN = cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })

func readAll(r io.Reader) (groups [][]forestall.Sample, err error) {
	for group, e := range ReadHistory(r) {
		if e != nil {
			return groups, e
		}
		groups = append(groups, group)
	}
	return groups, nil
}

func TestReadHistory(t *testing.T) {
	text := HistoryHeader + `
1000,gpu/n1/0,gpu_power_watts,300.5
1000,gpu/n1/0,gpu_temperature_celsius,
1000,node/n1,node_open_files,7
2000,gpu/n1/0,gpu_power_watts,1e2
`
	c, n := forestall.GPU("n1", 0), forestall.Node("n1")
	at := time.Unix(1, 0).UTC()
	want := [][]forestall.Sample{
		{sample(c, at, "gpu_power_watts", 300.5), sample(c, at, "gpu_temperature_celsius", math.NaN())},
		{sample(n, at, "node_open_files", 7)},
		{sample(c, at.Add(time.Second), "gpu_power_watts", 100)},
	}
	var zipped bytes.Buffer
	gz := gzip.NewWriter(&zipped)
	if _, err := gz.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{
		"plain": strings.NewReader(text), "CRLF": strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")),
		"gzip": &zipped, "one byte at a time": iotest.OneByteReader(strings.NewReader(text)),
	} {
		got, err := readAll(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, equalNaN); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got, err := readAll(strings.NewReader(HistoryHeader + "\n")); err != nil || len(got) != 0 {
		t.Errorf("a history without samples: %v, %v", got, err)
	}
	for _, err := range ReadHistory(strings.NewReader(text)) {
		if err != nil {
			t.Error(err)
		}
		break // a consumer may stop
	}
}

func TestReadHistoryErrors(t *testing.T) {
	line := "1000,gpu/n1/0,gpu_power_watts,300\n"
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "line 1: empty, want the header"},
		{"no header", line, "line 1: header is"},
		{"three fields", HistoryHeader + "\n1000,gpu/n1/0,gpu_power_watts\n", "line 2: 3 fields"},
		{"five fields", HistoryHeader + "\n1000,gpu/n1/0,gpu_power_watts,1,2\n", "line 2: 5 fields"},
		{"blank line", HistoryHeader + "\n\n", "line 2: 1 fields"},
		{"time", HistoryHeader + "\n" + line + "1e3,gpu/n1/0,a,1\n", `line 3: time "1e3"`},
		{"negative time", HistoryHeader + "\n-1,gpu/n1/0,a,1\n", `line 2: time "-1"`},
		{"component", HistoryHeader + "\n1000,gpu/n1,a,1\n", "line 2: malformed name"},
		{"metric", HistoryHeader + "\n1000,gpu/n1/0,A,1\n", `line 2: metric "A"`},
		{"value", HistoryHeader + "\n1000,gpu/n1/0,a,warm\n", `line 2: value "warm"`},
		{"NaN", HistoryHeader + "\n1000,gpu/n1/0,a,NaN\n", "or nothing for one that was not reported"},
		{"infinity", HistoryHeader + "\n1000,gpu/n1/0,a,inf\n", `line 2: value "inf"`},
		{"back in time", HistoryHeader + "\n" + line + "999,gpu/n1/0,a,1\n", "line 3: time 999 after 1000"},
		{"twice", HistoryHeader + "\n" + line + line, "line 3: gpu_power_watts of gpu/n1/0 occurs twice"},
		{"in two places", HistoryHeader + "\n" + line + "1000,gpu/n1/1,a,1\n1000,gpu/n1/0,a,1\n", "line 4: gpu/n1/0 at 1000 occurs in two places"},
		{"long line", HistoryHeader + "\n" + line + strings.Repeat("x", maxHistoryLine+1), "line 3: longer than 4096 bytes"},
		{"broken gzip", "\x1f\x8bxx", "gzip"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readAll(strings.NewReader(tt.text))
			if !errors.Is(err, ErrHistory) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrHistory saying %q", err, tt.want)
			}
		})
	}
	broken := errors.New("disk on fire")
	_, err := readAll(io.MultiReader(strings.NewReader(HistoryHeader+"\n"+line), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || errors.Is(err, ErrHistory) {
		t.Errorf("error %v, want the reader's alone", err)
	}
}

func TestHistoryWriterRefuses(t *testing.T) {
	c := forestall.GPU("n1", 0)
	w := NewHistoryWriter(io.Discard)
	if err := w.Write([]forestall.Sample{sample(c, epoch, "a", 1)}, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Write([]forestall.Sample{sample(c, epoch.Add(-time.Second), "a", 1)}, 0); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("back in time: %v", err)
	}
	if err := w.Write([]forestall.Sample{sample(c, epoch.Add(time.Second), "a", 1), sample(c, epoch, "b", 1)}, 0); !errors.Is(err, ErrMixedBatch) {
		t.Errorf("two times: %v", err)
	}
}

func TestEmptyHistory(t *testing.T) {
	var file bytes.Buffer
	if err := NewHistoryWriter(&file).Close(); err != nil {
		t.Fatal(err)
	}
	if groups, err := readAll(&file); err != nil || len(groups) != 0 {
		t.Errorf("%v, %v", groups, err)
	}
}

// What was pushed online and recorded gives, replayed through another store,
// the same vectors bit for bit at every scrape, latency, gaps and missing
// values included.
func TestReplayIsBitIdentical(t *testing.T) {
	sim, err := gpu.NewSim(gpu.SimConfig{Node: "n1", GPUs: 2, Seed: 7, Now: func() time.Time { return epoch }})
	if err != nil {
		t.Fatal(err)
	}
	for i, mode := range []gpu.Mode{gpu.ModeTelemetryCollapse, gpu.ModeECCStorm} {
		if err := sim.Inject(i, mode, 3*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	online := newStore(t)
	var file bytes.Buffer
	recorder := NewHistoryWriter(&file)
	var want [][]float64
	at := epoch
	for i := range 100 {
		at = at.Add(time.Duration(2000+i*13)*time.Millisecond + 123*time.Microsecond) // finer than the record
		for g := range 2 {
			samples, err := sim.Read(context.Background(), at, "n1", g, nil)
			if err != nil {
				continue // it is gone
			}
			latency := time.Duration(1+i)*time.Millisecond + 7*time.Nanosecond
			if err := online.Push(samples, latency); err != nil {
				t.Fatal(err)
			}
			if err := recorder.Write(samples, latency); err != nil {
				t.Fatal(err)
			}
			online.With(samples[0].Component, func(w *Window) { want = append(want, w.Vector(nil)) })
		}
	}
	if err := recorder.Close(); err != nil {
		t.Fatal(err)
	}
	offline, n := newStore(t), 0
	for group, err := range ReadHistory(&file) {
		if err != nil {
			t.Fatal(err)
		}
		if err := offline.Push(group, -1); err != nil {
			t.Fatal(err)
		}
		offline.With(group[0].Component, func(w *Window) {
			if !sameBits(want[n], w.Vector(nil)) {
				t.Fatalf("scrape %d of %s: the vector differs", n, group[0].Component)
			}
		})
		n++
	}
	if n != len(want) || n < 100 {
		t.Errorf("%d of %d scrapes replayed", n, len(want))
	}
	if online.Ignored() != 0 {
		t.Errorf("%d samples ignored", online.Ignored())
	}
}

// The shared history is read to its end, and every metric in it is known.
func TestSharedHistory(t *testing.T) {
	f, err := os.Open("../testdata/history/samples.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, scrapes := newStore(t), 0
	for group, err := range ReadHistory(f) {
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Push(group, -1); err != nil {
			t.Fatal(err)
		}
		scrapes++
	}
	if got := len(s.Components()); got != 8 || scrapes < 5000 || s.Ignored() != 0 {
		t.Errorf("%d scrapes of %d components, %d samples ignored", scrapes, got, s.Ignored())
	}
}

// No file makes ReadHistory crash, and what it reads survives writing and
// reading again.
func FuzzReadHistory(f *testing.F) {
	f.Add([]byte(HistoryHeader + "\n1000,gpu/n1/0,gpu_power_watts,300.5\n1000,gpu/n1/0,b,\n1000,node/n1,a,-1e-300\n2000,gpu/n1/0,a,7\n"))
	f.Add([]byte(HistoryHeader + "\r\n0,agent/a,b,0x1p-2\r\n"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		groups, err := readAll(bytes.NewReader(file))
		if err != nil {
			if !errors.Is(err, ErrHistory) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, gzip.ErrChecksum) && !strings.Contains(err.Error(), "flate") && !errors.Is(err, gzip.ErrHeader) {
				t.Fatalf("error %v", err)
			}
			return
		}
		var again bytes.Buffer
		w := NewHistoryWriter(&again)
		for _, group := range groups {
			if err := w.Write(group, -1); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := readAll(&again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(groups, got, equalNaN); diff != "" {
			t.Errorf("read, written and read again (-first +second):\n%s", diff)
		}
	})
}
