package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// Members are joined to one model that LightGBM's format holds, calibrated by
// what each says of the components that it left out.
func TestTrainMembers(t *testing.T) {
	m, out, stderr := trained(t, "--drop", "note,at", "--time", "hour", "--group", "unit", "--members", "3", "--sample-negatives", "0.5", "--half-life", "30",
		"--calibrate", "out-of-bag:50%", "--json")
	if m.Trees() != 3*40 {
		t.Errorf("%d trees, not those of 3 members", m.Trees())
	}
	for _, name := range []string{"out_of_bag_ap", "out_of_bag_auc"} {
		if v := m.Card.Metrics[name]; !(v > 0.3 && v <= 1) {
			t.Errorf("%s is %v", name, v)
		}
	}
	r := m.Card.Reliability
	if r == nil || r.Of != "the last 50 % of the rows trained on by hour, each judged by the member that left its component out" || !r.Unseen {
		t.Errorf("reliability %+v", r)
	}
	for _, want := range []string{"3 members, each without a part of the components", "on 50 % of the negative rows", "weights halve every 30"} {
		if !strings.Contains(m.Card.Training.Notes, want) {
			t.Errorf("the card says %q, not %q", m.Card.Training.Notes, want)
		}
	}
	for _, want := range []string{"Trained 120 trees of 3 members", "Out of bag, each component judged by the member that left it out: ap 0."} {
		if !strings.Contains(out, want) {
			t.Errorf("train says\n%s\nnot %q", out, want)
		}
	}
	if strings.Count(stderr, `"member":3`) != 40 {
		t.Errorf("the third member has no 40 lines of its trees:\n%s", stderr)
	}
}

// The same model comes of any number of threads, also judged by rows held out.
func TestTrainMembersHoldout(t *testing.T) {
	table := plainTable(t, "t.csv", 60, 1)
	var want string
	for _, threads := range []string{"1", "2", "7"} {
		dir := filepath.Join(t.TempDir(), "m")
		out, _ := forestallRun(t, 0, "train", "--table", table, "--label", "fails", "--drop", "note,at", "--time", "hour", "--group", "unit", "--holdout", "20%",
			"--members", "4", "--calibrate", "out-of-bag", "--trees", "10", "--leaves", "7", "--threads", threads, "--out", dir)
		text, err := os.ReadFile(filepath.Join(dir, model.TreesFile))
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = string(text)
		} else if string(text) != want {
			t.Errorf("%s threads make another model", threads)
		}
		if !strings.Contains(out, "the rows trained on, each judged by the member that left its component out") {
			t.Errorf("train says\n%s", out)
		}
	}
}

func TestTrainBagErrors(t *testing.T) {
	table := plainTable(t, "t.csv", 12, 1)
	for _, tc := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--members", "3"}, "--group names their column"},
		{[]string{"--members", "0"}, "--members is 0; it must be at least 1"},
		{[]string{"--members", "500", "--group", "unit"}, "--members is 500, each leaves out a component or more, and the table has 12 components"},
		{[]string{"--members", "5000", "--group", "unit"}, "--members is 5000; it must be between 1 and 1000"},
		{[]string{"--sample-negatives", "0"}, "--sample-negatives is 0"},
		{[]string{"--sample-negatives", "2"}, "--sample-negatives is 2; it must be between"},
		{[]string{"--half-life", "3"}, "--half-life needs --time"},
		{[]string{"--half-life=-3", "--time", "hour"}, "--half-life is -3"},
		{[]string{"--horizon=-1h"}, "--horizon is -1h0m0s; it must not be negative"},
		{[]string{"--calibrate", "out-of-bag"}, "needs --members"},
		{[]string{"--calibrate", "out-of-bag:20%", "--members", "3", "--group", "unit"}, "so it needs --time"},
		{[]string{"--calibrate", "out-of-bag:0%", "--members", "3", "--group", "unit"}, `"0%" is no share`},
		{[]string{"--calibrate", "out-of-bag", "--members", "3", "--group", "unit", "--continue", "x"}, "may have seen every component"},
		{[]string{"--sample-negatives", "0.5", "--objective", "regression"}, "which objective regression has not"},
	} {
		dir := filepath.Join(t.TempDir(), "m")
		_, stderr := forestallRun(t, 1, append([]string{"train", "--table", table, "--label", "fails", "--drop", "note,at", "--out", dir}, tc.flags...)...)
		if !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: %s, want %q", tc.flags, stderr, tc.want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%v: something is written", tc.flags)
		}
	}
}

// TestTrainBagOneClass: what the first member of several left out may be of one class.
// Where Ctrl-C ends the training then, its AUC is not known, and the model is kept.
func TestTrainBagOneClass(t *testing.T) {
	var b strings.Builder
	b.WriteString("unit,x,fails\n")
	for i := range 800 {
		unit := i % 4
		fmt.Fprintf(&b, "%d,%d,%d\n", unit, unit*10+i%13, unit/2)
	}
	dir := t.TempDir()
	table, out := filepath.Join(dir, "t.csv"), filepath.Join(dir, "m")
	if err := os.WriteFile(table, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stderr := &onLine{text: `"tree":2,`, do: cancel}
	if err := trainIn(ctx, t, stderr, "--table", table, "--label", "fails", "--group", "unit", "--members", "4", "--trees", "30", "--json", "--out", out); err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, told := m.Card.Metrics["out_of_bag_auc"]; told || m.Card.Metrics["out_of_bag_ap"] != 1 {
		t.Errorf("metrics %v", m.Card.Metrics)
	}
}
