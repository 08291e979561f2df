package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// answering serves each path's value as JSON, nil as no content.
func answering(t *testing.T, answers map[string]any) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.RequestURI()]
		if !ok {
			http.Error(w, `{"status":404,"detail":"no component gpu/n9/0 is known to this engine"}`, http.StatusNotFound)
			return
		}
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		json.NewEncoder(w).Encode(answer) //nolint:errcheck // a test's answer
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// full is an output without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// What was asked for and did not arrive is an error.
func TestFullOutput(t *testing.T) {
	var errs bytes.Buffer
	if got := run([]string{"version"}, full{}, &errs); got != 1 || errs.String() != "forestall version: no space left on device\n" {
		t.Errorf("exit status %d, %q", got, &errs)
	}
}

func TestClientCommands(t *testing.T) {
	lost := someStatus()
	lost.Quorum = false
	url := answering(t, map[string]any{
		"/v1/status": someStatus(), "/v1/risk": someRisks(), "/v1/risk/gpu/n1/3": someRisks()[0], "/v1/workloads": someWorkloads(),
		"/v1/checkpoints": someCheckpoints(), "/v1/checkpoints?workload=train-1": someCheckpoints()[:1], "/v1/migrations": someMigrations(),
		"/v1/fleet":         someFleet(),
		"/v1/interventions": []api.Intervention{{Intervention: forestall.Intervention{Decision: "checkpoint-w-1", Component: forestall.GPU("n1", 3), Action: forestall.ActionCheckpoint}, HeldOut: true}},
		"/v1/observed":      []forestall.Decision{{ID: "migrate-w-1-0", Action: forestall.ActionMigrate, Mode: forestall.Observe, Component: forestall.GPU("n1", 3), Workload: "w", From: "n1", Price: forestall.Price{Saves: 90, Costs: 20}, Reasons: []string{"it is hot", "it gets hotter"}}},
		"/v1/models":        someModels(), "/v1/models/events": someEvents(), "/v1/models/gpu/rollback": nil, "/v1/members": []any{}, "/v1/incidents": []any{}, "/v1/workloads/train-1/retire": nil,
		"/v1/workloads/train-1/checkpoint": someCheckpoints()[0], "/v1/store": api.StoreStats{Node: "n1", Checkpoints: 7}, "/v1/store/gc": api.Collected{Freed: 5 << 20},
		"/v1/checkpoints/" + someCheckpoints()[0].ID:                   api.CheckpointDetail{Checkpoint: someCheckpoints()[0], States: []api.CheckpointState{{Name: "optimizer", Files: 2}}},
		"/v1/checkpoints/" + someCheckpoints()[0].ID + "/pin":          api.Pinned{On: []string{"n1", "n3"}},
		"/v1/checkpoints/orders":                                       []forestall.CheckpointOrder{{Step: forestall.CheckpointPinned, ID: someCheckpoints()[0].ID, By: "n2, asked for"}},
		"/v1/checkpoints/" + someCheckpoints()[1].ID + "?dry_run=true": api.Deleted{From: []string{}},
		"/v1/checkpoints/" + someCheckpoints()[1].ID:                   api.Deleted{From: []string{"n1", "n2"}, Failed: []string{"n3: no answer"}},
	})
	degraded := answering(t, map[string]any{"/v1/status": lost})
	tests := []struct {
		args, out, err string
	}{
		{"status --api " + url, "leader n2, quorum", ""},
		{"status --api " + degraded, "can decide nothing", "exit status 3"},
		{"risk --api " + url, "6 components: 1 failing, 1 suspect, 2 unknown, 2 healthy.", ""},
		{"risk gpu/n1/3 --api " + url, "failing: 87.3 % within 10 min", ""},
		{"risk gpu/n1/3 --json --api " + url, `"value": null`, ""},
		{"risk gpu/n9/0 --api " + url, "", "no component gpu/n9/0"},
		{"risk n1 --api " + url, "", "has no kind"},
		{"risk --json --api " + url, `"probability": null`, ""},
		{"workloads --api " + url, "service/index", ""},
		{"checkpoints --api " + url, "48 MiB", ""},
		{"checkpoints --workload train-1 --json --api " + url, `"sequence": 92`, ""},
		{"checkpoints create train-1 --label x --api " + url, "before-move", ""},
		{"checkpoints show 5fa03c --api " + url, "epoch 41, sequence 92", ""},
		{"checkpoints show 5fa03c --api " + url, "optimizer", ""},
		{"checkpoints pin 5fa03c --api " + url, "on every node that keeps it: now n1, n3", ""},
		{"checkpoints history --api " + url, "n2, asked for", ""},
		{"checkpoints stats --api " + url, "7 checkpoints", ""},
		{"checkpoints gc --api " + url, "5.0 MiB freed", ""},
		{"checkpoints delete 0b0b --dry-run --api " + url, "would drop 0b0b0b0b0b0b", ""},
		{"checkpoints delete 0b0b --api " + url, "may be still there: n3: no answer", "exit status 1"},
		{"checkpoints delete 0b0c --api " + url, "", "none begins with 0b0c"},
		{"checkpoints create nobody --api " + url, "", "is known to this engine"},
		{"migrations --api " + url, "n1 > n2", ""},
		{"retire train-1 --api " + url, "train-1 is retired: its run is being stopped", ""},
		{"retire train-1 --api " + url, "Take its [[workload]] out", ""},
		{"retire agent/train-1 --api " + url, "", "without its kind"},
		{"retire nobody --api " + url, "", "is known to this engine"},
		{"model --api " + url, "gpu-march 2026-03-01", ""},
		{"model show --json --api " + url, `"balanced_accuracy": 0.871`, ""},
		{"fleet --api " + url, "96.12 % good", ""},
		{"interventions --api " + url, "held out", ""},
		{"observed --api " + url, "70 GPU-s  it is hot; it gets hotter", ""},
		{"model list --api " + url, "2026-04-01", ""},
		{"model history --api " + url, "rolled back", ""},
		{"model rollback gpu --reason drift --api " + url, "champion for gpu again", ""},
		{"model promote disk --api " + url, "", "is not one of node, gpu"},
		{"members --api " + url, "no members", ""},
		{"incidents --json --api " + url, "[]", ""},
		{"incidents --api http://127.0.0.1:1", "", "is `forestall engine` running?"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var out bytes.Buffer
			var c struct {
				Status        statusCmd        `cmd:""`
				Risk          riskCmd          `cmd:""`
				Fleet         fleetCmd         `cmd:""`
				Workloads     workloadsCmd     `cmd:""`
				Retire        retireCmd        `cmd:""`
				Checkpoints   checkpointsCmd   `cmd:""`
				Migrations    migrationsCmd    `cmd:""`
				Model         modelCmd         `cmd:""`
				Interventions interventionsCmd `cmd:""`
				Observed      observedCmd      `cmd:""`
				Members       membersCmd       `cmd:""`
				Incidents     incidentsCmd     `cmd:""`
			}
			parser, err := kong.New(&c)
			if err != nil {
				t.Fatal(err)
			}
			command, err := parser.Parse(strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			err = command.Run(newGlobals(context.Background(), &out, &out))
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if !strings.Contains(out.String(), tt.out) {
				t.Errorf("output lacks %q:\n%s", tt.out, &out)
			}
			var status exitCode
			if strings.Contains(tt.err, "exit status 3") && (!errors.As(err, &status) || status != exitDegraded) {
				t.Errorf("error %v, want exit status %d", err, exitDegraded)
			}
		})
	}
}
