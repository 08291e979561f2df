package features

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// The lines were written by hand in the forms of the kernel's and the driver's
// messages, not recorded; so was testdata/kmsg.txt.
func TestFindInKernelLog(t *testing.T) {
	none := kernelFinding{}
	for text, want := range map[string]kernelFinding{
		"NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.":                     {forestall.EventXID, 79, "0000:3b:00"},
		"NVRM: Xid (PCI:0000:01:00 GPU-I:05): 31, pid=4711, name=python3, Ch 00000008, intr 10000000. MMU Fault":           {forestall.EventXID, 31, "0000:01:00"},
		"NVRM: Xid (0000:06:00): 13, 0003 00000000 000090c0 00001b0c 00000000 00000000":                                    {forestall.EventXID, 13, "0000:06:00"},
		"NVRM: Xid (PCI:0000:3b:00): , pid=1":                                                                              none,
		"NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.":                                                              {forestall.EventFellOffBus, 0, "0000:3b:00.0"},
		"NVRM: GPU at PCI:0000:3b:00: GPU-5f0d2c1e-0000-4000-8000-000000000000":                                            none,
		"Out of memory: Killed process 4711 (python3) total-vm:9128kB, anon-rss:60kB, file-rss:0kB, shmem-rss:0kB, UID:0":  {forestall.EventOOMKill, 0, "python3 (4711)"},
		"Memory cgroup out of memory: Killed process 99 (a (b)) total-vm:9128kB":                                           {forestall.EventOOMKill, 0, "a (b (99)"},
		"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=python3,pid=4711,uid=0":                                  none,
		"mce: [Hardware Error]: Machine check events logged":                                                               {forestall.EventMachineCheck, 0, ""},
		"mce: [Hardware Error]: CPU 2: Machine Check Exception: 5 Bank 4: be00000000800400":                                {forestall.EventMachineCheck, 0, ""},
		"mce: [Hardware Error]: TSC 0 ADDR 5f3d2c0 MISC d012000100000000":                                                  none,
		"{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 0":                                   {forestall.EventMachineCheck, 0, ""},
		"pcieport 0000:3a:00.0: AER: Corrected error received: 0000:3b:00.0":                                               {forestall.EventPCIeError, 0, "0000:3a:00.0"},
		"pcieport 0000:00:1c.5: AER: Multiple Uncorrectable (Fatal) error message received from 0000:3b:00.0":              {forestall.EventPCIeError, 0, "0000:00:1c.5"},
		"pcieport 0000:00:1c.5: AER: enabled with IRQ 122":                                                                 none,
		"I/O error, dev nvme0n1, sector 1953523312 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2":                    {forestall.EventDiskError, 0, "nvme0n1"},
		"blk_update_request: I/O error, dev sda, sector 123 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 0":              {forestall.EventDiskError, 0, "sda"},
		"blk_update_request: critical medium error, dev sdb, sector 98765 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0": {forestall.EventDiskError, 0, "sdb"},
		"Buffer I/O error on dev sda1, logical block 12, async page read":                                                  {forestall.EventDiskError, 0, "sda1"},
		"I/O error, dev loop3, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2":                                   none,
		"nvme nvme0: I/O 12 QID 3 timeout, aborting":                                                                       {forestall.EventDiskError, 0, "nvme0"},
		"nvme nvme1: controller is down; will reset: CSTS=0x3, PCI_STATUS=0x2010":                                          {forestall.EventDiskError, 0, "nvme1"},
		"nvme nvme0: 8/0/0 default/read/poll queues":                                                                       none,
		"mlx5_core 0000:5e:00.0 ens1f0: Link down":                                                                         {forestall.EventLinkDown, 0, "ens1f0"},
		"ixgbe 0000:01:00.0 eth0: NIC Link is Down":                                                                        {forestall.EventLinkDown, 0, "eth0"},
		"ixgbe 0000:01:00.0 eth0: NIC Link is Up 10 Gbps, Flow Control: RX/TX":                                             none,
		"veth0: Link is Down": none,
		"NETDEV WATCHDOG: eth1 (e1000e): transmit queue 0 timed out":           {forestall.EventLinkDown, 0, "eth1"},
		"watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:4711]": {forestall.EventKernelStall, 0, ""},
		"INFO: task jbd2/sda1-8:512 blocked for more than 120 seconds.":        {forestall.EventKernelStall, 0, ""},
		"rcu: INFO: rcu_preempt self-detected stall on CPU":                    {forestall.EventKernelStall, 0, ""},
		"usb 1-1: new high-speed USB device number 2 using xhci_hcd":           none,
	} {
		got, ok := findInKernelLog(text)
		if ok != (want != none) || ok && got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, ok, want)
		}
	}
}

