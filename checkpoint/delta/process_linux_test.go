package delta

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const childEnv = "FORESTALL_DELTA_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := child(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const childPages = 512

// child is a process with memory of its own that does what it is told.
func child() error {
	b, err := unix.Mmap(-1, 0, childPages*PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	// A thread that sleeps all the time: its sleep is interrupted and restarted.
	go func() {
		for {
			time.Sleep(time.Millisecond)
		}
	}()
	fmt.Printf("%p\n", &b[0])
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var page int
		switch verb, rest, _ := strings.Cut(in.Text(), " "); verb {
		case "write":
			if _, err := fmt.Sscan(rest, &page); err != nil {
				return err
			}
			b[page*PageSize+5]++
		case "unmap":
			if err := unix.Munmap(b); err != nil {
				return err
			}
		case "sum":
			fmt.Print(bytes.Count(b, []byte{1}), " ")
		}
		fmt.Println("ok")
	}
	return nil
}

// victim is a running child.
type victim struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Writer
	out  *bufio.Scanner
	span Span
}

func startChild(t *testing.T) *victim {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Errorf("the process did not end well: %v", err)
		}
	})
	if !v.out.Scan() {
		t.Fatal("the process said nothing")
	}
	if _, err := fmt.Sscan(v.out.Text(), &v.span.Start); err != nil {
		t.Fatal(err)
	}
	v.span.End = v.span.Start + childPages*PageSize
	return v
}

func (v *victim) do(command string) string {
	v.t.Helper()
	if _, err := fmt.Fprintln(v.in, command); err != nil {
		v.t.Fatal(err)
	}
	if !v.out.Scan() || !strings.HasSuffix(v.out.Text(), "ok") {
		v.t.Fatalf("%s: the process answers %q", command, v.out.Text())
	}
	return v.out.Text()
}

// The memory of another process is followed by every method that works here,
// and the process goes on undisturbed.
func TestOpenProcess(t *testing.T) {
	for _, method := range []Method{WriteProtect, SoftDirty, Hash} {
		t.Run(string(method), func(t *testing.T) {
			v := startChild(t)
			r, err := OpenProcess(v.cmd.Process.Pid, []Span{v.span}, Options{Method: method})
			if err != nil {
				t.Skipf("another process cannot be followed so here: %v", err)
			}
			defer func() {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}()
			for i := range 40 {
				ctx := context.Background()
				inc, err := r.Capture(ctx)
				if err != nil {
					t.Fatal(err)
				}
				want := []Range{{0, r.Size()}}
				if i > 0 {
					want = []Range{{int64(i) * PageSize, PageSize}}
				}
				if diff := cmp.Diff(want, inc.Dirty); diff != "" {
					t.Fatalf("mark %d (-want +got):\n%s", i, diff)
				}
				var b [1]byte
				if _, err := inc.Content.ReadAt(b[:], int64(i)*PageSize+5); err != nil || i > 0 && b[0] != 1 {
					t.Fatalf("page %d holds %d, error %v", i, b[0], err)
				}
				if err := r.Settle(); err != nil {
					t.Fatal(err)
				}
				v.do(fmt.Sprint("write ", i+1))
			}
			if got := v.do("sum"); got != "40 ok" {
				t.Fatalf("the process counts %q", got)
			}
			v.do("unmap")
			if _, err := r.Mark(context.Background()); !errors.Is(err, ErrRemapped) {
				t.Fatalf("after the memory was unmapped: %v", err)
			}
		})
	}
}

// Opening again and again disturbs nothing either: the interrupted system calls
// of the process go on.
func TestOpenProcessManyTimes(t *testing.T) {
	if err := probeWriteProtect(); err != nil {
		t.Skipf("this kernel does not offer write protection: %v", err)
	}
	v := startChild(t)
	for i := range 50 {
		r, err := OpenProcess(v.cmd.Process.Pid, []Span{v.span}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && r.Method() != WriteProtect {
			t.Logf("followed by %s: %v", r.Method(), r.Skipped())
		}
		mark(t, r)
		v.do("write 7")
		if diff := cmp.Diff([]Range{{7 * PageSize, PageSize}}, mark(t, r)); diff != "" {
			t.Fatal(diff)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenProcessWhole(t *testing.T) {
	v := startChild(t)
	r, err := OpenProcess(v.cmd.Process.Pid, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if r.Size() < childPages*PageSize {
		t.Fatalf("%d bytes", r.Size())
	}
	if _, err := r.Mark(context.Background()); err != nil && !errors.Is(err, ErrRemapped) {
		t.Fatal(err)
	}
}

func TestOpenProcessRefuses(t *testing.T) {
	if _, err := OpenProcess(os.Getpid(), nil, Options{}); err == nil {
		t.Error("this process was taken for another")
	}
	if _, err := OpenProcess(1<<22-1, nil, Options{}); err == nil {
		t.Error("a process that is not there was opened")
	}
	v := startChild(t)
	for _, spans := range [][]Span{{{5, 5}}, {{4096, 8192}}} {
		if _, err := OpenProcess(v.cmd.Process.Pid, spans, Options{}); err == nil {
			t.Errorf("spans %v were taken", spans)
		}
	}
}

// A process that sleeps when it is stopped sleeps on, for the time that was
// left, and ends as if nothing had been.
func TestOpenProcessThatSleeps(t *testing.T) {
	began := time.Now()
	cmd := exec.Command("sleep", "0.4")
	if err := cmd.Start(); err != nil {
		t.Skipf("the program sleep cannot be started: %v", err)
	}
	for range 10 {
		if r, err := OpenProcess(cmd.Process.Pid, nil, Options{Method: WriteProtect}); err == nil {
			_ = r.Close()
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Fatalf("it slept for %v", took)
	}
}
