package workload

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// named is a launch of another workload than "train".
func (n *node) named(name string) Launch {
	l := n.launch(1, "/bin/sleep", "60")
	l.Workload.Name = name
	l.Workload.StateDir += "-" + name
	return l
}

// A damaged file refuses its own workload, says what to do, and costs the others
// nothing; once it is removed the run's end is reported and the next may start,
// without a restart of the engine.
func TestDamagedFileRefusesOnlyItsWorkload(t *testing.T) {
	for _, file := range []string{launchFile, floorFile} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			other := n.start(n.named("other"))
			st := n.start(n.launch(1, "/bin/sleep", "60"))
			n.stop()
			kill(t, st.ShimPID, unix.SIGKILL)
			await(t, "the workload's death", func() bool { return gone(st.PID) })
			path := runDir(n.dir + "/train").path(file)
			if err := os.WriteFile(path, []byte("rotten"), 0o600); err != nil {
				t.Fatal(err)
			}
			n.boot()
			if list := n.List(); len(list) != 1 || list[0].PID != other.PID {
				t.Errorf("adopted %+v, want only %+v", list, other)
			}
			err := n.Start(context.Background(), n.launch(2, "/bin/sleep", "60"))
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "until it is removed") {
				t.Errorf("start of the damaged one: %v", err)
			}
			if _, err := n.Stop(context.Background(), "train", 1, ""); err == nil {
				t.Error("a stop was confirmed on no evidence")
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if e := n.exit(); e.Workload != "train" || e.Epoch != 1 || e.Code != -1 || e.Expected {
				t.Errorf("exit %+v", e)
			}
			await(t, "the workload to be let in again", func() bool {
				return n.Start(context.Background(), n.launch(2, "/bin/sleep", "60")) == nil
			})
		})
	}
}

// A damaged floor forbids starts; what runs goes on.
func TestDamagedFloorKeepsWhatRuns(t *testing.T) {
	n := newNode(t)
	st := n.start(n.launch(1, "/bin/sleep", "60"))
	n.stop()
	path := runDir(n.dir + "/train").path(floorFile)
	if err := os.WriteFile(path, []byte("rotten"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.boot()
	if list := n.List(); len(list) != 1 || list[0].PID != st.PID {
		t.Errorf("adopted %+v, want %+v", list, st)
	}
	if err := n.Renew(context.Background(), "train", 1, NoDeadline); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// How the run ended is lost; that it ended is reported, unless that is known.
func TestDamagedExitIsReplaced(t *testing.T) {
	n := newNode(t)
	if err := n.Start(context.Background(), n.launch(1, sh("exit 7")...)); err != nil {
		t.Fatal(err)
	}
	if e := n.exit(); e.Code != 7 {
		t.Fatalf("exit %+v", e)
	}
	damage := func() {
		n.stop()
		if err := os.WriteFile(runDir(n.dir+"/train").path(exitFile), []byte("rotten"), 0o600); err != nil {
			t.Fatal(err)
		}
		n.boot()
	}
	damage()
	if e := n.exit(); e.Epoch != 1 || e.Code != -1 || e.Expected {
		t.Errorf("exit %+v", e)
	}
	if err := n.Acknowledge("train", 1); err != nil {
		t.Fatal(err)
	}
	damage()
	n.noExit()
	n.start(n.launch(2, "/bin/sleep", "60"))
}

// The log names file and remedy, once.
func TestRefusalIsLoggedOnce(t *testing.T) {
	n := newNode(t)
	n.stop()
	dir := forkedBefore(t, n)
	if err := os.WriteFile(dir.path(launchFile), []byte("rotten"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s, err := NewSupervisor(Config{Dir: n.dir, Shim: n.cfg.Shim, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Adopt(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.String(); strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, dir.path(launchFile)) || !strings.Contains(got, "until it is removed") {
		t.Errorf("log:\n%s", got)
	}
}
