package gpu_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/testdata/history"
	"github.com/stratoswarm/forestall/train"
)

// TestHistoryIsGenerated: testdata/history is what the simulator gives today.
func TestHistoryIsGenerated(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skipf("%s rounds floating point otherwise than amd64, on which the files were written", runtime.GOARCH)
	}
	var samples, incidents bytes.Buffer
	if err := history.Record(t.Context(), &samples); err != nil {
		t.Fatal(err)
	}
	if err := train.WriteIncidents(&incidents, history.Incidents()); err != nil {
		t.Fatal(err)
	}
	for name, fresh := range map[string][]byte{"samples.csv.gz": samples.Bytes(), "incidents.csv": incidents.Bytes()} {
		kept := contents(t, filepath.Join("..", "testdata", "history", name))
		if sha256.Sum256(kept) != sha256.Sum256(fresh) {
			t.Errorf("%s differs from what the simulator gives; if that is meant, run: go run ./testdata/gen\n%s", name, firstDifference(kept, fresh))
		}
	}
}

// TestHistoryIsSorted: readers of the history rely on it.
func TestHistoryIsSorted(t *testing.T) {
	t.Parallel()
	header, rows, _ := strings.Cut(string(contents(t, filepath.Join("..", "testdata", "history", "samples.csv.gz"))), "\n")
	if want := "unix_ms,component,metric,value"; header != want {
		t.Errorf("header %q, want %q", header, want)
	}
	last := int64(0)
	for row := range strings.Lines(rows) {
		stamp, _, _ := strings.Cut(row, ",")
		ms, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil || ms < last || strings.Count(row, ",") != 3 {
			t.Fatalf("row %q after %d", row, last)
		}
		last = ms
	}
}

// contents reads a file, unpacked.
func contents(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, ".gz") {
		return b
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return b
}

func firstDifference(want, got []byte) string {
	w, g := bytes.Split(want, []byte("\n")), bytes.Split(got, []byte("\n"))
	for i := range min(len(w), len(g)) {
		if !bytes.Equal(w[i], g[i]) {
			return "line " + strconv.Itoa(i+1) + ":\n-" + string(w[i]) + "\n+" + string(g[i])
		}
	}
	return "one of them is longer"
}
