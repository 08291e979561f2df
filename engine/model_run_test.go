package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
)

// hotModel is a model that knows one thing: a GPU above 80 °C fails more often.
func hotModel(t *testing.T, version string, hot float64, windows ...time.Duration) api.ModelFiles {
	t.Helper()
	return modelFilesOf(t, hotModelDir(t, version, 0.01, hot, time.Minute, windows...))
}

// hotModelDir writes such a model, which says cold of a GPU that is not hot, to a
// directory.
func hotModelDir(t *testing.T, version string, cold, hot float64, horizon time.Duration, windows ...time.Duration) string {
	t.Helper()
	names := []string{"gpu_temperature_celsius_last"}
	split := model.Split{Threshold: 80, Missing: model.MissingNaN, DefaultLeft: true, Left: ^0, Right: ^1}
	logit := func(p float64) float64 { return math.Log(p / (1 - p)) }
	trees := []model.Tree{{
		Splits: []model.Split{split},
		Leaves: []model.Leaf{{Value: logit(cold), Count: 99}, {Value: logit(hot), Count: 1}},
	}}
	var text bytes.Buffer
	if err := model.WriteEnsemble(&text, names, "binary sigmoid:1", trees); err != nil {
		t.Fatal(err)
	}
	card := model.Card{
		Format: model.CardFormat, Name: "hot", Version: version, Kind: "gpu", Features: names, Horizon: model.Duration(horizon),
	}
	for _, w := range windows {
		card.Windows = append(card.Windows, model.Duration(w))
	}
	dir := t.TempDir()
	if err := model.Save(dir, text.Bytes(), card); err != nil {
		t.Fatal(err)
	}
	return dir
}

func modelFilesOf(t *testing.T, dir string) api.ModelFiles {
	t.Helper()
	var files api.ModelFiles
	for name, to := range map[string]*string{model.CardFile: &files.Card, model.TreesFile: &files.Trees} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		*to = string(b)
	}
	return files
}

func gpuModel(all []api.ModelStatus) api.ModelStatus {
	for _, m := range all {
		if m.Kind == forestall.KindGPU {
			return m
		}
	}
	return api.ModelStatus{}
}

