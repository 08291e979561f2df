package workload

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processID names a process for good: IDs are used again, but not with the
// same start time.
type processID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
}

// process is one line of /proc/PID/stat.
type process struct {
	processID
	state                  byte // R, S, D, T, t, Z, X, ...
	parent, group, session int
}

func (p process) dead() bool    { return p.state == 'Z' || p.state == 'X' || p.state == 'x' }
func (p process) stopped() bool { return p.state == 'T' || p.state == 't' }

// parseStat reads /proc/PID/stat; see proc_pid_stat(5).
func parseStat(b []byte) (process, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')') // the name in between may hold both
	if open < 0 || end < open {
		return process{}, errors.New("malformed stat line: no command name")
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 20 || len(fields[0]) != 1 {
		return process{}, fmt.Errorf("malformed stat line: %d fields after the name, want at least 20", len(fields))
	}
	var bad error
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			bad = fmt.Errorf("malformed stat line: %w", err)
		}
		return n
	}
	p := process{
		processID: processID{int(number(strings.TrimSpace(string(b[:open])))), uint64(number(fields[19]))},
		state:     fields[0][0],
		parent:    int(number(fields[1])),
		group:     int(number(fields[2])),
		session:   int(number(fields[3])),
	}
	return p, bad
}

// readProcess returns the process with that ID; os.ErrNotExist if none has it.
func readProcess(pid int) (process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrNotExist
	}
	if err != nil {
		return process{}, err
	}
	return parseStat(b)
}

// alive reports whether exactly this process runs, a zombie not counted.
func (id processID) alive() bool {
	if id.PID <= 0 {
		return false
	}
	p, err := readProcess(id.PID)
	return err == nil && p.processID == id && !p.dead()
}

// processes returns all processes that /proc shows, without those that ended
// while it was read.
func processes() ([]process, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := make([]process, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

// descendants returns the processes of all below root, root not included.
func descendants(all []process, root int) []process {
	children := make(map[int][]process)
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	var found []process
	for queue := children[root]; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		found = append(found, p)
		queue = append(queue, children[p.PID]...)
	}
	return found
}

// signal sends sig to exactly this process; it is no error if it has ended.
func (id processID) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", id.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	// The descriptor holds the ID: if it is this process now, it stays so.
	if p, err := readProcess(id.PID); err != nil || p.processID != id {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %v to process %d: %w", sig, id.PID, err)
	}
	return nil
}

// handles reports whether the process has a handler for the signal, which
// would otherwise end it or be lost.
func handles(pid int, sig unix.Signal) (bool, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false, err
	}
	_, rest, ok := strings.Cut(string(b), "\nSigCgt:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if !ok || err != nil {
		return false, fmt.Errorf("read the signals that process %d handles: malformed status", pid)
	}
	return mask&(1<<(sig-1)) != 0, nil
}

// errQuit ends a wait whose quit channel was closed.
var errQuit = errors.New("quit")

// wait blocks until exactly this process has ended, a zombie included, and
// reaps it if it is a child of the caller.
func (id processID) wait(quit <-chan struct{}) error {
	fd, err := unix.PidfdOpen(id.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", id.PID, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	if p, err := readProcess(id.PID); err != nil || p.processID != id {
		return nil
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch process %d: %w", id.PID, err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- conn.Read(func(fd uintptr) bool {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(p, 0)
			return err == nil && n > 0
		})
	}()
	select {
	case err = <-ended:
	case <-quit:
		f.Close()
		return errors.Join(errQuit, <-ended) // the second only says that it is closed
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", id.PID, err)
	}
	_, _ = unix.Wait4(id.PID, nil, unix.WNOHANG, nil) // not a child after a restart: init reaps it
	return nil
}
