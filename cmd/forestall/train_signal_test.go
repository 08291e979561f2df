package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// TestTrainSignal ends trainings by signals to a process: what is known by then
// makes the model.
func TestTrainSignal(t *testing.T) {
	table := plainTable(t, "t.csv", 60, 1)
	for _, tc := range []struct {
		name  string
		at    string // words of the line after which the signal comes
		then  string // of a later line, after which another one comes
		flags []string
		says  string
	}{
		{"trees", `"tree":3,`, "", []string{"--drop", "note,at,hour,unit"}, "; interrupted"},
		{"calibration", `"tree":3,`, "", []string{"--drop", "note,at,unit", "--time", "hour", "--calibrate", "20%"}, "Calibrated with"},
		{"folds", `"fold":1, "name"`, `{"leaves" "tree":3,`, []string{"--drop", "note,at,hour", "--group", "unit", "--folds", "50"}, "There are no more folds because it was interrupted."},
		{"search", `"abandoned" "trial":1}`, `{"leaves" "tree":1,`, []string{"--drop", "note,at,hour", "--group", "unit", "--folds", "2", "--search", "1000", "--search-trees", "30"}, "the search ended because it was interrupted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "m")
			// The process cannot have all trees before the signal: its lines fill
			// the pipe, and it waits until they are read.
			cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"train", "--table", table, "--label", "fails", "--trees", "5000", "--leaves", "3", "--json", "--out", dir}, tc.flags...)...)
			var out strings.Builder
			cmd.Stdout = &out
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			lines := bufio.NewScanner(stderr)
			for _, at := range []string{tc.at, tc.then} {
				if at == "" {
					continue
				}
				await(t, lines, at)
				if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = io.Copy(io.Discard, stderr)
			if err := cmd.Wait(); err != nil {
				t.Fatalf("exit: %v", err)
			}
			if !strings.Contains(out.String(), tc.says) {
				t.Errorf("train says not %q:\n%s", tc.says, out.String())
			}
			m, err := model.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if n := m.Trees(); n < 1 || n == 5000 {
				t.Errorf("%d trees", n)
			}
		})
	}
}

// await reads lines until one has all of the text's words.
func await(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	for lines.Scan() {
		found := true
		for _, word := range strings.Fields(text) {
			found = found && strings.Contains(lines.Text(), word)
		}
		if found {
			return
		}
	}
	t.Fatalf("it never came to %s: %v", text, lines.Err())
}