// TestModelThatCannotBeHad: what the ledger names and no node has, or whose file
// is another, does not run: the model before goes on, also after a restart, and
// the status says why and what to do.
func TestModelThatCannotBeHad(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs = "sim", 2
	client, e, stop := runEngine(t, c)
	configured := gpuModel(await(t, "the configured model", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).SHA256 != "" })).SHA256
	await(t, "a leader", client.Status, api.Status.CanAgree)

	nobody := forestall.ModelRef{SHA256: strings.Repeat("ab", 32), Name: "gone", Version: "gone-1"}
	for _, step := range []forestall.ModelStep{forestall.ModelProposed, forestall.ModelPromoted} {
		if err := e.propose(t.Context(), "", &migrate.ModelStep{Kind: forestall.KindGPU, Step: step, Model: nobody, By: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	goesOn := func(text string) func([]api.ModelStatus) bool {
		return func(l []api.ModelStatus) bool {
			m := gpuModel(l)
			return m.SHA256 == configured && strings.Contains(m.Trouble, text) && strings.Contains(m.Trouble, "forestall model propose DIR")
		}
	}
	await(t, "the old model to go on", client.Models, goesOn("this node does not have its files"))
	stop()
	client, _, stop = runEngine(t, c)
	await(t, "the old model to go on after a restart", client.Models, goesOn("this node does not have its files"))
	await(t, "a note in the status", client.Status, func(s api.Status) bool {
		return strings.Contains(strings.Join(s.Notes, "\n"), "models of gpu: champion gone-1 abababababab cannot run here")
	})
	if err := client.ChangeModel(t.Context(), forestall.KindGPU, forestall.ModelRolledBack, api.ModelChange{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the trouble to end", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).Trouble == "" })

	// A real one, whose trees are then another's.
	ref, err := client.ProposeModel(t.Context(), hotModel(t, "hot-1", 0.5, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the candidate in shadow", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).Trial != nil })
	if err := client.ChangeModel(t.Context(), forestall.KindGPU, forestall.ModelPromoted, api.ModelChange{SHA256: ref.SHA256}); err != nil {
		t.Fatal(err)
	}
	await(t, "the new champion", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).SHA256 == ref.SHA256 && gpuModel(l).Trouble == "" })
	stop()
	other := hotModel(t, "hot-1", 0.6, 10*time.Second)
	if err := os.WriteFile(filepath.Join(e.models.dir, ref.SHA256, model.TreesFile), []byte(other.Trees), 0o600); err != nil {
		t.Fatal(err)
	}
	client, _, stop = runEngine(t, c)
	await(t, "the configured model to go on", client.Models, goesOn("the SHA-256 of the trees is"))
	stop()
}

// TestModelOfOtherWindows: a model with windows of its own warms them up in the
// shadow, and keeps them when it is promoted.
func TestModelOfOtherWindows(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs = "sim", 2
	client, e, stop := runEngine(t, c)
	defer stop()
	await(t, "a leader", client.Status, api.Status.CanAgree)
	ref, err := client.ProposeModel(t.Context(), hotModel(t, "short", 0.5, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the candidate in shadow", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).Trial != nil })
	champion, shadow := e.telemetry.lanes.of(forestall.KindGPU)
	if champion.store == shadow.store {
		t.Fatal("other windows, and they share a store")
	}
	await(t, "windows in the shadow", func(context.Context) (int, error) { return len(shadow.store.Components()), nil }, func(n int) bool { return n == 2 })
	if err := client.ChangeModel(t.Context(), forestall.KindGPU, forestall.ModelPromoted, api.ModelChange{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the new champion", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).SHA256 == ref.SHA256 })
	if now, _ := e.telemetry.lanes.of(forestall.KindGPU); now != shadow {
		t.Error("the champion is not the lane that ran in the shadow")
	}
	await(t, "a GPU judged by it", client.Risks, func(risks []forestall.Risk) bool {
		for _, r := range risks {
			if r.Model == "short" && r.Grade != forestall.Unknown {
				return true
			}
		}
		return false
	})
	for name, files := range map[string]api.ModelFiles{
		"the champion": hotModel(t, "short", 0.5, time.Second), "no card": {Trees: "tree"}, "windows that there are not": hotModel(t, "x", 0.5),
	} {
		if _, err := client.ProposeModel(t.Context(), files); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("propose %s: %v", name, err)
		}
	}
	if page := get(t, client.base+"/metrics"); !strings.Contains(page, fmt.Sprintf("fault_tolerance_model_info{kind=\"gpu\",role=\"champion\",sha256=%q,version=\"short\"} 1", ref.SHA256)) {
		t.Error("the metrics lack the champion")
	}
}

// soonMature has predictions mature soon after their horizon, when the one engine
// there is has long been told of a failure.
func soonMature(e *Engine) { e.telemetry.judged.lag = 2 * time.Second }

// TestModelPromotesItself: with model.promote = "act" a candidate that is better
// on the same predictions becomes champion without being asked for, once a failure
// has been seen and the predictions have matured.
func TestModelPromotesItself(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for predictions to mature; run without -short")
	}
	t.Parallel()
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs, c.Features.Host = "sim", 8, false
	c.Model.GPU = hotModelDir(t, "alarmist", 0.4, 0.5, 5*time.Second, time.Second)
	c.Model.Promote, c.Model.TrialFailures, c.Model.Recalibrate = forestall.Act, 1, forestall.Observe
	c.Model.TrialMin, c.Model.TrialMax = Duration{time.Second}, Duration{time.Hour}
	client, _, stop := runEngine(t, c, soonMature)
	defer stop()
	await(t, "a leader", client.Status, api.Status.CanAgree)
	ref, err := client.ProposeModel(t.Context(), modelFilesOf(t, hotModelDir(t, "calm", 0.01, 0.5, 5*time.Second, time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the candidate in shadow", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).Trial != nil })
	await(t, "judged GPUs", client.Risks, func(risks []forestall.Risk) bool {
		n := 0
		for _, r := range risks {
			if r.Grade != forestall.Unknown {
				n++
			}
		}
		return n == 8
	})
	if err := client.Inject(t.Context(), 3, "falls_off_bus", time.Second); err != nil {
		t.Fatal(err)
	}
	await(t, "the failure", client.Incidents, func(l []forestall.Incident) bool { return len(l) == 1 })
	events := awaitLong(t, 3*time.Minute, "the promotion", client.ModelEvents, func(l []forestall.ModelEvent) bool { return len(l) == 3 })
	if e := events[0]; e.Step != forestall.ModelPromoted || e.Model.SHA256 != ref.SHA256 || e.By != "n1" || !strings.Contains(strings.Join(e.Reasons, "; "), "the challenger is better") {
		t.Errorf("%+v", e)
	}
	await(t, "the new champion", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).SHA256 == ref.SHA256 })
}

// TestModelRollsItselfBack: a champion that expects failures which never come is
// taken back without being asked for, once enough of its predictions have
// matured; the ledger says why.
func TestModelRollsItselfBack(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for predictions to mature; run without -short")
	}
	t.Parallel()
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs, c.Features.Host = "sim", 8, false
	c.Model.GPU = hotModelDir(t, "calm", 0.01, 0.5, 2*time.Second, time.Second)
	c.Model.Promote = forestall.Act
	client, _, stop := runEngine(t, c, soonMature)
	defer stop()
	await(t, "a leader", client.Status, api.Status.CanAgree)
	ref, err := client.ProposeModel(t.Context(), modelFilesOf(t, hotModelDir(t, "alarmist", 0.4, 0.5, 2*time.Second, time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the candidate in shadow", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).Trial != nil })
	if err := client.ChangeModel(t.Context(), forestall.KindGPU, forestall.ModelPromoted, api.ModelChange{Reason: "by hand"}); err != nil {
		t.Fatal(err)
	}
	await(t, "the alarmist as champion", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).SHA256 == ref.SHA256 })
	events := awaitLong(t, 3*time.Minute, "the rollback", client.ModelEvents, func(l []forestall.ModelEvent) bool { return len(l) == 4 })
	why := strings.Join(events[0].Reasons, "; ")
	if ev := events[0]; ev.Step != forestall.ModelRolledBack || ev.Model.SHA256 != ref.SHA256 || ev.By != "n1" || !strings.Contains(why, "its calibration is lost: 0 failures came where") {
		t.Errorf("%+v", ev)
	}
	await(t, "the champion before", client.Models, func(l []api.ModelStatus) bool { return gpuModel(l).Version == "calm" })
	await(t, "a GPU judged by it", client.Risks, func(risks []forestall.Risk) bool {
		for _, r := range risks {
			if r.Model == "calm" && r.Grade != forestall.Unknown {
				return true
			}
		}
		return false
	})
}

// TestDecideModel: what the evidence asks for.
func TestDecideModel(t *testing.T) {
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	sha := func(letter string) string { return strings.Repeat(letter, 64) }
	ref := func(letter string) forestall.ModelRef {
		return forestall.ModelRef{SHA256: sha(letter), Version: letter}
	}
	candidate := func(step forestall.ModelStep) forestall.ModelRoles {
		c := ref("c")
		return forestall.ModelRoles{Champion: ref("a"), Candidate: &c, Step: step}
	}
	promoted := forestall.ModelRoles{Champion: ref("c"), Past: []forestall.ModelRef{{}}}
	// trial is of two nodes' halves: gain nats a component, of 20 on each.
	trial := func(champion, challenger string, gain float64, failures int, age time.Duration) map[string]modelReport {
		all := map[string]modelReport{}
		for i := range 2 {
			r := predict.TrialResult{Champion: champion, Challenger: challenger, From: now.Add(-age), Components: 20, Rows: 20_000, Positives: 60 * failures / 2, Failures: failures / 2, LossP: 100, LossQ: 100 - 20*gain}
			r.ExpectedP, r.ExpectedQ = float64(r.Positives), float64(r.Positives)
			r.Gain, r.GainSquare = 20*gain, 20*(gain*gain+1)
			all[fmt.Sprintf("n%d", i)] = modelReport{Champion: champion, Trial: &r}
		}
		return all
	}
	has := func(n int) map[string]modelReport {
		all := map[string]modelReport{}
		for i := range 3 {
			r := modelReport{Champion: sha("a")}
			if i < n {
				r.Candidate = sha("c")
			}
			all[fmt.Sprintf("n%d", i)] = r
		}
		return all
	}
	of := func(champion string, failures int, expected float64, rows int, drift float64) map[string]modelReport {
		return map[string]modelReport{
			"n1": {Champion: champion, Failures: failures, Expected: expected, Rows: rows, Drift: drift},
			"n2": {Champion: champion, Rows: rows, Drift: drift},
			"n3": {Champion: sha("e"), Failures: 100, Rows: 1000, Drift: 1}, // runs another one yet
		}
	}
	const configured = "builtin"
	day := 24 * time.Hour
	for _, c := range []struct {
		name    string
		roles   forestall.ModelRoles
		reports map[string]modelReport
		step    forestall.ModelStep
		why     string
	}{
		{"no candidate, no past", forestall.ModelRoles{}, nil, "", ""},
		{"one of three has it", candidate(forestall.ModelProposed), has(1), "", "1 of 3"},
		{"two of three have it", candidate(forestall.ModelProposed), has(2), forestall.ModelShadowed, "2 of 3"},
		{"better", candidate(forestall.ModelShadowed), trial(sha("a"), sha("c"), 0.6, 10, 4*day), forestall.ModelPromoted, "challenger is better"},
		{"better, too soon", candidate(forestall.ModelShadowed), trial(sha("a"), sha("c"), 0.6, 10, 2*day), "", "watched"},
		{"better, too few failures", candidate(forestall.ModelShadowed), trial(sha("a"), sha("c"), 0.6, 4, 4*day), "", "5 failures"},
		{"perhaps better", candidate(forestall.ModelShadowed), trial(sha("a"), sha("c"), 0.1, 10, 4*day), "", "chance"},
		{"worse", candidate(forestall.ModelShadowed), trial(sha("a"), sha("c"), -0.6, 10, 4*day), forestall.ModelRejected, "champion is better"},
		{"had its time", candidate(forestall.ModelShadowed), trial(sha("a"), sha("c"), 0.1, 10, 31*day), forestall.ModelRejected, "not better"},
		{"never a word", func() forestall.ModelRoles {
			r := candidate(forestall.ModelShadowed)
			r.Entered = now.Add(-31 * day)
			return r
		}(), has(0), forestall.ModelRejected, "30 days have passed"},
		{"a trial of others", candidate(forestall.ModelShadowed), trial(sha("e"), sha("c"), 0.6, 10, 4*day), "", "watched"},
		{"the one before is better", promoted, trial(sha("c"), configured, 0.6, 10, 4*day), forestall.ModelRolledBack, "before it is better"},
		{"the one before is worse", promoted, trial(sha("c"), configured, -0.6, 10, 4*day), "", ""},
		{"calibrated", promoted, of(sha("c"), 6, 4.2, 0, 0), "", ""},
		{"calibration lost", promoted, of(sha("c"), 9, 1.2, 0, 0), forestall.ModelRolledBack, "9 failures came where 1.2"},
		{"expects what never comes", promoted, of(sha("c"), 0, 8, 0, 0), forestall.ModelRolledBack, "0 failures"},
		{"drifted", promoted, of(sha("c"), 1, 1, 5000, 0.6), forestall.ModelRolledBack, "60 %"},
		{"a little drift", promoted, of(sha("c"), 1, 1, 5000, 0.4), "", ""},
		{"drifted, and nothing before it", forestall.ModelRoles{Champion: ref("c")}, of(sha("c"), 1, 1, 5000, 0.9), "", ""},
	} {
		d := decideModel(c.roles, configured, modelEvidence{now: now, alive: 3, reports: c.reports}, predict.DefaultTrialRule())
		if d.step != c.step || !strings.Contains(strings.Join(d.reasons, "; "), c.why) {
			t.Errorf("%s: %q because %q, want %q because %q", c.name, d.step, d.reasons, c.step, c.why)
		}
	}
}
