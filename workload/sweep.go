package workload

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// leftovers returns the processes of a run whose shim is gone: those that
// carry its token in their environment, and those that cleared it but stayed in
// the workload's process group and the shim's session.
func leftovers(all []process, token string, shim shimRecord) []process {
	byID := make(map[int]process, len(all))
	for _, p := range all {
		byID[p.PID] = p
	}
	var found []process
	for _, p := range all {
		if p.dead() || p.PID == os.Getpid() {
			continue
		}
		if inGroup(p, shim, byID) || hasToken(p.PID, token) {
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

// sweep kills what is left of a run whose shim is gone and returns what it
// found; none means that none is left.
func sweep(token string, shim shimRecord) ([]process, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	found := leftovers(all, token, shim)
	var errs []error
	for _, p := range found {
		errs = append(errs, p.signal(unix.SIGKILL))
	}
	return found, errors.Join(errs...)
}
