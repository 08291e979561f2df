package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// TestPredictInOrder: what goes through several goroutines comes out in the
// table's order, each row as if it were alone.
func TestPredictInOrder(t *testing.T) {
	path := plainTable(t, "t.csv", 60, 6)
	dir := filepath.Join(t.TempDir(), "m")
	forestallRun(t, 0, "train", "--table", path, "--label", "fails", "--drop", "unit,note,at", "--trees", "20", "--out", dir)
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	printed := predicted(t, 2+m.NumFeatures(), dir, path, "--contributions")
	i := 0
	shares := make([]float64, m.NumFeatures()+1)
	err = train.ScanTable(t.Context(), path, m.Features(), func(row []float64) error {
		p, err := m.Probability(row)
		if err := errors.Join(err, m.Contributions(row, shares)); err != nil {
			return err
		}
		for k, want := range append([]float64{p}, shares...) {
			if math.Abs(printed[i][k]-want) > 1e-15 {
				t.Fatalf("row %d, column %d: %v is printed instead of %v", i, k, printed[i][k], want)
			}
		}
		i++
		return err
	})
	if err != nil || i != len(printed) || i < 4*blockRows {
		t.Errorf("%d rows, %d printed, %v", i, len(printed), err)
	}

	// A bad cell ends the output after the row before it.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	lines[700] = strings.Replace(lines[700], ",", ",x", 1)
	bad := filepath.Join(t.TempDir(), "bad.csv")
	if err := os.WriteFile(bad, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	out, stderr := forestallRun(t, 1, "predict", "--model", dir, "--table", bad)
	if n := strings.Count(out, "\n"); n != 700 || !strings.Contains(stderr, "line 701, column 2 (hour)") {
		t.Errorf("%d lines, %q", n, stderr)
	}

	// A reader of the output that has gone ends it at once.
	in := openTable(t, path)
	gone := errors.New("gone")
	err = (&predictCmd{}).predict(t.Context(), m, in, writerFunc(func([]byte) (int, error) { return 0, gone }))
	if !errors.Is(err, gone) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	err = (&predictCmd{}).predict(stopped, m, openTable(t, path), writerFunc(func(b []byte) (int, error) { return len(b), nil }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func openTable(t *testing.T, path string) *table.Table {
	t.Helper()
	in, err := table.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	return in
}

// Rows that come through a pipe are scored on their way; what must be read twice
// says so.
func TestPredictStandardInput(t *testing.T) {
	t.Parallel()
	path, dir := plainTable(t, "t.csv", 60, 6), filepath.Join(t.TempDir(), "m")
	train := []string{"train", "--label", "fails", "--drop", "unit,note,at", "--trees", "5", "--out", dir}
	runs(t, append(train, "--table", path)...)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	piped := func(stdin []byte, args ...string) (string, error) {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Stdin = bytes.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	predict := []string{"predict", "--model", dir, "--table", "-"}
	for _, stdin := range [][]byte{text, tabletest.Gzip(t, string(text))} {
		if out, err := piped(stdin, predict...); err != nil || out != runs(t, "predict", "--model", dir, "--table", path) {
			t.Errorf("%v, %.200s", err, out)
		}
	}
	for want, c := range map[string]struct {
		stdin string
		args  []string
	}{
		"standard input: line 1: column \"hour\" is missing":     {"a\n1\n", predict},
		"standard input: line 2: the row has 1 cells":            {strings.SplitAfter(string(text), "\n")[0] + "7\n", predict},
		"standard input: a Parquet file is read in parts":        {"PAR1", predict},
		"standard input: the file is empty":                      {"", predict},
		"standard input can be read once, and this table may be": {string(text), append(train, "--table", "-")},
	} {
		if out, err := piped([]byte(c.stdin), c.args...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%v, %.300s\nwant %s", err, out, want)
		}
	}
}

// Ctrl-C ends the wait for rows that do not come.
func TestPredictWaits(t *testing.T) {
	t.Parallel()
	path, dir := plainTable(t, "t.csv", 60, 6), filepath.Join(t.TempDir(), "m")
	runs(t, "train", "--table", path, "--label", "fails", "--drop", "unit,note,at", "--trees", "5", "--out", dir)
	cmd := exec.Command(os.Args[0], "predict", "--model", dir, "--table", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	printed := make(chan struct{}, 1)
	cmd.Stderr, cmd.Stdout = &errs, writerFunc(func(b []byte) (int, error) {
		select {
		case printed <- struct{}{}:
		default:
		}
		return len(b), nil
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header, rows, _ := bytes.Cut(text, []byte("\n"))
	if _, err := in.Write(slices.Concat(header, []byte("\n"), bytes.Repeat(rows, 1+(1<<20)/len(rows)))); err != nil {
		t.Fatal(err)
	}
	<-printed
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || errs.String() != "forestall predict: interrupted\n" {
		t.Errorf("%v, %s", err, &errs)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