func TestParseKernelRecord(t *testing.T) {
	for record, want := range map[string]kernelRecord{
		"6,339,5140900,-;NET: Registered PF_INET6 protocol family\n":                          {6, 339, 5140900 * time.Microsecond, "NET: Registered PF_INET6 protocol family"},
		"7,160,424069,-;pci_root PNP0A03:00: host bridge\n SUBSYSTEM=acpi\n DEVICE=+acpi:P\n": {7, 160, 424069 * time.Microsecond, "pci_root PNP0A03:00: host bridge"},
		"14,2,1,c,caller=T1;a; b":        {14, 2, time.Microsecond, "a; b"},
		"4,3,9,-;\\x1b[31mred\x1b\xff\n": {4, 3, 9 * time.Microsecond, "\\x1b[31mred"},
		"":                               {},
		"6,339,5140900;text":             {},
		"x,339,5140900,-;text":           {},
		"6,-1,5140900,-;text":            {},
		"6,339,5140900,-":                {},
	} {
		got, err := parseKernelRecord([]byte(record))
		if (err != nil) != (want == kernelRecord{}) || got != want && err == nil {
			t.Errorf("%q: %+v, %v; want %+v", record, got, err, want)
		}
	}
}

func FuzzKernelLog(f *testing.F) {
	lines, err := os.ReadFile("testdata/kmsg.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		r, err := parseKernelRecord(record)
		if err != nil {
			return
		}
		if strings.ContainsAny(r.text, "\n\x1b\x00") {
			t.Errorf("unprintable text %q", r.text)
		}
		if found, ok := findInKernelLog(r.text); ok && (found.kind == "" || found.code < 0) {
			t.Errorf("%q is %+v", r.text, found)
		}
		pciSlot(r.text)
	})
}

// records gives one record or error for each Read, then that there is no more.
type records struct {
	left   []any
	closed bool
}

func (r *records) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, unix.EAGAIN
	}
	one := r.left[0]
	r.left = r.left[1:]
	if err, ok := one.(error); ok {
		return 0, err
	}
	return copy(p, one.(string)), nil
}

func (r *records) Close() error {
	r.closed = true
	return nil
}

