package main

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/s3"
)

var update = flag.Bool("update", false, "write the golden files in testdata/format anew")

// noon is the moment at which every golden is looked at.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func judged(c forestall.Component, p float64, g forestall.Grade, why string) forestall.Risk {
	return forestall.Risk{
		Component: c, Time: noon.Add(-3 * time.Second), Horizon: 10 * time.Minute, Probability: p, Grade: g, Model: "demo-1",
		Reasons: []forestall.Reason{
			{Feature: "gpu_temperature_celsius:slope:1m", Value: 6.2, Contribution: 2.31, Text: why},
			{Feature: "gpu_ecc_corrected_total:rate:5m", Value: math.NaN(), Contribution: -0.4, Text: "corrected ECC errors are not reported any more"},
		},
	}
}

func someRisks() []forestall.Risk {
	all := []forestall.Risk{
		judged(forestall.GPU("n1", 0), 0.00061, forestall.Healthy, "temperature 54 °C, steady"),
		judged(forestall.GPU("n1", 10), 0.0000004, forestall.Healthy, "temperature 50 °C, steady"),
		forestall.UnknownRisk(forestall.GPU("n3", 7), noon.Add(-45*time.Second), "no telemetry for 45 s: the source does not answer"),
		judged(forestall.GPU("n2", 1), 0.142, forestall.Suspect, "NVLink replays 3.1 per second"),
		forestall.UnknownRisk(forestall.Agent("train-2"), time.Time{}, "no heartbeat yet"),
		judged(forestall.GPU("n1", 3), 0.873, forestall.Failing, "temperature rises by 6.2 °C per minute, now 91 °C"),
	}
	sortRisks(all)
	return all
}

func someStatus() api.Status {
	return api.Status{
		Node: "n1", Version: "0.1.0", Started: noon.Add(-3 * time.Hour), Leader: "n2", Quorum: true, Voters: 3, Members: 3,
		Mode:      map[string]forestall.Mode{"migrate": forestall.Observe, "checkpoint": forestall.Act},
		Workloads: 5, NotRunning: 1, OpenIncidents: 2,
		Fleet: api.FleetShort{Health: api.Number(0.99731), Expected: api.Number(0.083), Horizon: 600, Failed: 1, Trend: "worse"},
		Thresholds: []api.AlarmThreshold{
			{Kind: forestall.KindGPU, Grade: forestall.Suspect, At: api.Number(0.2), Reason: "as configured"},
			{Kind: forestall.KindGPU, Grade: forestall.Failing, At: api.Number(0.0312), Budget: 10, Reason: "lowered: the budget of 10 alarms for each 1,000 component-days allows 7 in the 702 that were counted, and 3.12 % would have raised 4"},
			{Kind: forestall.KindNode, Grade: forestall.Failing, At: api.Number(0.6), Reason: "as configured"},
		},
		Components: 31, Unknown: 2, ReplicationFactor: 3, EffectiveReplication: 3,
	}
}

func someFleet() api.FleetStatus {
	node := judged(forestall.Node("n1"), 0.873, forestall.Failing, "gpu/n1/3: temperature rises by 6.2 °C per minute, now 91 °C")
	node.Bounds, node.Note = &forestall.Bounds{Low: 0.871, High: 0.889}, "not known: gpu/n1/7"
	return api.FleetStatus{
		Health: api.Number(0.9612), Horizon: 600, Components: 31, Known: 28, Failed: 1, Suspect: 1, Failing: 1, Expected: api.Number(1.1),
		Any: api.Number(0.876), Bounds: &forestall.Bounds{Low: 0.872, High: 1}, Trend: "worse", Why: "-3.1 points in the hour under way against the 24 before, which vary by 0.2",
		Nodes: []forestall.Risk{node, forestall.UnknownRisk(forestall.Node("n2"), noon, "nothing is known of what it runs on")},
	}
}

func refOf(letter, version string) forestall.ModelRef {
	return forestall.ModelRef{SHA256: strings.Repeat(letter, 64), Name: "m", Version: version}
}

