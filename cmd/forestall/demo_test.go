package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/internal/worker"
)

type sleeper struct {
	pid   int
	ended chan struct{}
}

func startSleeper(t *testing.T, dir string) sleeper {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDemoSleeper$", "-test.v")
	cmd.Env = append(os.Environ(), "DEMO_SLEEPER="+dir+"/state")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan() && lines.Text() != "up"; {
	}
	s := sleeper{cmd.Process.Pid, make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-s.ended
	})
	return s
}

// checkDemoGolden compares with testdata/demo/NAME.txt, in which \e stands for
// an escape character.
func checkDemoGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "demo", name+".txt")
	got = strings.ReplaceAll(got, "\x1b", "\\e")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with go test ./cmd/forestall -run TestDemo -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

var demoHot = forestall.GPU("n2", 1)

// demoRisk is a risk as engines give it two seconds before noon.
func demoRisk(c forestall.Component, p float64, g forestall.Grade) forestall.Risk {
	r := forestall.Risk{Component: c, Time: noon.Add(-2 * time.Second), Horizon: 2 * time.Minute, Probability: p, Grade: g}
	if g >= forestall.Suspect {
		r.Reasons = []forestall.Reason{
			{Contribution: 4.0, Text: "memory temperature 88 °C, rising 123 °C/min over 10s (+4.0)"},
			{Contribution: 2.4, Text: "temperature 78 °C, rising 156 °C/min over 10s (+2.4)"},
			{Contribution: -0.8, Text: "power draw 398 W (-0.8)"},
		}
	}
	return r
}

// demoCalm is a cluster of three nodes in which nothing has happened yet.
func demoCalm() demoSight {
	s := demoSight{at: noon, status: api.Status{Leader: "n1", Quorum: true}}
	for i := range 3 {
		name := demoNodeName(i)
		s.members = append(s.members, forestall.Member{Name: name, GPUs: 4, State: forestall.MemberAlive})
		for g := range 4 {
			s.risks = append(s.risks, demoRisk(forestall.GPU(name, g), 0.02, forestall.Healthy))
		}
	}
	for i, w := range []struct{ name, node string }{{"index", "n1"}, {"train-1", "n2"}, {"train-2", "n3"}} {
		epoch := forestall.Epoch(20 + i)
		s.workloads = append(s.workloads, api.WorkloadStatus{
			Name: w.name, Kind: forestall.KindAgent, Node: w.node, Epoch: epoch, State: api.StateRunning, GPUs: []int{0, 1},
			Head: &forestall.Checkpoint{
				ID: "a" + w.name, Workload: w.name, Epoch: epoch, Time: noon.Add(-4 * time.Second), Size: 512 << 10,
				Took: 24 * time.Millisecond, Replicas: []string{w.node, demoNodeName((i + 1) % 3)},
			},
		})
	}
	return s
}

// demoHotSight is the same when a GPU under train-1 is about to fail.
func demoHotSight() demoSight {
	s := demoCalm()
	s.at = noon.Add(20 * time.Second)
	s.risks[5] = demoRisk(demoHot, 0.865, forestall.Failing)
	s.risks[5].Time = noon.Add(18 * time.Second)
	saved := *s.workloads[1].Head
	saved.ID, saved.Label, saved.Time = "b", "preemptive: gpu/n2/1", noon.Add(19*time.Second)
	s.workloads[1].Head = &saved
	ahead := *s.workloads[0].Head // taken ahead of its time on healthy hardware
	ahead.ID, ahead.Label = "c", "preemptive: gpu/n1/0"
	s.workloads[0].Head = &ahead
	return s
}

// demoMoved is the same after the move, the failure, and the death of n3.
func demoMoved() demoSight {
	s := demoHotSight()
	s.at = noon.Add(30 * time.Second)
	at := map[forestall.Phase]time.Time{}
	for i, phase := range demoPhases[:6] {
		at[phase] = noon.Add(20*time.Second + time.Duration(i)*8*time.Millisecond)
	}
	s.migrations = []forestall.Migration{{
		Decision: forestall.Decision{
			ID: "migrate-train-1-21-1", Action: forestall.ActionMigrate, Component: demoHot, Workload: "train-1", From: "n2", To: "n1", Time: at[forestall.PhaseProposed],
			Reasons: []string{"gpu/n2/1 is failing: probability 0.86 within 2m0s", "because it is hot", "expected to save 56.2 GPU-seconds for 20.0"},
		},
		Phase: forestall.PhaseDone, Epoch: 44, GPUs: []int{2, 3}, Attempt: 1, At: at, Pause: 41 * time.Millisecond,
	}}
	w := &s.workloads[1]
	w.Node, w.Epoch, w.GPUs = "n1", 44, []int{2, 3}
	s.members[2].State = forestall.MemberFailed
	for i := 8; i < 12; i++ {
		s.risks[i] = forestall.UnknownRisk(s.risks[i].Component, noon, "its node has told nothing for 3s")
	}
	s.incidents = []forestall.Incident{
		{Component: forestall.Node("n3"), Kind: forestall.NodeCrash, Start: noon.Add(28 * time.Second), Evidence: []string{"2 of 3 voters report it failed: n1, n2"}},
		{Component: demoHot, Kind: forestall.GPUFailure, Start: noon.Add(26 * time.Second), Evidence: []string{"XID 79: the GPU fell off the bus"}},
	}
	return s
}

