package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestRestoreRefusesADirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	if err := notInUse(dir); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sleep", "60")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err := notInUse(dir)
	if kerr := cmd.Process.Kill(); kerr != nil {
		t.Fatal(kerr)
	}
	_ = cmd.Wait()
	if err == nil || !strings.Contains(err.Error(), "/bin/sleep 60") {
		t.Errorf("a directory in which sleep works: %v", err)
	}
	if err := notInUse(dir); err != nil {
		t.Errorf("when it has ended: %v", err)
	}
}