func someEvents() []forestall.ModelEvent {
	return []forestall.ModelEvent{
		{Index: 99, Time: noon.Add(-3 * time.Hour), Kind: forestall.KindGPU, Step: forestall.ModelRecalibrated, Model: refOf("a", "2026-03-01"), Odds: 1.25, Before: 1, By: "n2", Reasons: []string{"33 failures came where 16.4 were expected, with 50 as expected added to both 1.25 times as many"}},
		{Index: 93, Time: noon.Add(-time.Hour), Kind: forestall.KindGPU, Step: forestall.ModelRolledBack, Model: refOf("b", "2026-04-01"), Instead: refOf("a", "2026-03-01"), By: "n2", Reasons: []string{"its calibration is lost: 9 failures came where 1.2 were expected"}},
		{Index: 71, Time: noon.Add(-30 * time.Hour), Kind: forestall.KindGPU, Step: forestall.ModelPromoted, Model: refOf("b", "2026-04-01"), Instead: refOf("a", "2026-03-01"), By: "n1, asked for"},
		{Index: 60, Time: noon.Add(-90 * time.Hour), Kind: forestall.KindGPU, Step: forestall.ModelProposed, Model: refOf("b", "2026-04-01"), By: "n1, asked for"},
	}
}

func someModels() []api.ModelStatus {
	return []api.ModelStatus{
		{
			Kind: forestall.KindNode, Name: "node rules", Version: "hand-made-3", Horizon: 1800, HandMade: true, Odds: 1,
			Thresholds: []api.AlarmThreshold{
				{Kind: forestall.KindNode, Grade: forestall.Suspect, At: api.Number(0.2), Reason: "as configured"},
				{Kind: forestall.KindNode, Grade: forestall.Failing, Budget: 2, Reason: "nothing alarms: 9 reached the highest threshold"},
			},
		},
		{
			Kind: forestall.KindGPU, Name: "gpu-march", Version: "2026-03-01 odds x 1.25", Odds: 1.25, Horizon: 3600, Thresholds: someStatus().Thresholds[:2],
			Roles: forestall.ModelRoles{
				Champion: refOf("a", "2026-03-01"), Since: noon.Add(-50 * time.Hour), Past: []forestall.ModelRef{{}, refOf("c", "2026-02-01")},
				Candidate: &forestall.ModelRef{SHA256: strings.Repeat("b", 64), Name: "gpu-april", Version: "2026-04-01"}, Step: forestall.ModelShadowed, Entered: noon.Add(-26 * time.Hour),
				Odds: &forestall.ModelOdds{SHA256: strings.Repeat("a", 64), Factor: 1.25, Since: noon.Add(-3 * time.Hour)},
			},
			Trouble: "candidate 2026-04-01 bbbbbbbbbbbb: this node does not have its files",
			Unlike:  &api.ModelUnlike{Threshold: 3.214, Alarms: 1, Days: 412.4, Features: 620},
			Drift: api.ModelDrift{Rows: 11520, Weight: api.Number(0.31), Largest: api.Number(1.2), Features: []api.DriftFeature{
				{Name: "gpu_temperature_celsius_mean_1h", PSI: 1.2, Weight: 0.2}, {Name: "gpu_power_watts_last", PSI: 0.31, Weight: 0.11},
			}},
			Trial: &api.ModelTrial{
				Model: refOf("b", "2026-04-01"), Nodes: 3, Verdict: "better", Z: 2.4,
				Reasons: []string{"8640 predictions of 24 components over 26h0m0s, 6 failures", "the challenger is better"},
			},
			Recent: api.PredictionScores{
				Matured: 345600, Positive: 61, Expected: 58.2, Balanced: api.Number(0.871), Recall: api.Number(0.75), Brier: api.Number(0.00013),
				Failures: 2, Caught: 2, FalseAlarms: 1,
			},
		},
	}
}

func someWorkloads() []api.WorkloadStatus {
	head := someCheckpoints()[0]
	return []api.WorkloadStatus{
		{
			Name: "index", Kind: forestall.KindService, Node: "n1", Epoch: 41, State: api.StateRunning, GPUs: []int{0, 1}, Head: &head,
			Risk: judged(forestall.Service("index"), 0.004, forestall.Healthy, ""),
		},
		{
			Name: "train-2", Kind: forestall.KindAgent, Node: "n3", Epoch: 97, State: api.StateFailed, Restarts: 3,
			Risk: forestall.UnknownRisk(forestall.Agent("train-2"), noon, "no heartbeat yet"),
			Note: "exit status 3; last line: \x1b[2J\nout of memory",
		},
		{
			Name: "train-1", Kind: forestall.KindAgent, Node: "n2", Epoch: 55, State: api.StateStopped, Head: &head,
			Risk: forestall.UnknownRisk(forestall.Agent("train-1"), noon, "it does not run"), Note: "finished",
		},
	}
}