// TestHostKernelLog reads the recorded lines in two reads: one survives that the
// ring was overrun, a third meets an error and gives the log up.
func TestHostKernelLog(t *testing.T) {
	h, dir := fakeHost(t)
	if h.KernelLog() == nil {
		t.Fatal("a log that is not there is read")
	}
	for _, address := range []string{"0000:86:00.0", "0000:3b:00.0"} {
		if err := os.MkdirAll(filepath.Join(dir, "proc/driver/nvidia/gpus", address), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log := &records{}
	h.kernel, h.kernelErr = &kernelLog{source: log, buffer: make([]byte, maxKernelRecord)}, nil
	at := time.Unix(1700000000, 0).Add(100 * time.Second).UTC()
	readHost(t, h, at)
	text := readFile(t, "testdata/kmsg.txt")
	for line := range strings.Lines(text) {
		log.left = append(log.left, line)
	}
	log.left = slices.Insert(log.left, 3, any(unix.EPIPE), any("no record"), any("14,1,1,-;mce: [Hardware Error]: Machine check events logged"))
	replace(t, filepath.Join(dir, "proc/vmstat"), "oom_kill 3", "oom_kill 5")
	at = at.Add(5 * time.Second)
	values := map[string]float64{}
	for _, s := range readHost(t, h, at) {
		values[s.Metric] = s.Value
	}
	var got []string
	for _, e := range h.Events() {
		if !e.Time.Equal(at) {
			t.Errorf("%+v", e)
		}
		got = append(got, fmt.Sprintf("%s %s %d %s", e.Component, e.Kind, e.Code, e.Detail))
	}
	want := []string{
		"gpu/n1/1 xid 63 kernel log: NVRM: Xid (PCI:0000:86:00): 63, pid='<unknown>', name=<unknown>, Row Remapper: New row (0x0000000001f2b4a0) marked for remapping, reset gpu to activate.",
		"gpu/n1/0 xid 79 kernel log: NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
		"gpu/n1/0 fell_off_bus 0 kernel log: NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.",
		"node/n1 machine_check 2 kernel log: mce: [Hardware Error]: Machine check events logged (2 such lines)",
		"node/n1 disk_error 2 kernel log: I/O error, dev nvme0n1, sector 1953523312 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2 (2 such lines)",
		"node/n1 link_down 1 kernel log: mlx5_core 0000:5e:00.0 ens1f0: Link down",
		"node/n1 pcie_error 1 kernel log: pcieport 0000:3a:00.0: AER: Corrected error received: 0000:3b:00.0",
		"node/n1 kernel_stall 1 kernel log: INFO: task jbd2/nvme0n1p2-:812 blocked for more than 120 seconds.",
		"node/n1 oom_kill 2 2 killed for memory since the read before: python3 (4711), dataloader (4712)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for metric, n := range map[string]float64{nodeMachineChecks: 2, nodeDiskMessages: 2, nodeLinkDowns: 1, nodePCIeErrors: 1, nodeKernelStalls: 1} {
		if values[metric] != n {
			t.Errorf("%s is %v, want %v", metric, values[metric], n)
		}
	}
	if n := h.LostKernelRecords(); n != 1 {
		t.Errorf("lost %d times", n)
	}

	log.left = []any{"4,9,9,-;NVRM: Xid (PCI:0000:3b:00): 48, pid=1, text", unix.EIO}
	samples := readHost(t, h, at.Add(5*time.Second))
	if !errors.Is(h.KernelLog(), unix.EIO) || !log.closed {
		t.Errorf("after an error: %v, closed %v", h.KernelLog(), log.closed)
	}
	for _, s := range samples {
		if s.Metric == nodeMachineChecks && s.Value == s.Value {
			t.Errorf("%s is %v without the log", s.Metric, s.Value)
		}
	}
	if events := h.Events(); len(events) != 1 || events[0].Code != 48 {
		t.Errorf("what was read before the error: events %v", events)
	}
}

// TestKernelLogWhileNothingReads: what the kernel logged of GPUs while no engine ran is
// told once, with its own time; what was read before, and what was there before anything
// was ever read, is not.
func TestKernelLogWhileNothingReads(t *testing.T) {
	now := time.Unix(1700000000, 0).UTC()
	xid := func(sequence, code int) string {
		return fmt.Sprintf("4,%d,%d,-;NVRM: Xid (PCI:0000:3b:00): %d, pid=1, text", sequence, sequence*1_000_000, code)
	}
	lines := []any{"6,40,40000000,-;NET: Registered", xid(41, 31), xid(42, 48), "2,43,43000000,-;mce: [Hardware Error]: Machine check events logged", xid(44, 79)}
	for _, tt := range []struct {
		name, boot string
		known      string
		next       uint64
		left       []any
		want       []string
		lost       uint64
	}{
		{"nothing is known", "b1", "", 0, lines, nil, 0},
		{"all was read", "b1", "b1", 45, lines, nil, 0},
		{"a part was read", "b1", "b1", 42, lines, []string{"48 58s", "79 56s"}, 0},
		{"another boot", "b2", "b1", 45, lines, []string{"31 59s", "48 58s", "79 56s"}, 1},
		{"the boot is not known", "", "b1", 42, lines, nil, 0},
		{"of what was not read some is lost", "b1", "b1", 12, lines[3:], []string{"79 56s"}, 1},
	} {
		h, _ := fakeHost(t)
		var known LastXIDs
		known.readKernel(tt.known, tt.next, false)
		h.opt.LastXIDs = &known
		log := &records{left: slices.Clone(tt.left)}
		var err error
		if h.kernel, err = newKernelLog(log, tt.boot, &known); err != nil {
			t.Fatal(err)
		}
		h.kernel.uptime, h.kernelErr = func() time.Duration { return 100 * time.Second }, nil
		known.Changed()
		for _, s := range readHost(t, h, now) {
			if s.Metric == nodeMachineChecks && s.Value != 0 {
				t.Errorf("%s: %v machine checks since the start", tt.name, s.Value)
			}
		}
		var got []string
		for _, e := range h.Events() {
			got = append(got, fmt.Sprintf("%d %s", e.Code, now.Sub(e.Time)))
			if want := fmt.Sprintf("kernel log of %s, before the engine was started: NVRM", e.Time.Format("2006-01-02 15:04:05Z")); !strings.HasPrefix(e.Detail, want) {
				t.Errorf("%s: %q, want %q", tt.name, e.Detail, want)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || h.LostKernelRecords() != tt.lost {
			t.Errorf("%s: lost %d times, events (-want +got):\n%s", tt.name, h.LostKernelRecords(), diff)
		}
		if changed := known.Changed(); changed != (tt.boot != "" && (tt.known != tt.boot || len(tt.want) > 0)) {
			t.Errorf("%s: changed %v", tt.name, changed)
		}
		log.left = []any{xid(45, 62)}
		readHost(t, h, now.Add(time.Second))
		if events := h.Events(); len(events) != 1 || !events[0].Time.Equal(now.Add(time.Second)) {
			t.Errorf("%s: then %v", tt.name, events)
		}

		// What is logged between the start and the first reading is new.
		log.left = slices.Clone(tt.left)
		var begun LastXIDs
		begun.readKernel(tt.known, tt.next, false)
		h.opt.LastXIDs = &begun
		if h.kernel, err = newKernelLog(log, tt.boot, &begun); err != nil {
			t.Fatal(err)
		}
		log.left = []any{xid(45, 62), "2,46,46000000,-;mce: [Hardware Error]: Machine check events logged"}
		checks := math.NaN()
		for _, s := range readHost(t, h, now.Add(time.Second)) {
			if s.Metric == nodeMachineChecks {
				checks = s.Value
			}
		}
		if n := len(h.Events()); n != len(tt.want)+2 || checks != 1 {
			t.Errorf("%s: with an XID and a machine check since the start: %d events, %v machine checks", tt.name, n, checks)
		}
		var next LastXIDs
		if err := next.Decode(known.Encode(now)); err != nil {
			t.Fatal(err)
		}
		if n := next.kernelUnread(tt.boot); tt.boot != "" && n != 46 {
			t.Errorf("%s: the next reader begins at %d", tt.name, n)
		}
	}
}

// TestRealKernelLog reads this machine's, where that is allowed, from its start.
func TestRealKernelLog(t *testing.T) {
	l, err := openKernelLog("/dev/kmsg", "", nil)
	if err != nil {
		t.Skipf("the kernel log cannot be read here: %v", err)
	}
	defer l.source.Close()
	if len(l.before) > 0 {
		t.Errorf("%v are told although nothing is known", l.before)
	}
	if _, err := unix.Seek(int(l.source.(kmsgFile)), 0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	lines := 0
	if err := l.drain(func(kernelRecord, bool) { lines++ }); err != nil {
		t.Fatal(err)
	}
	if lines == 0 {
		t.Error("the kernel has never logged anything")
	}
}
