package features

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stratoswarm/forestall"
)

// kernelRecord is one record of /dev/kmsg (Linux:
// Documentation/ABI/testing/dev-kmsg).
type kernelRecord struct {
	priority int           // facility * 8 + severity; facility 0 is the kernel itself
	sequence uint64        // counts records since boot
	at       time.Duration // since boot, by the kernel's monotonic clock
	text     string        // of one line, without what is unprintable
}

var errKernelRecord = errors.New("not a record of /dev/kmsg")

// maxKernelRecord is as long as the kernel makes one.
const maxKernelRecord = 8192

// parseKernelRecord reads "6,339,5140900,-;NET: Registered", which may go on
// with further comma-separated fields before the semicolon and with lines
// " KEY=value" behind the text.
func parseKernelRecord(b []byte) (r kernelRecord, err error) {
	head, text, ok := bytes.Cut(b, []byte{';'})
	fields := bytes.SplitN(head, []byte{','}, 4)
	if !ok || len(b) > maxKernelRecord || len(fields) < 4 {
		return r, errKernelRecord
	}
	priority, err := strconv.ParseUint(string(fields[0]), 10, 16)
	if err != nil {
		return r, errKernelRecord
	}
	if r.sequence, err = strconv.ParseUint(string(fields[1]), 10, 64); err != nil {
		return r, errKernelRecord
	}
	us, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil || us < 0 || us > math.MaxInt64/int64(time.Microsecond) {
		return r, errKernelRecord
	}
	r.priority, r.at = int(priority), time.Duration(us)*time.Microsecond
	text, _, _ = bytes.Cut(text, []byte{'\n'})
	r.text = strings.Map(func(c rune) rune {
		if c == utf8.RuneError || c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, string(text))
	return r, nil
}

// kernelFinding is what a line of the kernel's log says.
type kernelFinding struct {
	kind    forestall.EventKind
	code    int    // an XID
	subject string // a PCI address, a disk, an interface, a process; may be empty
}

func (f kernelFinding) ofGPU() bool {
	return f.kind == forestall.EventXID || f.kind == forestall.EventFellOffBus
}

// findInKernelLog tells whether a line of the kernel's own is about hardware that
// fails or a process that was killed for memory. The forms are those of Linux 5
// to 6 and of NVIDIA's driver ("XID Errors").
func findInKernelLog(text string) (f kernelFinding, ok bool) {
	for _, find := range kernelFinders {
		if f, ok = find(text); ok {
			return f, true
		}
	}
	return f, false
}

var kernelFinders = []func(string) (kernelFinding, bool){findXID, findFellOff, findOOMKill, findMachineCheck, findPCIeError, findDiskError, findLinkDown, findStall}

// findXID reads "NVRM: Xid (PCI:0000:3b:00): 79, pid=4711, GPU has fallen off
// the bus."; the address may be followed by a MIG instance.
func findXID(text string) (f kernelFinding, ok bool) {
	_, rest, ok := strings.Cut(text, "NVRM: Xid (")
	if !ok {
		return f, false
	}
	address, rest, ok := strings.Cut(rest, "): ")
	if !ok {
		return f, false
	}
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	code, err := strconv.Atoi(rest[:digits])
	if err != nil || code > 1<<16 {
		return f, false
	}
	address, _, _ = strings.Cut(strings.TrimPrefix(address, "PCI:"), " ")
	return kernelFinding{kind: forestall.EventXID, code: code, subject: address}, true
}

// findFellOff reads "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus."
func findFellOff(text string) (f kernelFinding, ok bool) {
	_, rest, ok := strings.Cut(text, "NVRM: GPU ")
	if !ok || !strings.Contains(rest, "has fallen off the bus") {
		return f, false
	}
	address, _, ok := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(rest, "at "), "PCI:"), ": ")
	return kernelFinding{kind: forestall.EventFellOffBus, subject: address}, ok
}

