package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// wearModel trains a small model and returns its directory and a table of
// other units.
func wearModel(t *testing.T, flags ...string) (dir, test string) {
	t.Helper()
	table := plainTable(t, "train.csv", 40, 1)
	dir = filepath.Join(t.TempDir(), "wear")
	base := []string{"train", "--table", table, "--label", "fails", "--drop", "unit,hour,note,at", "--trees", "20", "--leaves", "7", "--out", dir}
	forestallRun(t, 0, append(base, flags...)...)
	return dir, plainTable(t, "test.csv", 30, 2)
}

// TestEvaluateJSON: the keys that others read, each with its interval.
func TestEvaluateJSON(t *testing.T) {
	dir, test := wearModel(t)
	base := []string{"evaluate", "--model", dir, "--table", test, "--label", "fails", "--bootstrap", "50", "--json"}
	decode := func(flags ...string) (v map[string]any) {
		t.Helper()
		out, _ := forestallRun(t, 0, append(base, flags...)...)
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	grouped := []string{"--group", "unit", "--time", "hour", "--time-unit", "hours", "--event-time", "at"}
	v := decode(append(grouped, "--lead", "3", "--threshold", "0.5", "--budget", "10,500", "--against", dir)...)
	intervals := v["intervals"].(map[string]any)
	for _, key := range []string{"average_precision", "roc_auc", "log_loss", "brier", "brier_skill", "ece"} {
		value, span := v[key].(float64), intervals[key].([]any)
		if !(span[0].(float64) <= value && value <= span[1].(float64)) {
			t.Errorf("%s is %v with the interval %v", key, value, span)
		}
	}
	if v["components"] != 30.0 || v["incidents"] != 30.0 || v["time_unit"] != "hours" || v["rate_unit"] != "days" || v["resampled"] != "components" || v["trained_on_this_table"] != false {
		t.Errorf("%v", v)
	}
	alarms := v["alarms"].([]any)
	if len(alarms) != 3 {
		t.Fatalf("%d alarms", len(alarms))
	}
	for _, key := range []string{
		"budget_per_1000", "false_alarms_per_1000", "threshold", "threshold_from", "incidents", "caught", "late", "lead_median", "lead_p10", "caught_share",
		"component_share", "precision", "row_precision", "row_recall", "failing_components", "caught_components", "intervals",
	} {
		if _, ok := alarms[0].(map[string]any)[key]; !ok {
			t.Errorf("alarms have no %s", key)
		}
	}
	first, last := alarms[0].(map[string]any), alarms[2].(map[string]any)
	if first["threshold"] != 0.5 || first["threshold_from"] != "given" || first["budget_per_1000"] != nil || last["budget_per_1000"] != 500.0 || last["threshold_from"] != "this table" {
		t.Errorf("alarms %v", alarms)
	}
	against := v["against"].(map[string]any)["roc_auc"].(map[string]any)
	if against["difference"] != 0.0 || against["better_share"] != 0.5 {
		t.Errorf("against itself: %v", against)
	}

	// The threads do not matter, the order of the rows neither.
	for _, threads := range []string{"1", "3"} {
		a, b := decode(append(grouped, "--threads", threads)...), decode(grouped...)
		if x, y := a["intervals"].(map[string]any)["roc_auc"], b["intervals"].(map[string]any)["roc_auc"]; x.([]any)[0] != y.([]any)[0] {
			t.Errorf("%s threads: %v, %v", threads, x, y)
		}
	}

	v = decode("--bootstrap", "0")
	if _, ok := v["alarms"]; ok || v["resampled"] != "rows" || len(v["top_rows"].([]any)) != 3 {
		t.Errorf("without components: %v", v)
	}
	if span := v["intervals"].(map[string]any)["ece"].([]any); span[0] != nil {
		t.Errorf("an interval without resamples: %v", span)
	}
}

// TestEvaluateShow: what the terminal says.
func TestEvaluateShow(t *testing.T) {
	dir, test := wearModel(t)
	base := []string{"evaluate", "--model", dir, "--table", test, "--label", "fails"}
	out, _ := forestallRun(t, 0, append(base, "--group", "unit", "--time", "hour", "--time-unit", "hours", "--lead", "2", "--against", dir)...)
	for _, want := range []string{
		"30 components; 30 incidents", "200 resamples of components", "for each 1,000 component-days, lead times in hours", "chosen on this very table",
		"less than 2 hours left is late", "BETTER IN", "50 %",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("not said: %q in\n%s", want, out)
		}
	}
	out, _ = forestallRun(t, 0, append(base, "--threshold", "0.3", "--bootstrap", "0")...)
	for _, want := range []string{"riskiest 0.1 %", "at 0.3 or more", "With --group and --time"} {
		if !strings.Contains(out, want) {
			t.Errorf("not said: %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "brackets") || strings.Contains(out, "[") {
		t.Errorf("intervals that were not asked for:\n%s", out)
	}

	table := plainTable(t, "train.csv", 40, 1) // what the model was trained on
	out, _ = forestallRun(t, 0, "evaluate", "--model", dir, "--table", table, "--label", "fails", "--bootstrap", "0")
	if !strings.Contains(out, "trained on this very table") {
		t.Errorf("the training table is not noticed:\n%s", out)
	}
}

func TestEvaluateReport(t *testing.T) {
	dir, test := wearModel(t)
	page := filepath.Join(t.TempDir(), "test.html")
	out, _ := forestallRun(t, 0, "evaluate", "--model", dir, "--table", test, "--label", "fails", "--group", "unit", "--time", "hour", "--report", page)
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(out, "Wrote "+page) {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"What false alarms buy", "Worst false alarms", "Worst misses", "wear", "component-units"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page does not hold %q", want)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(page)); err != nil || len(entries) != 1 {
		t.Errorf("left beside the page: %v, %v", entries, err)
	}
}

// namedUnits returns the table with names in place of the units' numbers, which
// are no different as float64.
func namedUnits(t *testing.T, table string) string {
	t.Helper()
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	header, rows, _ := strings.Cut(string(text), "\n")
	var b strings.Builder
	fmt.Fprintln(&b, header)
	for row := range strings.Lines(rows) {
		unit, rest, _ := strings.Cut(row, ",")
		n, err := strconv.Atoi(unit)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("gpu/n%s/0", unit)
		if n%2 == 0 {
			name = fmt.Sprint(1<<60 + n)
		}
		b.WriteString(name + "," + rest)
	}
	path := filepath.Join(t.TempDir(), "named.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGroupsAreText: names of components tell them apart as numbers do.
func TestGroupsAreText(t *testing.T) {
	dir, test := wearModel(t)
	named := namedUnits(t, test)
	page := filepath.Join(t.TempDir(), "page.html")
	var out [2]string
	for i, table := range []string{test, named} {
		out[i], _ = forestallRun(t, 0, "evaluate", "--model", dir, "--table", table, "--label", "fails", "--group", "unit", "--time", "hour", "--json", "--report", page)
	}
	if out[0] != out[1] || !strings.Contains(out[0], `"components": 30`) {
		t.Errorf("with numbers\n%s\nwith names\n%s", out[0], out[1])
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "gpu/n1/0") && !strings.Contains(string(text), fmt.Sprint(1<<60+2)) {
		t.Errorf("the page names no component: %v, %d bytes", err, len(text))
	}
	var trees [2]string
	for i, table := range []string{test, named} {
		dir := filepath.Join(t.TempDir(), "m")
		forestallRun(t, 0, "train", "--table", table, "--label", "fails", "--drop", "note,at,hour", "--group", "unit", "--folds", "3", "--trees", "5", "--calibrate", "30%", "--out", dir)
		m, err := model.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		trees[i] = m.Card.TreesSHA256
	}
	if trees[0] != trees[1] {
		t.Error("names and numbers make different folds")
	}
}

func TestEvaluateErrors(t *testing.T) {
	dir, test := wearModel(t)
	base := []string{"evaluate", "--model", dir, "--table", test, "--label", "fails"}
	for want, flags := range map[string][]string{
		"--time needs --group":                  {"--time", "hour"},
		"--event-time needs":                    {"--group", "unit", "--event-time", "at"},
		"--lead needs":                          {"--lead", "3"},
		"--budget is 0":                         {"--budget", "0"},
		"--threshold is 2":                      {"--threshold", "2"},
		"--bootstrap is -1":                     {"--bootstrap=-1"},
		"this is a directory":                   {"--report", dir},
		"--report: stat nowhere":                {"--report", "nowhere/report.html"},
		`column "x" is missing`:                 {"--group", "x"},
		"there is no model nowhere":             {"--against", "nowhere"},
		"line 2, column 4 (note)":               {"--group", "unit", "--time", "note"},
		"column wear: the component is missing": {"--group", "wear"},
	} {
		if _, stderr := forestallRun(t, 1, append(base, flags...)...); !strings.Contains(stderr, want) {
			t.Errorf("%v: %q does not say %q", flags, stderr, want)
		}
	}
}

// What is no model is named, and not read to its end.
func TestNoModel(t *testing.T) {
	dir, test := wearModel(t)
	alone, huge := t.TempDir(), filepath.Join(t.TempDir(), "huge.csv")
	text, err := os.ReadFile(filepath.Join(dir, model.TreesFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{filepath.Join(alone, model.TreesFile): text, huge: nil} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(huge, 1<<40); err != nil { // a file with a hole
		t.Skipf("no large file can be made here: %v", err)
	}
	pipe := filepath.Join(alone, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		alone: "card.json: no such file or directory: a model is a directory with model.txt and card.json, or a bare model.txt",
		huge:  huge + ": not a usable LightGBM model: it is larger than 268435456 bytes",
		pipe:  pipe + ": not a usable LightGBM model: it is a pipe, a socket or a device, not a file",
	} {
		fails(t, want, "evaluate", "--table", test, "--label", "fails", "--model", path)
	}
}

// A label that is not there is not called NaN.
func TestEvaluateMissingLabel(t *testing.T) {
	dir, _ := wearModel(t)
	table := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(table, []byte("wear,temp,fails\n1,2,1\n1,2,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, table+": line 3: column fails: the label is missing; leave such rows out", "evaluate", "--table", table, "--label", "fails", "--model", dir)
}

// Of one component there are no intervals, and it is said why.
func TestEvaluateOneComponent(t *testing.T) {
	dir, _ := wearModel(t)
	page := filepath.Join(t.TempDir(), "r.html")
	out := runs(t, "evaluate", "--table", plainTable(t, "t.csv", 1, 3), "--label", "fails", "--model", dir, "--group", "unit", "--time", "hour", "--against", dir, "--report", page)
	if !strings.Contains(out, noIntervals) || strings.Contains(out, "[") {
		t.Errorf("evaluate says\n%s", out)
	}
	html, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(html), "All rows are of one component") || strings.Contains(string(html), "resamples") {
		t.Errorf("the page does not say that there are none, or says how they come about (%v)", err)
	}
}
