package workload

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
)

func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "floor")
	if err := writeRecord(path, "floor", floorRecord{Floor: 7}); err != nil {
		t.Fatal(err)
	}
	var got floorRecord
	if err := readRecord(path, "floor", &got); err != nil || got.Floor != 7 {
		t.Errorf("read %+v, %v", got, err)
	}
	if err := readRecord(path, "exit", &got); !errors.Is(err, errCorrupt) {
		t.Errorf("as another kind: %v", err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 0x04
		if err := decodeRecord(bad, "floor", &got); !errors.Is(err, errCorrupt) {
			t.Errorf("with byte %d changed: %v", i, err)
		}
		if err := decodeRecord(good[:i], "floor", &got); !errors.Is(err, errCorrupt) {
			t.Errorf("cut at byte %d: %v", i, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func TestFloorOnlyRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp("", "floor")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		var want floorRecord
		for range rapid.IntRange(1, 6).Draw(t, "marks") {
			e := forestall.Epoch(rapid.Uint64Max(20).Draw(t, "epoch"))
			want.Floor = max(want.Floor, e)
			mark := runDir(root).markLaunched
			if rapid.Bool().Draw(t, "stopped") {
				want.Stopped = max(want.Stopped, e)
				mark = runDir(root).markStopped
			}
			err := mark(e)
			got, readErr := runDir(root).floor()
			if err != nil || readErr != nil || got != want {
				t.Fatalf("after %d: %+v, want %+v (%v, %v)", e, got, want, err, readErr)
			}
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	good, err := encodeRecord("launch", Launch{Epoch: 3, Deadline: NoDeadline})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(recordMagic + " launch 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l Launch
		if err := decodeRecord(b, "launch", &l); err != nil && !errors.Is(err, errCorrupt) {
			t.Errorf("error %v", err)
		}
	})
}

func TestDeadline(t *testing.T) {
	now := Now()
	if d := Now() - now; d < 0 || time.Duration(d) > time.Minute {
		t.Errorf("the clock went by %d ns", d)
	}
	tests := []struct {
		name   string
		d      Deadline
		passed bool
		until  time.Duration
	}{
		{"zero", 0, true, time.Duration(-now)},
		{"now", now, true, 0},
		{"later", now.Add(time.Second), false, time.Second},
		{"earlier", now.Add(-time.Second), true, -time.Second},
		{"none", NoDeadline, false, math.MaxInt64},
		{"none and a bit", NoDeadline.Add(time.Hour), false, math.MaxInt64},
		{"none and less", NoDeadline.Add(-time.Hour), false, math.MaxInt64},
		{"beyond the last", now.Add(math.MaxInt64), false, math.MaxInt64},
	}
	for _, tt := range tests {
		if got := tt.d.Passed(now); got != tt.passed {
			t.Errorf("%s: passed %t", tt.name, got)
		}
		if got := tt.d.Until(now); got != tt.until {
			t.Errorf("%s: until %v, want %v", tt.name, got, tt.until)
		}
	}
}

func TestAlarm(t *testing.T) {
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []Deadline{0, Now().Add(-time.Second), Now().Add(5 * time.Millisecond)} {
		if err := a.set(NoDeadline); err != nil {
			t.Fatal(err)
		}
		if err := a.set(d); err != nil {
			t.Fatal(err)
		}
		if err := a.wait(); err != nil || !d.Passed(Now()) {
			t.Errorf("alarm for %v rang at %v, %v", d, Now(), err)
		}
	}
	woken := make(chan error)
	go func() { woken <- a.wait() }()
	a.close()
	if err := <-woken; err == nil {
		t.Error("a closed alarm rang")
	}
	if err := a.set(NoDeadline); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed alarm is set: %v", err)
	}
}

func TestLookCommand(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"run": 0o700, "data": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ name, path, want, err string }{
		{"run", "/nonexistent:" + dir, dir + "/run", ""},
		{"./run", "", dir + "/run", ""},
		{dir + "/run", "", dir + "/run", ""},
		{"run", "/nonexistent:.", "", "not found in PATH"},
		{"./data", "", "", "not executable"},
		{dir, "", "", "is a directory"},
	}
	for _, tt := range tests {
		got, err := lookCommand(tt.name, dir, []string{"PATH=" + tt.path})
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s in %q: %q, %v", tt.name, tt.path, got, err)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for name, ok := range map[string]bool{"SIGUSR1": true, "usr2": true, "HUP": true, "SIGKILL": false, "STOP": false, "": false, "10": false} {
		if sig, err := parseSignal(name); (err == nil) != ok {
			t.Errorf("%q: %v, %v", name, sig, err)
		}
	}
}