func someCheckpoints() []forestall.Checkpoint {
	return []forestall.Checkpoint{
		{
			ID: strings.Repeat("5fa03c", 11)[:64], Workload: "train-1", Epoch: 41, Sequence: 92, Time: noon.Add(-9 * time.Second), Label: "before-move",
			Size: 48 << 20, Added: 1234567, Took: 212 * time.Millisecond, Pause: 8300 * time.Microsecond, Replicas: []string{"n1", "n2"},
		},
		{ID: strings.Repeat("0b", 32), Workload: "index", Epoch: 7, Sequence: 1, Time: noon.Add(-26 * time.Hour), Size: 300, Added: 300, Took: 90 * time.Microsecond, Pinned: true},
	}
}

func someMigrations() []forestall.Migration {
	at := noon.Add(-26 * time.Minute)
	return []forestall.Migration{
		{
			Decision: forestall.Decision{
				ID: "d-91", Action: forestall.ActionMigrate, Mode: forestall.Act, Time: noon.Add(-2 * time.Second), Component: forestall.GPU("n1", 3),
				Workload: "train-1", From: "n1", To: "n2", Price: forestall.Price{Saves: 2412, Costs: 38}, Reasons: []string{"gpu/n1/3 fails within 10 min with probability 0.87"},
			},
			Phase: forestall.PhaseGranted, Epoch: 97, Attempt: 1,
		},
		{
			Decision: forestall.Decision{
				ID: "d-77", Action: forestall.ActionRecover, Mode: forestall.Act, Time: at, Component: forestall.Node("n2"), Workload: "serve", From: "n2", To: "n3",
				Price: forestall.Price{Saves: 600, Costs: 12}, Reasons: []string{"n2 is gone"},
			},
			Phase: forestall.PhaseDone, Epoch: 48, Attempt: 1, Pause: 1840 * time.Millisecond,
			At: map[forestall.Phase]time.Time{forestall.PhaseProposed: at, forestall.PhaseDone: at.Add(2100 * time.Millisecond)},
		},
		{
			Decision: forestall.Decision{
				ID: "d-70", Action: forestall.ActionMigrate, Mode: forestall.Act, Time: at.Add(-3 * time.Hour), Workload: "index", From: "n3",
				Price: forestall.Price{Saves: 90, Costs: 141}, Reasons: []string{"gpu/n3/1 suspect"},
			},
			Phase: forestall.PhaseAborted, Attempt: 2, Note: "no node has 2 free GPUs",
		},
	}
}

