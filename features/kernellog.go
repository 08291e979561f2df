package features

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// kernelLog reads what the kernel has logged: what it logged before this was opened,
// as far as nobody has read it, then what is new.
type kernelLog struct {
	source io.ReadCloser // gives one record for each Read
	buffer []byte
	lost   uint64 // times that the kernel overwrote records before they were read
	counts [len(kernelCounters)]float64

	boot   string               // the identifier of this boot; "": not known
	next   uint64               // sequence of the next record
	unread uint64               // sequence from which on nobody has read
	old    bool                 // what is read was logged before this was opened
	before []kernelRecord       // of that, the unread ones about GPUs
	uptime func() time.Duration // by the clock of the records
}

// kernelCounters are the kinds of event that are counted as metrics.
var kernelCounters = [...]struct {
	kind   forestall.EventKind
	metric string
}{
	{forestall.EventMachineCheck, nodeMachineChecks},
	{forestall.EventDiskError, nodeDiskMessages},
	{forestall.EventLinkDown, nodeLinkDowns},
	{forestall.EventPCIeError, nodePCIeErrors},
	{forestall.EventKernelStall, nodeKernelStalls},
}

// maxKernelRecords bounds what one read takes; the rest is taken by the next.
const maxKernelRecords = 20_000

// openKernelLog opens the log at the oldest record that the kernel has, of those
// that are not known to have been read. Where nothing is known, what is there is
// taken for read.
func openKernelLog(path, boot string, known *LastXIDs) (*kernelLog, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	l, err := newKernelLog(kmsgFile(fd), boot, known)
	if err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return l, nil
}

// newKernelLog reads what is there: what is logged from then on is new.
func newKernelLog(source io.ReadCloser, boot string, known *LastXIDs) (*kernelLog, error) {
	l := &kernelLog{source: source, buffer: make([]byte, maxKernelRecord), boot: boot, unread: known.kernelUnread(boot), old: true, uptime: monotonic}
	return l, l.drain(func(r kernelRecord, _ bool) {
		if f, ok := findInKernelLog(r.text); ok && f.ofGPU() {
			l.before = append(l.before, r)
		}
	})
}

// monotonic is the time since boot, without that of a suspended machine.
func monotonic() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// kmsgFile is /dev/kmsg, which the runtime's poller is kept out of.
type kmsgFile int

func (f kmsgFile) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), p)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (f kmsgFile) Close() error { return unix.Close(int(f)) }

// drain calls visit with each line of the kernel's own that nobody has read. Records
// that the kernel overwrote before they were read (EPIPE) are lost, and that is counted.
// old: it was logged before this was opened.
func (l *kernelLog) drain(visit func(r kernelRecord, old bool)) error {
	for range maxKernelRecords {
		n, err := l.source.Read(l.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, io.EOF) || err == nil && n == 0:
			l.old = false
			return nil
		case errors.Is(err, unix.EPIPE):
			l.lost++
			continue
		case errors.Is(err, unix.EINVAL): // longer than any record should be
			continue
		case err != nil:
			return fmt.Errorf("kernel log: %w", err)
		}
		r, err := parseKernelRecord(l.buffer[:n])
		if err != nil {
			continue
		}
		if l.old && l.next == 0 && r.sequence > l.unread {
			l.lost++
		}
		l.next = r.sequence + 1
		const kernel = 8 // facilities from 1 on are programs
		if r.priority < kernel && (!l.old || r.sequence >= l.unread) {
			visit(r, l.old)
		}
	}
	return nil
}

// kernelLines are the lines of one kind about one thing.
type kernelLines struct {
	kernelFinding
	old bool // the kernel logged them before this reader was opened
}

// readKernelLog turns what the kernel has logged into events and counts. Lines
// of one kind about one thing make one event. Of what was logged before the log was
// opened only XIDs and lost GPUs count: they are failures.
func (h *Host) readKernelLog(now time.Time) (killed []string) {
	if h.kernel == nil {
		return nil
	}
	var order []kernelLines
	lines := map[kernelLines][]kernelRecord{}
	gpus := false
	take := func(r kernelRecord, old bool) {
		f, ok := findInKernelLog(r.text)
		switch {
		case !ok || old && !f.ofGPU():
			return
		case f.kind == forestall.EventOOMKill:
			killed = append(killed, f.subject)
			return
		}
		gpus = gpus || f.ofGPU()
		for i, c := range kernelCounters {
			if c.kind == f.kind {
				h.kernel.counts[i]++
			}
		}
		key := kernelLines{f, old}
		if lines[key] == nil {
			order = append(order, key)
		}
		lines[key] = append(lines[key], r)
	}
	for _, r := range h.kernel.before {
		take(r, true)
	}
	h.kernel.before = nil
	err := h.kernel.drain(take)
	h.opt.LastXIDs.readKernel(h.kernel.boot, h.kernel.next, gpus)
	for _, key := range order {
		h.event(h.kernelEvent(now, key, lines[key]))
	}
	if err != nil { // it will not come back: the kernel closes it for no reason
		h.kernel.source.Close()
		h.kernel, h.kernelErr = nil, err
		return killed
	}
	for i, c := range kernelCounters {
		h.set(c.metric, h.kernel.counts[i])
	}
	return killed
}

// kernelEvent says whose event it is: a GPU's where the driver's address is one
// of the node's GPUs. The code is the XID, or how many lines there were.
func (h *Host) kernelEvent(now time.Time, of kernelLines, lines []kernelRecord) forestall.Event {
	e := forestall.Event{Component: h.component, Kind: of.kind, Time: now, Code: len(lines), Detail: "kernel log: " + lines[0].text}
	if of.old {
		e.Time = now.Add(min(lines[0].at-h.kernel.uptime(), 0)).Truncate(time.Millisecond)
		e.Detail = fmt.Sprintf("kernel log of %s, before the engine was started: %s", e.Time.UTC().Format("2006-01-02 15:04:05Z"), lines[0].text)
	}
	if len(lines) > 1 {
		e.Detail += fmt.Sprintf(" (%d such lines)", len(lines))
	}
	switch of.kind {
	case forestall.EventXID, forestall.EventFellOffBus:
		e.Code = of.code
		if i := slices.Index(h.gpuAddresses(), pciSlot(of.subject)); i >= 0 {
			e.Component = forestall.GPU(h.component.Name, i)
		}
	}
	return e
}

// gpuAddresses returns the PCI slots of the node's GPUs by their index, which
// NVIDIA's driver gives in the order of the addresses. A GPU that has fallen off
// the bus stays listed until the driver is loaded again.
func (h *Host) gpuAddresses() []string {
	entries, err := os.ReadDir(filepath.Join(h.opt.ProcRoot, "driver/nvidia/gpus"))
	if err != nil {
		return nil
	}
	var slots []string
	for _, e := range entries {
		slots = append(slots, pciSlot(e.Name()))
	}
	slices.Sort(slots)
	return slots
}

// pciSlot brings "0000:3b:00", "00000000:3B:00.0" and their like into one form
// without the function, "00000000:3b:00"; "" for what is no address.
func pciSlot(address string) string {
	address, _, _ = strings.Cut(strings.ToLower(address), ".")
	parts := strings.Split(address, ":")
	if len(parts) != 3 {
		return ""
	}
	var n [3]uint64
	for i, p := range parts {
		var err error
		if n[i], err = strconv.ParseUint(p, 16, 32); err != nil {
			return ""
		}
	}
	return fmt.Sprintf("%08x:%02x:%02x", n[0], n[1], n[2])
}
