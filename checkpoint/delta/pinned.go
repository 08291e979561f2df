package delta

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// pinned says why the kernel's bits do not tell all writes to a process's memory:
// some of it is pinned, and who has it pinned (io_uring's registered buffers,
// RDMA) writes past the page tables that have the bits. "": the kernel knows of
// none.
func pinned(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "" // it has gone, which the mark finds
	}
	if n := pinnedOf(string(b)); n > 0 {
		return fmt.Sprintf("%d KiB of process %d's memory are pinned (VmPin): a device or the kernel may write there unseen", n, pid)
	}
	return ""
}

// pinnedOf reads VmPin, in KiB, of the text of /proc/PID/status.
func pinnedOf(status string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmPin:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n
		}
	}
	return 0
}

// avoidPins goes over to hashing once memory is pinned. The next increment is
// everything.
func (r *Region) avoidPins() error {
	why := r.pins()
	if why == "" {
		return nil
	}
	old := r.det
	r.skipped = append(r.skipped, Finding{old.method(), errors.New(why)})
	r.det = newHasher(r.src, r.size)
	r.Forget()
	if err := old.close(); err != nil {
		return fmt.Errorf("go over from %s to %s for %s: %w", old.method(), Hash, r.name, err)
	}
	return nil
}

// pins returns pinned's reason where it matters.
func (r *Region) pins() string {
	if r.pid == 0 || r.Method() == Hash {
		return ""
	}
	return pinned(r.pid)
}
