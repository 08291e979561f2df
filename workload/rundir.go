package workload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// runDir is where the shim of one workload and the supervisor meet. Only the
// holder of run.lock writes shim and exit; only the supervisor writes floor,
// launch and acknowledged.
type runDir string

func (d runDir) path(name string) string { return filepath.Join(string(d), name) }

const (
	lockFile   = "run.lock"
	floorFile  = "floor"
	launchFile = "launch"
	shimFile   = "shim"
	exitFile   = "exit"
	ackFile    = "acknowledged"
	socketFile = "shim.sock"
	shimLog    = "shim.log"
	outputLog  = "output.log"
)

// floorRecord keeps the two numbers of ADR 1. An engine forks no shim for an
// epoch up to Floor; a shim that one has forked starts nothing up to Stopped.
type floorRecord struct {
	Floor   forestall.Epoch `json:"floor"`             // the highest epoch launched or stopped
	Stopped forestall.Epoch `json:"stopped,omitempty"` // the highest epoch said to be over, at most Floor
}

// shimRecord marks an epoch as used: it is written before the workload starts
// and again with its process ID.
type shimRecord struct {
	Epoch   forestall.Epoch `json:"epoch"`
	Boot    string          `json:"boot"`
	Shim    processID       `json:"shim"`
	Main    processID       `json:"main"` // zero until it has started; also the process group
	Started time.Time       `json:"started"`
}

// ackRecord says that exits up to an epoch need not be reported again. It is a
// file of its own because a shim may be writing the next exit.
type ackRecord struct {
	Epoch forestall.Epoch `json:"epoch"`
}

// Exited is the end of a run of a workload.
type Exited struct {
	Workload string `json:"workload"`
	forestall.Exit
}

// floor returns the recorded floor, zero if there is none yet.
func (d runDir) floor() (floorRecord, error) {
	var r floorRecord
	err := readRecord(d.path(floorFile), "floor", &r)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("%w; nothing is started until it is removed, which is safe once no older run of the workload lives anywhere", err)
	}
	return r, nil
}

// markLaunched raises the floor to e, durably, before a shim is forked for it.
func (d runDir) markLaunched(e forestall.Epoch) error {
	return d.raiseFloor(floorRecord{Floor: e})
}

// markStopped makes sure, durably, that no shim that has yet to look at the
// floor starts an epoch up to e. One that has looked holds the lock: whoever
// says that e is over takes the lock after this.
func (d runDir) markStopped(e forestall.Epoch) error {
	return d.raiseFloor(floorRecord{Floor: e, Stopped: e})
}

func (d runDir) raiseFloor(to floorRecord) error {
	old, err := d.floor()
	if err != nil {
		return err
	}
	raised := floorRecord{max(old.Floor, to.Floor), max(old.Stopped, to.Stopped)}
	if raised == old {
		return nil
	}
	return writeRecord(d.path(floorFile), "floor", raised)
}

// readLaunch returns what was launched last; os.ErrNotExist if nothing was.
func (d runDir) readLaunch() (l Launch, err error) {
	err = readRecord(d.path(launchFile), "launch", &l)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return l, fmt.Errorf("%w; nothing is started until it is removed, which is safe once none of the workload's processes lives here", err)
	}
	return l, err
}

// optional reads a record that may be missing or, after a crash of the disk,
// damaged; ok says whether it was there and whole.
func optional[T any](path, kind string) (v T, ok bool) {
	err := readRecord(path, kind, &v)
	return v, err == nil
}

func (d runDir) shim() (shimRecord, bool) { return optional[shimRecord](d.path(shimFile), "shim") }
func (d runDir) exit() (Exited, bool)     { return optional[Exited](d.path(exitFile), "exit") }

func (d runDir) writeExit(e Exited) error { return writeRecord(d.path(exitFile), "exit", e) }

func (d runDir) acknowledged(e forestall.Epoch) bool {
	r, _ := optional[ackRecord](d.path(ackFile), "acknowledged")
	return r.Epoch >= e
}

func (d runDir) acknowledge(e forestall.Epoch) error {
	if d.acknowledged(e) {
		return nil
	}
	return writeRecord(d.path(ackFile), "acknowledged", ackRecord{e})
}

// lock is an flock on run.lock. It belongs to the open file, hence to every
// process that inherited it.
type lock struct{ f *os.File }

// tryLock takes the lock if it is free. It returns nil without an error while
// some process of a run, or for a moment another look at the lock, holds it.
func (d runDir) tryLock() (*lock, error) {
	// Readable only: it becomes the workload's standard input, an empty file.
	f, err := os.OpenFile(d.path(lockFile), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the run lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return &lock{f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", d.path(lockFile), err)
}

// release gives the lock up, also for a child that is just being forked.
func (l *lock) release() {
	_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN)
	l.f.Close()
}

// dialUnix connects to a unix socket whatever the length of its path, which
// the kernel limits to 107 bytes: it goes through an open directory.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	if len(path) < 108 {
		return dialer.DialContext(ctx, "unix", path)
	}
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	conn, err := dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return conn, nil
}

// bootID returns the kernel's ID of this boot.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot ID: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// tail returns the last lines of a file for an error message, on one line.
func tail(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	b := make([]byte, min(n, info.Size()))
	read, _ := f.ReadAt(b, info.Size()-int64(len(b)))
	return strings.Join(strings.Fields(string(b[:read])), " ")
}
