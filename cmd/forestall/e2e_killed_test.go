package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestE2EKilledAtSyscalls kills a checkpoint's process with SIGKILL as it enters the
// n-th system call of a kind, for each n that a thread reaches: what was acknowledged
// can be restored, what was not leaves the checkpoint before and, once the next has
// been taken, no trace. strace counts each thread's calls by themselves, so not every
// call of a process with many is met; that each file operation is, package
// checkpoint's TestKilledAtEveryOperation sees to.
func TestE2EKilledAtSyscalls(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two hundred processes; run without -short")
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("there is no strace; apt-get install strace to kill a checkpoint at its system calls")
	}
	t.Parallel()
	dir := t.TempDir()
	source, first, store, out := filepath.Join(dir, "src"), filepath.Join(dir, "first"), filepath.Join(dir, "store"), filepath.Join(dir, "out")
	file := filepath.Join(source, "state")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(source, 0o755))
	before, after := bytes.Repeat([]byte("before "), 20_000), bytes.Repeat([]byte("after "), 50_000)
	must(os.WriteFile(file, before, 0o600))
	succeeds := func(what string, args ...string) {
		t.Helper()
		if status, _, errs := commandLine(args...); status != 0 {
			t.Fatalf("%s: %s: status %d: %s", what, strings.Join(args[:2], " "), status, errs)
		}
	}
	succeeds("first", "checkpoints", "create", "w", "--store", first, "--source", source)
	must(os.WriteFile(file, after, 0o600))
	killed, kept := 0, map[string]int{}
	for _, call := range []string{
		"openat", "write", "pwrite64", "fsync", "fdatasync", "renameat", "renameat2", "linkat", "unlinkat", "mkdirat", "ftruncate", "close", "flock",
		"fcntl", "read", "pread64", "newfstatat", "getdents64",
	} {
		for n := 1; ; n++ {
			at := fmt.Sprintf("%s %d", call, n)
			must(os.RemoveAll(store))
			must(os.RemoveAll(out))
			must(os.CopyFS(store, os.DirFS(first)))
			cmd := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n),
				os.Args[0], "checkpoints", "create", "w", "--store", store, "--source", source, "--json")
			var errs bytes.Buffer
			cmd.Stderr = &errs
			said, err := cmd.Output()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if err != nil {
				status, ended := cmd.ProcessState.Sys().(syscall.WaitStatus)
				switch {
				case ended && status.Signaled() && status.Signal() == syscall.SIGKILL: // strace ends as what it traces
				case killed == 0:
					t.Skipf("strace cannot kill a process here: %v: %s", err, errs.Bytes())
				default:
					t.Fatalf("%s: %v: %s", at, err, errs.Bytes())
				}
			}
			succeeds(at, "checkpoints", "verify", "--store", store)
			succeeds(at, "restore", "--store", store, "--to", out)
			got, readErr := os.ReadFile(filepath.Join(out, "state"))
			must(readErr)
			switch {
			case bytes.Equal(got, after):
				kept["new"]++
			case !bytes.Equal(got, before):
				t.Fatalf("%s: what is restored is neither what was nor what is", at)
			case bytes.Contains(said, []byte(`"id"`)):
				t.Fatalf("%s: the checkpoint was acknowledged and is not there", at)
			default:
				kept["old"]++
			}
			succeeds(at, "checkpoints", "create", "w", "--store", store, "--source", source)
			succeeds(at, "checkpoints", "verify", "--store", store)
			for _, place := range []string{"tmp", "stage"} {
				left, readErr := os.ReadDir(filepath.Join(store, place))
				must(readErr)
				if len(left) > 0 {
					t.Fatalf("%s: %s/%s is left", at, place, left[0].Name())
				}
			}
			if err == nil { // no thread gets so far
				break
			}
			killed++
		}
	}
	t.Logf("killed at %d system calls; restored: %v", killed, kept)
	if killed < 50 || kept["old"] == 0 || kept["new"] == 0 {
		t.Errorf("killed at %d system calls; restored: %v", killed, kept)
	}
}
