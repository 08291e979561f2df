package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestE2EDemoInterrupted ends the demo with Ctrl-C, as soon as it has said its
// first word and once its workloads have checkpoints: no process and no file
// may be left behind.
func TestE2EDemoInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	for name, when := range map[string]string{
		"at its first word":     "",
		"with everything on it": "first checkpoint",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Cleanup(func() {
				if err := killDemo(dir, 10*time.Second); err != nil {
					t.Error(err)
				}
			})
			cmd := exec.Command(os.Args[0], "demo")
			cmd.Env = append(os.Environ(), "TMPDIR="+dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for lines.Scan() && !strings.Contains(lines.Text(), when) {
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, out) // until it has ended
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("exit status %d, want 130", code)
			}
			if left, err := demoProcesses(dir); err != nil || len(left) > 0 {
				t.Errorf("processes left: %v, %v", left, err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("files left: %v, %v", entries, err)
			}
		})
	}
}
