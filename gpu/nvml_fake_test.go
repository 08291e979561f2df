package gpu_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/gpu"
)

// TestMain lets this binary be the child process of an NVML source: with the
// arguments "fake-nvml DIR" it serves boards that do what files in DIR say.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "fake-nvml" {
		dir := os.Args[2]
		if err := gpu.ServeBoards(os.Stdin, os.Stdout, func() (gpu.Boards, error) { return openFake(dir) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fakeBoards are eight GPUs. A file in its directory named like a fault and a
// board, such as "hang-3", makes what reads the board meet the fault:
//
//	hang      the call never returns
//	crash     the dynamic linker ends the process, as for a missing symbol
//	garbage   something else writes to standard output
//	flood     without end, in lines
//	endless   without end and without a line
//	lost      the driver has lost the GPU
//	xid       an XID with the number in the file, once
type fakeBoards struct {
	dir  string
	xids []gpu.XIDReport
}

func openFake(dir string) (gpu.Boards, error) {
	started, err := os.OpenFile(filepath.Join(dir, "started"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer started.Close()
	if _, err := fmt.Fprintln(started, os.Getpid()); err != nil {
		return nil, err
	}
	f := &fakeBoards{dir: dir}
	if f.has("absent", 0) {
		return nil, fmt.Errorf("%w: no driver here", gpu.ErrUnavailable)
	}
	f.fault("init", 0)
	return f, nil
}

func (f *fakeBoards) path(fault string, index int) string {
	return filepath.Join(f.dir, fmt.Sprintf("%s-%d", fault, index))
}

func (f *fakeBoards) has(fault string, index int) bool {
	_, err := os.Stat(f.path(fault, index))
	return err == nil
}

func (f *fakeBoards) fault(prefix string, index int) {
	if prefix != "" {
		prefix += "-"
	}
	switch {
	case f.has(prefix+"hang", index):
		if err := os.WriteFile(f.path(prefix+"hangs", index), nil, 0o600); err != nil { // for who waits until it does
			fmt.Fprintln(os.Stderr, err)
		}
		select {}
	case f.has(prefix+"crash", index):
		fmt.Fprintln(os.Stderr, "forestall: symbol lookup error: undefined symbol: nvmlDeviceGetNothing")
		os.Exit(127)
	case f.has(prefix+"garbage", index):
		fmt.Println("NVRM: not what was asked for")
	case f.has(prefix+"flood", index):
		for {
			fmt.Println(`{"id":1,"values":[]}`)
		}
	case f.has(prefix+"endless", index):
		b := bytes.Repeat([]byte("x"), 1<<20)
		for {
			if _, err := os.Stdout.Write(b); err != nil {
				os.Exit(1)
			}
		}
	}
}

func (f *fakeBoards) Count() (int, string, error) { return 8, "550.54.15", nil }

func (f *fakeBoards) Describe(index int) (gpu.Device, error) {
	f.fault("describe", index)
	return gpu.Device{
		Index: index, UUID: fmt.Sprintf("GPU-%d", index), Name: "NVIDIA Fake", MemoryBytes: 80 << 30,
		PCIBus: fmt.Sprintf("00000000:%02X:00.0", index), NUMANode: index / 4,
	}, nil
}

func (f *fakeBoards) Topology(uuids []string) ([]gpu.Neighbours, error) {
	f.fault("topology", 0)
	list := make([]gpu.Neighbours, len(uuids))
	for i := range uuids {
		list[i].Links = []int{i ^ 1}
	}
	return list, nil
}

func (f *fakeBoards) Read(uuid string) ([]float64, error) {
	var index int
	if _, err := fmt.Sscanf(uuid, "GPU-%d", &index); err != nil {
		return nil, err
	}
	f.fault("", index)
	if f.has("lost", index) {
		return nil, fmt.Errorf("%w: the driver has lost it", gpu.ErrGone)
	}
	if b, err := os.ReadFile(f.path("xid", index)); err == nil {
		if err := os.Remove(f.path("xid", index)); err != nil {
			return nil, err
		}
		x := gpu.XIDReport{UUID: uuid, Time: time.Unix(1_750_000_000, 0)}
		if _, err := fmt.Sscan(strings.TrimSpace(string(b)), &x.Code); err != nil {
			return nil, err
		}
		f.xids = append(f.xids, x)
	}
	values := make([]float64, len(gpu.MetricNames())+len(gpu.DetailNames()))
	for i := range values {
		values[i] = math.NaN()
	}
	values[0], values[2] = 40+float64(index), 300.25
	values[len(gpu.MetricNames())] = 95
	return values, nil
}

func (f *fakeBoards) XIDs() []gpu.XIDReport {
	xids := f.xids
	f.xids = nil
	return xids
}

// set makes a fault hold from now on; unset ends it.
func set(t *testing.T, dir, fault string, index int, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d", fault, index)), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func unset(t *testing.T, dir, fault string, index int) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, fmt.Sprintf("%s-%d", fault, index))); err != nil {
		t.Fatal(err)
	}
}

// started returns how many children have opened the fake library.
func started(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "started"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}
