package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// plainTable writes a table of units that wear out: wear rises with time, and
// the last ten rows of each unit are positive.
func plainTable(t *testing.T, name string, units int, seed uint64) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	b.WriteString("unit,hour,wear,note,temp,fails,at\n")
	for unit := range units {
		life := 40 + rng.IntN(60)
		for hour := range life {
			wear := ""
			if rng.IntN(20) > 0 {
				wear = fmt.Sprint(float64(hour)/float64(life) + 0.1*rng.NormFloat64())
			}
			fails := 0
			if hour >= life-10 {
				fails = 1
			}
			fmt.Fprintf(&b, "%d,%d,%s,free text,%.2f,%d,%d\n", unit, hour, wear, rng.NormFloat64(), fails, life)
		}
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// forestallRun runs the program and returns what it printed.
func forestallRun(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(args, &out, &errs); got != status {
		t.Fatalf("forestall %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, status, &out, &errs)
	}
	return out.String(), errs.String()
}

func TestTrainPredictEvaluate(t *testing.T) {
	table, valid, test := plainTable(t, "train.csv", 60, 1), plainTable(t, "valid.csv", 20, 2), plainTable(t, "test.csv", 20, 3)
	later := plainTable(t, "later.csv", 20, 4)
	dir := filepath.Join(t.TempDir(), "wear")
	out, stderr := forestallRun(t, 0, "train", "--table", table, "--label", "fails", "--drop", "unit,hour,note,at",
		"--valid", valid, "--early-stopping", "10", "--calibrate", later, "--monotone", "wear=+1", "--scale-pos-weight", "3",
		"--trees", "200", "--leaves", "7", "--learning-rate", "0.1", "--max-bin", "63", "--min-leaf", "10", "--seed", "3", "--threads", "2",
		"--horizon", "10h", "--json", "--out", dir)
	if !strings.Contains(out, "stopped early") {
		t.Errorf("train says %q", out)
	}
	var line struct {
		Tree    int
		LogLoss float64
	}
	if first, _, _ := strings.Cut(stderr, "\n"); json.Unmarshal([]byte(first), &line) != nil || line.Tree != 1 || line.LogLoss <= 0 {
		t.Errorf("the first line of --json is %q", first)
	}
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c := m.Card; c.Name != "wear" || c.Horizon.String() != "10h0m0s" || c.Monotone["wear"] != 1 || c.Calibration.Method != model.Platt || len(c.Training.DataSHA256) != 64 {
		t.Errorf("card %+v", c)
	}

	probability := predicted(t, 3, dir, test, "--contributions")
	score := predicted(t, 1, dir, test, "--raw")
	bare := predicted(t, 1, filepath.Join(dir, "model.txt"), test)
	for i := range score {
		p := probability[i]
		if sum := p[1] + p[2] + p[3]; math.Abs(sum-score[i][0]) > 1e-9 {
			t.Fatalf("row %d: the contributions add up to %v, the score is %v", i, sum, score[i][0])
		}
		if want := model.Sigmoid(score[i][0]); bare[i][0] != want || p[0] == want {
			t.Fatalf("row %d: %v calibrated, %v bare, the sigmoid is %v", i, p[0], bare[i][0], want)
		}
	}

	var e struct {
		Rows   int
		AUC    float64 `json:"roc_auc"`
		Skill  float64 `json:"brier_skill"`
		Unit   string  `json:"time_unit"`
		Alarms []struct {
			Incidents, Caught int
			Lead              float64 `json:"lead_median"`
		}
	}
	flags := []string{"evaluate", "--model", dir, "--table", test, "--label", "fails", "--group", "unit", "--time", "hour", "--time-unit", "hours", "--event-time", "at", "--budget", "1,10,500"}
	out, _ = forestallRun(t, 0, append(flags, "--json")...)
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatal(err)
	}
	last := e.Alarms[len(e.Alarms)-1]
	if e.Rows != len(score) || e.AUC < 0.9 || e.Skill < 0.3 || e.Unit != "hours" || last.Incidents != 20 || last.Caught < 5 || !(last.Lead > 0) || last.Lead > 10 {
		t.Errorf("evaluation %s", out)
	}
	out, _ = forestallRun(t, 0, flags...)
	if !strings.Contains(out, "of 20") || !strings.Contains(out, "lead times in hours") {
		t.Errorf("evaluate says\n%s", out)
	}
}

// predicted returns what predict prints for each row, so many columns.
func predicted(t *testing.T, atLeast int, model, table string, flags ...string) (rows [][]float64) {
	t.Helper()
	out, _ := forestallRun(t, 0, append([]string{"predict", "--model", model, "--table", table}, flags...)...)
	records, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records[1:] {
		var row []float64
		for _, cell := range record {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, v)
		}
		if len(row) < atLeast {
			t.Fatalf("a row has %d columns", len(row))
		}
		rows = append(rows, row)
	}
	return rows
}

