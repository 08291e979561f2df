package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// demoProcess is a process that belongs to a directory of the demo.
type demoProcess struct {
	pid  int
	role string // its command: "engine", "shim" or "worker"
}

// demoProcesses returns the processes of this very program that name a path
// under dir in their command line or environment: engines by their
// configuration, shims by their run directory, workers by their state
// directory. Engines come first, workers last.
func demoProcesses(dir string) ([]demoProcess, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for processes: %w", err)
	}
	program, err := os.Stat("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("look for this program: %w", err)
	}
	var found []demoProcess
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if role, ok := belongsTo(pid, program, dir); ok {
			found = append(found, demoProcess{pid, role})
		}
	}
	slices.SortStableFunc(found, func(a, b demoProcess) int { return roleOrder(a.role) - roleOrder(b.role) })
	return found, nil
}

func roleOrder(role string) int { return slices.Index([]string{"engine", "shim", "worker"}, role) }

// belongsTo reports whether a process runs the program and names a path under
// dir. One that has ended, or another user's, doesn't.
func belongsTo(pid int, program os.FileInfo, dir string) (role string, ok bool) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	exe, err := os.Stat(filepath.Join(proc, "exe"))
	if err != nil || !os.SameFile(exe, program) {
		return "", false
	}
	cmdline, _ := os.ReadFile(filepath.Join(proc, "cmdline")) // empty: it has just ended
	environ, _ := os.ReadFile(filepath.Join(proc, "environ"))
	args := bytes.Split(cmdline, []byte{0})
	if len(args) < 2 {
		return "", false
	}
	under := []byte(filepath.Clean(dir) + "/")
	return string(args[1]), bytes.Contains(cmdline, under) || bytes.Contains(environ, under)
}

// signalDemo sends a signal to every process that belongs to dir, or only to
// those of one role, and returns how many there were.
func signalDemo(dir, role string, signal syscall.Signal) (int, error) {
	all, err := demoProcesses(dir)
	if err != nil {
		return 0, err
	}
	program, err := os.Stat("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("look for this program: %w", err)
	}
	n := 0
	for _, p := range all {
		if role != "" && p.role != role {
			continue
		}
		n++
		// The descriptor pins the process: once it is open and the process
		// still belongs to dir, nobody else can have its number.
		fd, err := unix.PidfdOpen(p.pid, 0)
		if err != nil {
			continue
		}
		if _, ok := belongsTo(p.pid, program, dir); ok {
			_ = unix.PidfdSendSignal(fd, signal, nil, 0) // fails if it has ended
		}
		unix.Close(fd) //nolint:errcheck // nothing was written
	}
	return n, nil
}

// errDemoLives is wrapped by the error about processes that don't end.
var errDemoLives = errors.New("processes do not end")

// killDemo kills every process that belongs to dir and returns once there is
// none.
func killDemo(dir string, limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		n, err := signalDemo(dir, "", unix.SIGKILL)
		if err != nil || n == 0 {
			return err
		}
		if time.Now().After(end) {
			all, _ := demoProcesses(dir)
			return fmt.Errorf("%w: %v under %s; end them with kill -9", errDemoLives, all, dir)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// awaitDemoGone waits until no process belongs to dir, false if the limit
// comes first.
func awaitDemoGone(dir string, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; {
		all, err := demoProcesses(dir)
		if err == nil && len(all) == 0 {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}
