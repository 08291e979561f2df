package workload

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// leftovers returns the processes of a run whose shim is gone: those that
// carry its token in their environment, that hold its lock open, or that are in
// the workload's process group and the shim's session. One that has left all
// three is not found.
func leftovers(all []process, token, lockPath string, shim shimRecord) []process {
	byID := make(map[int]process, len(all))
	for _, p := range all {
		byID[p.PID] = p
	}
	var found []process
	for _, p := range all {
		if p.dead() || p.PID == os.Getpid() {
			continue
		}
		if inGroup(p, shim, byID) || hasToken(p.PID, token) || holdsLock(p, lockPath, shim) {
			found = append(found, p)
		}
	}
	return found
}

// inGroup reports whether p belongs to the run's process group. The group's
// number cannot be used again while a member lives; if its leader's ID has
// another start time, the group is somebody else's.
func inGroup(p process, shim shimRecord, byID map[int]process) bool {
	if shim.Main.PID == 0 || p.group != shim.Main.PID || p.session != shim.Shim.PID || p.Start < shim.Main.Start {
		return false
	}
	leader, exists := byID[shim.Main.PID]
	return !exists || leader.processID == shim.Main
}

// hasToken reports whether the process was started with the run's token.
func hasToken(pid int, token string) bool {
	if token == "" {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false // ended, or another user's: not started by us
	}
	want := []byte(tokenVariable + "=" + token)
	for kv := range bytes.SplitSeq(b, []byte{0}) {
		if bytes.Equal(kv, want) {
			return true
		}
	}
	return false
}

// holdsLock reports whether the process, which is not older than the run's
// shim, has the run lock open. It compares names: a look at the file itself
// could block on other files that the process has open.
func holdsLock(p process, lockPath string, shim shimRecord) bool {
	if shim.Shim.PID == 0 || p.Start < shim.Shim.Start {
		return false
	}
	dir := "/proc/" + strconv.Itoa(p.PID) + "/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false // ended, or another user's
	}
	for _, e := range entries {
		if name, err := os.Readlink(dir + e.Name()); err == nil && name == lockPath {
			return true
		}
	}
	return false
}

// sweep kills what is left of a run whose shim is gone and returns what it
// found; none means that none is left.
func (d runDir) sweep(token string, shim shimRecord) ([]process, error) {
	lockPath, err := filepath.EvalSymlinks(d.path(lockFile))
	if err != nil {
		return nil, err
	}
	all, err := processes()
	if err != nil {
		return nil, err
	}
	found := leftovers(all, token, lockPath, shim)
	var errs []error
	for _, p := range found {
		errs = append(errs, p.signal(unix.SIGKILL))
	}
	return found, errors.Join(errs...)
}