func TestTrainRegression(t *testing.T) {
	table := plainTable(t, "t.csv", 20, 4)
	dir := t.TempDir()
	forestallRun(t, 0, "train", "--table", table, "--label", "at", "--drop", "unit,note", "--objective", "regression", "--trees", "5", "--out", dir)
	if rows := predicted(t, 1, dir, table, "--raw"); len(rows) == 0 || rows[0][0] < 30 {
		t.Errorf("scores %v", rows[:1])
	}
	if _, stderr := forestallRun(t, 1, "predict", "--model", dir, "--table", table); !strings.Contains(stderr, "--raw") {
		t.Errorf("probability of a regression: %q", stderr)
	}
	flags := []string{"evaluate", "--model", dir, "--table", table, "--label", "at"}
	out, _ := forestallRun(t, 0, append(flags, "--group", "unit")...)
	if !strings.Contains(out, "20 components.") || !strings.Contains(out, "root mean squared error") {
		t.Errorf("evaluate says\n%s", out)
	}
	var e struct {
		Rows          int
		RMSE, MAE, R2 float64
	}
	out, _ = forestallRun(t, 0, append(flags, "--json")...)
	if err := json.Unmarshal([]byte(out), &e); err != nil || e.Rows == 0 || !(e.RMSE >= e.MAE) || !(e.R2 > 0) {
		t.Errorf("error %v, evaluation %s", err, out)
	}
	if _, stderr := forestallRun(t, 1, append(flags, "--report", "r.html")...); !strings.Contains(stderr, "--report is about probabilities of failure, and "+dir+" is a regression") {
		t.Errorf("a report about a regression: %q", stderr)
	}
}

func TestTrainErrors(t *testing.T) {
	table := plainTable(t, "t.csv", 10, 5)
	out := filepath.Join(t.TempDir(), "m")
	base := []string{"train", "--table", table, "--label", "fails", "--out", out, "--drop", "note"}
	for want, flags := range map[string][]string{
		"--monotone wear":                          {"--monotone", "wear"},
		`--monotone: "rust"`:                       {"--monotone", "rust=+1"},
		"--monotone names wear twice":              {"--monotone", "wear=+1,wear=-1"},
		`--monotone: "a=b" is not`:                 {"--monotone", "a=b=+1"},
		"--goss has 1 values":                      {"--goss", "0.2"},
		"one of logloss, ap, auc":                  {"--metric", "rmse"},
		"--leaves is 1":                            {"--leaves", "1"},
		"--max-bin is 300":                         {"--max-bin", "300"},
		"--learning-rate is 2; it":                 {"--learning-rate", "2"},
		`column "x" is missing`:                    {"--weight", "x"},
		"--early-stopping needs":                   {"--early-stopping", "5"},
		"--metric \"rmse\" does":                   {"--metric", "rmse"},
		"no such file":                             {"--valid", "nowhere.csv"},
		"no such file or directory":                {"--calibrate", "nowhere.csv"},
		"is not among the features":                {"--categorical", "note"},
		"cannot be dropped":                        {"--drop", "fails"},
		"--threads is -1; it must be ":             {"--threads=-1"},
		"687 rows are too few for --min-leaf 9999": {"--min-leaf", "9999"},
		"--sample-rows is 0.5; beside GOSS":        {"--goss", "0.2,0.1", "--sample-rows", "0.5"},
	} {
		if _, stderr := forestallRun(t, 1, append(base, flags...)...); !strings.Contains(stderr, want) {
			t.Errorf("%v: %q does not say %q", flags, stderr, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%v: a model was written", flags)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "header": "a,fails\n", "ragged": "a,fails\n1,0\n1\n", "constant": "a,fails\n1,0\n2,0\n", "infinite": "a,fails\n1,0\ninf,1\n",
		"label": "a,fails\n1,0\n2,3\n", "twice": "a,a,fails\n1,2,0\n", "missing": "a,fails\n,0\n,1\n", "parquet": "PAR1",
	} {
		bad := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(bad, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, stderr := forestallRun(t, 1, "train", "--table", bad, "--label", "fails", "--out", out); !strings.Contains(stderr, bad+": ") {
			t.Errorf("%s: %q does not name the file", name, stderr)
		}
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%s: a model was written", name)
		}
	}
	if _, stderr := forestallRun(t, 1, "train", "--table", table, "--label", "fails", "--out", out); !strings.Contains(stderr, "line 2, column 4 (note)") {
		t.Errorf("text in a feature: %q", stderr)
	}
}

// Where a model or a report cannot be written, that is said before anything is read,
// and nothing is left behind.
func TestTrainOut(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	base := []string{"train", "--table", "nowhere.csv", "--label", "fails"}
	for out, want := range map[string]string{
		file:                         "--out " + file + ": it is a file; name a directory",
		filepath.Join(file, "x"):     "--out: stat " + filepath.Join(file, "x") + ": not a directory",
		"/proc/x/y":                  "--out /proc/x/y: no file can be made in /proc: ",
		filepath.Join(dir, "m", "n"): "open nowhere.csv: no such file",
	} {
		fails(t, want, append(base, "--out", out)...)
	}
	fails(t, "--report /proc/r.html: no file can be made in /proc: ", append(base, "--out", dir, "--time", "hour", "--holdout", "20%", "--report", "/proc/r.html")...)
	fails(t, "--out /proc/x: no file can be made in /proc: ", "retrain", "--no-propose", "--telemetry", "nowhere", "--incidents", "nowhere", "--horizon", "2m", "--out", "/proc/x")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