// findOOMKill reads "Out of memory: Killed process 4711 (python) total-vm:...",
// also of a memory cgroup.
func findOOMKill(text string) (f kernelFinding, ok bool) {
	_, rest, ok := strings.Cut(text, "ut of memory: Killed process ")
	if !ok {
		return f, false
	}
	process, _, _ := strings.Cut(rest, ")")
	pid, name, ok := strings.Cut(process, " (")
	if _, err := strconv.Atoi(pid); err != nil || !ok {
		return f, false
	}
	return kernelFinding{kind: forestall.EventOOMKill, subject: fmt.Sprintf("%s (%s)", name, pid)}, true
}

// findMachineCheck reads the line that begins a report: the exception itself,
// events that were logged without one, and what the firmware tells.
func findMachineCheck(text string) (kernelFinding, bool) {
	hit := strings.Contains(text, "[Hardware Error]: CPU ") && strings.Contains(text, "Machine Check") ||
		strings.Contains(text, "Machine check events logged") || strings.Contains(text, "Hardware error from APEI")
	return kernelFinding{kind: forestall.EventMachineCheck}, hit
}

// findPCIeError reads "pcieport 0000:3a:00.0: AER: Corrected error received:
// 0000:3b:00.0" and its like.
func findPCIeError(text string) (f kernelFinding, ok bool) {
	before, after, ok := strings.Cut(text, ": AER: ")
	if !ok || !strings.Contains(after, "error") && !strings.Contains(after, "Error") || !strings.Contains(after, "eceived") {
		return f, false
	}
	return kernelFinding{kind: forestall.EventPCIeError, subject: before[strings.LastIndexByte(before, ' ')+1:]}, true
}

// findDiskError reads "I/O error, dev sda, sector 123 op 0x0:(READ)", "critical
// medium error, dev ...", and what NVMe controllers do when they no longer answer.
func findDiskError(text string) (f kernelFinding, ok bool) {
	f.kind = forestall.EventDiskError
	for _, form := range []string{"I/O error, dev ", "medium error, dev ", "target error, dev ", "Buffer I/O error on dev "} {
		if _, rest, found := strings.Cut(text, form); found {
			device, _, _ := strings.Cut(rest, ",")
			f.subject, _, _ = strings.Cut(device, " ")
			whole := strings.TrimRight(f.subject, "0123456789")
			return f, physicalDisk(f.subject) || partition(f.subject) && whole != ""
		}
	}
	if rest, found := strings.CutPrefix(text, "nvme "); found {
		device, said, _ := strings.Cut(rest, ": ")
		f.subject = device
		return f, strings.Contains(said, "timeout, ") || strings.Contains(said, "controller is down")
	}
	return f, false
}

// findLinkDown reads "mlx5_core 0000:5e:00.0 ens1: Link down" and "ixgbe
// 0000:01:00.0 eth0: NIC Link is Down", and a transmitter that hangs.
func findLinkDown(text string) (f kernelFinding, ok bool) {
	f.kind = forestall.EventLinkDown
	if rest, found := strings.CutPrefix(text, "NETDEV WATCHDOG: "); found {
		f.subject, _, _ = strings.Cut(strings.SplitN(rest, " ", 2)[0], ":")
		return f, physicalInterface(f.subject)
	}
	before, after, found := cutLast(text, ": ")
	if !found || !strings.HasPrefix(after, "Link down") && !strings.Contains(after, "ink is Down") {
		return f, false
	}
	f.subject = before[strings.LastIndexByte(before, ' ')+1:]
	return f, physicalInterface(f.subject)
}

// findStall reads what the kernel's watchdogs say.
func findStall(text string) (kernelFinding, bool) {
	hit := strings.Contains(text, "BUG: soft lockup") || strings.Contains(text, "BUG: hard lockup") || strings.Contains(text, "Watchdog detected hard LOCKUP") ||
		strings.HasPrefix(text, "INFO: task ") && strings.Contains(text, "blocked for more than") ||
		strings.HasPrefix(text, "rcu: INFO: ") && strings.Contains(text, "stall")
	return kernelFinding{kind: forestall.EventKernelStall}, hit
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
