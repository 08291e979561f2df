package workload

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const statLine = "4242 (a (b) c) S 17 4242 99 0 -1 4194560 700 0 0 0 11 22 0 0 20 0 8 0 987654 1789024 3253 18446744073709551615 1 1"

func TestParseStat(t *testing.T) {
	got, err := parseStat([]byte(statLine))
	want := process{
		processID: processID{4242, 987654}, state: 'S', parent: 17, group: 4242, session: 99,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(process{}, processID{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"", "1 S", "1 (x) S 1", "x (y) S 1 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 8 0 1 1 1 1"} {
		if p, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, p)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statLine))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseStat(b) })
}

func TestReadSelf(t *testing.T) {
	self, err := readProcess(os.Getpid())
	if err != nil || self.PID != os.Getpid() || self.parent != os.Getppid() || self.dead() || !self.alive() {
		t.Errorf("self %+v, %v", self, err)
	}
	other := self.processID
	other.Start--
	if other.alive() {
		t.Error("an earlier process with this ID is alive")
	}
	if err := other.signal(unix.SIGKILL); err != nil { // must not reach us
		t.Error(err)
	}
	if err := other.wait(nil); err != nil {
		t.Error(err)
	}
}

func TestWaitForAChild(t *testing.T) {
	child := exec.Command("/bin/cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := readProcess(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	quit := make(chan struct{})
	close(quit)
	if err := p.wait(quit); !errors.Is(err, errQuit) {
		t.Errorf("wait with quit closed: %v", err)
	}
	in.Close()
	if err := p.wait(nil); err != nil {
		t.Error(err)
	}
	if _, err := readProcess(p.PID); err == nil {
		t.Error("the child was not reaped")
	}
	_ = child.Process.Release()
}

func TestDescendants(t *testing.T) {
	p := func(pid, parent int) process { return process{processID: processID{PID: pid}, parent: parent} }
	all := []process{p(1, 0), p(5, 4), p(2, 1), p(3, 2), p(4, 3), p(9, 1), p(7, 2)}
	var got []int
	for _, d := range descendants(all, 2) {
		got = append(got, d.PID)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]int{3, 4, 5, 7}, got); diff != "" {
		t.Errorf("below 2 (-want +got):\n%s", diff)
	}
}

// What shows that a process is in a dead run's group, and not in that of
// somebody who was given the same number later.
func TestInGroup(t *testing.T) {
	shim := shimRecord{Shim: processID{50, 1000}, Main: processID{51, 1001}}
	member := process{processID: processID{60, 2000}, group: 51, session: 50}
	with := func(edit func(*process)) process { p := member; edit(&p); return p }
	tests := []struct {
		name   string
		p      process
		leader *process
		shim   shimRecord
		want   bool
	}{
		{"leader gone", member, nil, shim, true},
		{"leader lives", member, &process{processID: shim.Main}, shim, true},
		{"number used again", member, &process{processID: processID{51, 1500}}, shim, false},
		{"another session", with(func(p *process) { p.session = 1 }), nil, shim, false},
		{"another group", with(func(p *process) { p.group = 52 }), nil, shim, false},
		{"older than the run", with(func(p *process) { p.Start = 900 }), nil, shim, false},
		{"never started", with(func(p *process) { p.group = 0 }), nil, shimRecord{Shim: processID{50, 1000}}, false},
	}
	for _, tt := range tests {
		byID := map[int]process{tt.p.PID: tt.p}
		if tt.leader != nil {
			byID[51] = *tt.leader
		}
		if got := inGroup(tt.p, tt.shim, byID); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestBoundedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "output.log")
	l, err := openBoundedLog(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"12345", "67890", "abc", "a line beyond the limit", "d"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("write %q: %d, %v", s, n, err)
		}
	}
	if got := read(t, path) + "|" + read(t, path+".1"); got != "d|a line beyond the limit" {
		t.Errorf("files %q", got)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Write([]byte("0123456789")); n != 10 || err != nil { // no disk, no log, no error
		t.Errorf("without a disk: %d, %v", n, err)
	}
	if n, err := l.Write([]byte("x")); n != 1 || err != nil {
		t.Errorf("without a file: %d, %v", n, err)
	}
}