func TestGoldens(t *testing.T) {
	alone := someStatus()
	alone.Leader, alone.Quorum, alone.Members, alone.Voters, alone.EffectiveReplication = "", false, 1, 3, 1
	alone.Notes = []string{"2 of 3 voters have not answered for 12 s"}
	tests := []struct {
		name   string
		color  bool
		render func(view)
	}{
		{"risk", false, func(v view) { v.risks(someRisks()) }},
		{"risk-color", true, func(v view) { v.risks(someRisks()) }},
		{"risk-none", false, func(v view) { v.risks(nil) }},
		{"risk-one", false, func(v view) { v.risk(someRisks()[0]) }},
		{"risk-one-unknown", false, func(v view) {
			v.risk(forestall.UnknownRisk(forestall.GPU("n3", 7), noon, "no telemetry for 45 s"))
		}},
		{"risk-one-unusual", false, func(v view) {
			r := judged(forestall.GPU("n1", 0), 0.00061, forestall.Suspect, "unusual for itself since 11:48: power limit 350 W, usually 700 W")
			r.Note = "its model finds it healthy; it counts as suspect because it is unusual"
			r.Anomaly = &forestall.Anomaly{State: forestall.Unusual, Score: 4.31, Threshold: 2.2, Since: noon.Add(-12 * time.Minute), Reasons: []string{"power limit 350 W, usually 700 W", "SM clock 900 MHz, usually 1500 ± 90 MHz (7 standard deviations)"}}
			v.risk(r)
		}},
		{"risk-one-unlike", false, func(v view) {
			r := judged(forestall.GPU("n1", 3), 0.0012, forestall.Healthy, "temperature 54 °C, steady")
			r.Anomaly = &forestall.Anomaly{State: forestall.Usual, Score: 0.31, Threshold: 2.2}
			r.Unlike = &forestall.Anomaly{State: forestall.Unusual, Score: 5.02, Threshold: 3.1, Since: noon.Add(-12 * time.Minute), Reasons: []string{"PCIe replays 2.8/s over 5m, usually 0.007/min (4348 standard deviations)"}}
			v.risk(r)
			v.risks([]forestall.Risk{r})
		}},
		{"risk-one-learning", false, func(v view) {
			r := forestall.UnknownRisk(forestall.GPU("n3", 7), noon, "no model judges components of kind gpu")
			r.Anomaly = &forestall.Anomaly{Score: math.NaN(), Threshold: math.NaN(), Note: "learning what is usual: 2.2 days of 4.3 days seen"}
			v.risk(r)
		}},
		{"status", false, func(v view) { v.status(someStatus()) }},
		{"status-no-quorum", false, func(v view) { v.status(alone) }},
		{"members", false, func(v view) {
			v.members([]forestall.Member{
				{Name: "n1", Address: "127.0.0.1:7400", API: "http://127.0.0.1:7070", Zone: "a", GPUs: 8, Voter: true, State: forestall.MemberAlive},
				{Name: "n2", Address: "127.0.0.1:7401", API: "http://127.0.0.1:7071", GPUs: 8, Voter: true, Leader: true, State: forestall.MemberSuspect, LastSeen: 4200 * time.Millisecond},
				{Name: "n3", GPUs: 0},
			})
		}},
		{"fleet", false, func(v view) { v.fleet(someFleet()) }},
		{"fleet-none", false, func(v view) {
			v.fleet(api.FleetStatus{Trend: "unknown", Why: "0 hours of the last day are known; 6 are needed"})
		}},
		{"risk-job", false, func(v view) { v.risk(someFleet().Nodes[0]) }},
		{"model-list", false, func(v view) { v.modelList(someModels()) }},
		{"model-history", false, func(v view) { v.modelHistory(someEvents()) }},
		{"models", false, func(v view) { v.models(someModels()) }},
		{"workloads", false, func(v view) { v.workloads(someWorkloads(), false) }},
		{"workloads-all", false, func(v view) { v.workloads(someWorkloads(), true) }},
		{"workloads-none", false, func(v view) { v.workloads(nil, false) }},
		{"checkpoints", false, func(v view) { v.checkpoints(someCheckpoints(), "") }},
		{"checkpoint", false, func(v view) {
			v.checkpoint(api.CheckpointDetail{Checkpoint: someCheckpoints()[0], States: []api.CheckpointState{{Name: "optimizer", Files: 2, Size: 32 << 20}, {Name: "weights", Files: 1, Size: 16 << 20}}})
			v.checkpoint(api.CheckpointDetail{Checkpoint: forestall.Checkpoint{ID: someCheckpoints()[1].ID}, States: []api.CheckpointState{}, Damage: "n1: corrupt checkpoint data: the manifest has vanished"})
		}},
		{"checkpoints-diff", false, func(v view) {
			all := someCheckpoints()
			v.difference(checkpoint.Difference{From: all[0], To: all[0], Added: []string{"new"}, Changed: []string{"a\x1b[2J"}, Removed: []string{"old"}, Same: 4, Bytes: 12345})
		}},
		{"checkpoints-verify", false, func(v view) {
			all := someCheckpoints()
			v.verdicts([]verdict{{Checkpoint: all[0]}, {Checkpoint: all[1], Error: "verify checkpoint 0b0b: corrupt checkpoint data\nand more"}})
		}},
		{"checkpoints-delete", false, func(v view) {
			all := someCheckpoints()
			v.droppedOnes([]dropped{{all[0], api.Deleted{From: []string{"n1", "s3://b/p"}, Failed: []string{"n2: no answer"}}}}, false)
			v.droppedOnes([]dropped{{Checkpoint: all[1]}}, true)
		}},
		{"checkpoints-pin", false, func(v view) {
			cp := someCheckpoints()[0]
			v.pinned(pinned{cp, api.Pinned{On: []string{"/var/lib/store"}}, false})
			cp.Pinned = true
			v.pinned(pinned{cp, api.Pinned{On: []string{"n1", "n3"}, Failed: []string{"node n2: no answer"}}, true})
		}},
		{"checkpoints-history", false, func(v view) {
			v.checkpointOrders([]forestall.CheckpointOrder{
				{Index: 9, Time: noon.Add(-time.Minute), Step: forestall.CheckpointDropped, ID: someCheckpoints()[1].ID, Damage: "n1: corrupt checkpoint data", By: "n1, asked for"},
				{Index: 7, Time: noon.Add(-time.Hour), Step: forestall.CheckpointPinned, ID: someCheckpoints()[0].ID, Workload: "train-1", Epoch: 41, Sequence: 92, By: "n2, asked for"},
			})
		}},
		{"checkpoints-stats", false, func(v view) {
			v.storeStats(api.StoreStats{Node: "n1", Path: "/var/lib/forestall/checkpoints", Checkpoints: 2016, Workloads: 3, Chunks: 81234, ChunkBytes: 7 << 30, Packs: 120, PackBytes: 8 << 30, StateBytes: 2 << 40, FreeBytes: -1, Damaged: []api.DamagedCheckpoint{{ID: someCheckpoints()[1].ID, Error: "corrupt checkpoint data"}}})
			v.collected(api.Collected{Freed: 5 << 20})
			v.collectedS3(s3.Collected{Objects: 12, Bytes: 300 << 20, Marked: 3, Removed: 1, Freed: 2 << 20, Aborted: 1})
		}},
		{"restore", false, func(v view) {
			cp := someCheckpoints()[0]
			v.restored(restored{Checkpoint: cp, To: "/srv/agent", State: "weights", Size: 16 << 20})
			v.restored(restored{Checkpoint: cp, To: "/srv/agent", DryRun: true, Changes: &checkpoint.Changes{Added: []string{"x"}, Removed: []string{"y"}, Same: 7}})
		}},
		{"migrations", false, func(v view) { v.migrations(someMigrations()) }},
		{"incidents", false, func(v view) {
			v.incidents([]forestall.Incident{
				{Component: forestall.GPU("n2", 6), Kind: forestall.GPUFailure, Start: noon.Add(-26 * time.Minute), Evidence: []string{"XID 79: GPU has fallen off the bus", "device vanished"}},
				{Component: forestall.Node("n3"), Kind: forestall.NodeCrash, Start: noon.Add(-72 * time.Hour), End: noon.Add(-72*time.Hour + 95*time.Second)},
			})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tt.render(view{out: &out, color: tt.color, now: noon})
			file := filepath.Join("testdata", "format", tt.name+".txt")
			got := strings.ReplaceAll(out.String(), "\x1b", "\\e") // so that a golden can be read
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; write it with go test ./cmd/forestall -run TestGoldens -update", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func TestQuantities(t *testing.T) {
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check(textBytes(0), "0 B")
	check(textBytes(1023), "1023 B")
	check(textBytes(1<<20-1), "1.0 MiB")
	check(textBytes(math.MaxInt64), "8.0 EiB")
	check(textDuration(0), "-")
	check(textDuration(59*time.Second), "59 s")
	check(textDuration(95*time.Second), "1 min 35 s")
	check(textDuration(2*time.Minute), "2 min")
	check(textDuration(119*time.Minute), "119 min")
	check(textDuration(47*time.Hour), "47 h")
	check(textDuration(7*24*time.Hour), "7 d")
	check(textAgo(noon, noon.Add(time.Second)), "now")
	check(textAgo(noon, time.Time{}), "never")
	check(textRisk(forestall.Risk{Grade: forestall.Failing, Probability: 0.99999}), ">99.9 %")
	check(textRisk(forestall.Risk{}), "unknown")
}