// TestDemoTell tells a whole demo, looks twice at each moment, and once at an
// engine that lags behind: nothing is said twice.
func TestDemoTell(t *testing.T) {
	teller := newDemoTeller()
	var events []demoEvent
	for _, s := range []demoSight{{at: noon}, demoCalm(), demoCalm(), demoHotSight(), demoMoved(), demoMoved()} {
		events = append(events, teller.tell(s)...)
	}
	lagging := demoMoved()
	lagging.migrations, lagging.incidents = nil, nil
	events = append(events, teller.tell(lagging)...)
	events = append(events, teller.tell(demoMoved())...)
	var out bytes.Buffer
	for _, e := range events {
		e.Elapsed = e.Time.Sub(noon).Seconds()
		demoLines{view{out: &out}}.event(e)
	}
	checkDemoGolden(t, "told", out.String())
}

func TestDemoFrames(t *testing.T) {
	teller := newDemoTeller()
	var events []demoEvent
	for _, s := range []demoSight{demoCalm(), demoHotSight(), demoMoved()} {
		for _, e := range teller.tell(s) {
			e.Elapsed = 20 + e.Time.Sub(noon).Seconds()
			events = append(events, e)
		}
	}
	acts := []demoAct{{"a cluster forms", actDone}, {"a GPU degrades", actDone}, {"a node dies", actRuns}, {"what really ran", actWaits}}
	urls := []string{"http://127.0.0.1:20003/", "http://127.0.0.1:20007/"}
	for _, tt := range []struct {
		name  string
		frame demoFrame
	}{
		{"frame-start", demoFrame{width: 80, height: 24}},
		{"frame-120", demoFrame{width: 120, height: 30, acts: acts, urls: urls, sight: demoMoved(), events: events}},
		{"frame-80", demoFrame{width: 80, height: 24, acts: acts, urls: urls, sight: demoMoved(), events: events}},
		{"frame-narrow", demoFrame{width: 50, height: 12, acts: acts, urls: urls, sight: demoMoved(), events: events}},
		{"frame-color", demoFrame{width: 100, height: 22, acts: acts, urls: urls, sight: demoHotSight(), events: events, view: view{color: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.frame
			f.plan, f.elapsed, f.killed = demoPlan{3, 4, 7}, 50*time.Second, map[string]bool{"n3": true}
			lines := f.lines()
			if len(lines) > f.height {
				t.Errorf("%d lines on a screen of %d", len(lines), f.height)
			}
			if !f.view.color {
				for _, l := range lines {
					if n := utf8.RuneCountInString(l); n > f.width {
						t.Errorf("%d characters on a screen of %d: %s", n, f.width, l)
					}
				}
			}
			checkDemoGolden(t, tt.name, strings.Join(lines, "\n")+"\n")
		})
	}
}

func someDemoSummary() demoSummary {
	s := demoSummary{
		Type: "summary", Seed: 7, Nodes: 3, GPUs: 4, Took: 48.6, Interval: 5, Simulated: demoDisclaimer,
		Forestalled: &demoForestalled{
			Component: demoHot, Mode: demoFailure, Workload: "train-1", From: "n2", To: "n1", Reasons: []string{"temperature 78 °C"},
			Suspect: 21.5, Decided: 21.9, Lead: 8.1, Clear: 7.99, Pause: 0.131, PauseEngine: 0.041,
		},
		Recovered: &demoRecovered{Node: "n3", Led: true, Killed: 5, Detection: 0.87, Workloads: []demoRecoveredOf{{"train-2", "n1", 2.52, 23, 1.15}}},
		Copies:    &demoCopies{Workloads: 4, Runs: 7, Steps: 3758, Overlaps: []string{}},
	}
	s.check(true, "cluster formed", "3 nodes, leader n1 elected by Raft")
	s.check(true, "it failed with nothing on it", "gpu/n2/1: the GPU fell off the bus: the driver no longer finds it; read gpu/n2/1: GPU is gone; workloads on it: none")
	return s
}

func TestDemoSummary(t *testing.T) {
	show := func(s demoSummary, width int) string {
		var out bytes.Buffer
		s.settle()
		s.write(view{out: &out}, width)
		return out.String()
	}
	checkDemoGolden(t, "summary", show(someDemoSummary(), 0))
	checkDemoGolden(t, "summary-80", show(someDemoSummary(), 80))

	missed := demoSummary{Seed: 7, Took: 61, Simulated: demoDisclaimer, Logs: []string{"/tmp/forestall-demo-1/n1/engine.log"}}
	missed.check(false, "a cluster of all nodes with a leader", "not seen within 1m0s: no leader is elected")
	checkDemoGolden(t, "summary-missed", show(missed, 80))

	var nothing demoSummary
	if nothing.settle(); nothing.OK {
		t.Error("a demo without any check is called a success")
	}
	b, err := json.MarshalIndent(someDemoSummary(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	checkDemoGolden(t, "summary-json", string(b)+"\n")
}

// demoEntries is a run that notes each of its steps, one every 50 ms.
func demoEntries(epoch forestall.Epoch, start time.Time, from, to uint64) (entries []worker.Entry) {
	for step := from; step <= to; step++ {
		entries = append(entries, worker.Entry{Time: start.Add(time.Duration(step-from) * demoStepEvery), Epoch: epoch, PID: int(epoch), Step: step})
	}
	return entries
}

func TestDemoHandover(t *testing.T) {
	first := demoEntries(20, noon, 0, 100)
	last := first[100]
	final := last // noted again when its final checkpoint was taken
	final.Time = last.Time.Add(10 * time.Millisecond)
	resumed := last.Time.Add(2 * time.Second)
	for _, tt := range []struct {
		name    string
		entries []worker.Entry
		want    demoHandover
		err     string
	}{
		{
			"a move loses nothing",
			append(append(first[:101:101], final), demoEntries(44, resumed, 100, 110)...),
			demoHandover{stopped: last.Time, resumed: resumed.Add(demoStepEvery)},
			"",
		},
		{
			"a recovery repeats what was not saved",
			append(first[:101:101], demoEntries(44, resumed, 77, 90)...),
			demoHandover{stopped: last.Time, resumed: resumed.Add(demoStepEvery), redone: 23, undone: 23 * demoStepEvery},
			"",
		},
		{
			"a state from nowhere",
			append(first[:101:101], demoEntries(44, resumed, 103, 105)...),
			demoHandover{stopped: last.Time, resumed: resumed.Add(demoStepEvery), skipped: 3},
			"",
		},
		{"not there yet", first, demoHandover{}, "no run of epoch 44 follows another one"},
		{"no step yet", append(first[:101:101], demoEntries(44, resumed, 100, 100)...), demoHandover{stopped: last.Time}, "epoch 44 has done no step yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := handover(tt.entries, 44)
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(demoHandover{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDemoPreemptive(t *testing.T) {
	taken := func(id, label string, after time.Duration) forestall.Checkpoint {
		return forestall.Checkpoint{ID: id, Label: label, Time: noon.Add(after)}
	}
	ours, final := "preemptive: "+demoHot.String(), "before migration migrate-train-1-34-1"
	for _, tt := range []struct {
		name string
		all  []forestall.Checkpoint
		want string // ID
	}{
		{"the oldest after the moment", []forestall.Checkpoint{taken("c", final, 5), taken("b", ours, 4), taken("a", ours, 3), taken("old", ours, -1)}, "a"},
		{"the move's own is none", []forestall.Checkpoint{taken("c", final, 5), taken("p", "", 1)}, ""},
		{"another component's", []forestall.Checkpoint{taken("c", "preemptive: gpu/n1/0", 5), taken("d", demoHot.String(), 5)}, ""},
		{"before the moment", []forestall.Checkpoint{taken("c", ours, -1)}, ""},
		{"none at all", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, ok := preemptive(tt.all, demoHot, noon); c.ID != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %t, want %q", c.ID, ok, tt.want)
			}
		})
	}
}

func TestDemoCopies(t *testing.T) {
	first := demoEntries(20, noon, 0, 100)
	good := append(first[:101:101], demoEntries(44, noon.Add(8*time.Second), 90, 120)...)
	want := demoCopies{Workloads: 2, Runs: 3, Steps: 230, Overlaps: []string{}}
	if diff := cmp.Diff(want, countCopies(map[string][]worker.Entry{"a": good, "b": first})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	twice := append(first[:101:101], demoEntries(44, noon.Add(4*time.Second), 90, 120)...)
	if c := countCopies(map[string][]worker.Entry{"a": twice}); len(c.Overlaps) != 1 || !strings.HasPrefix(c.Overlaps[0], "a: ") {
		t.Errorf("two copies that live at once give %v", c.Overlaps)
	}
}

func TestWrapWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(rapid.StringMatching(`[a-zé°]{1,40}`)).Draw(t, "words"), " ")
		width := rapid.IntRange(2, 60).Draw(t, "width")
		lines := wrapWords(text, width)
		for _, l := range lines {
			if utf8.RuneCountInString(l) > width {
				t.Fatalf("%q is longer than %d", l, width)
			}
		}
		bare := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if bare(strings.Join(lines, "")) != bare(text) {
			t.Fatalf("%q became %q", text, lines)
		}
	})
}
