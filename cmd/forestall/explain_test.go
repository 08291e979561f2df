package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
)

func TestExplain(t *testing.T) {
	table := plainTable(t, "t.csv", 30, 1)
	dir := filepath.Join(t.TempDir(), "m")
	forestallRun(t, 0, "train", "--table", table, "--label", "fails", "--drop", "unit,hour,note,at", "--out", dir, "--trees", "30")
	scores := predicted(t, 1, dir, table, "--raw")

	var rows []struct {
		Row                int
		Probability, Score float64
		Bias               float64
		Show, Values       map[string]float64
		Shares             map[string]float64
	}
	var grouped []struct {
		Component string
		Score     float64
	}
	explain := func(flags ...string) string {
		out, _ := forestallRun(t, 0, append([]string{"explain", "--model", dir, "--table", table}, flags...)...)
		return out
	}
	if err := json.Unmarshal([]byte(explain("--top", "5", "--show", "unit,hour,temp", "--json")), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 5 {
		t.Fatalf("%d rows", len(rows))
	}
	riskier := 0
	for _, s := range scores {
		if s[0] > rows[4].Score {
			riskier++
		}
	}
	if riskier > 4 {
		t.Errorf("%d rows are riskier than the fifth", riskier)
	}
	for i, r := range rows {
		sum := r.Bias
		for _, share := range r.Shares {
			sum += share
		}
		if math.Abs(sum-r.Score) > 1e-9 || r.Score != scores[r.Row-1][0] {
			t.Errorf("row %d: shares and bias add up to %v, the score is %v, predict says %v", r.Row, sum, r.Score, scores[r.Row-1][0])
		}
		if i > 0 && r.Score > rows[i-1].Score {
			t.Errorf("row %d stands behind a row of less risk", r.Row)
		}
		if r.Show["temp"] != r.Values["temp"] || len(r.Show) != 3 {
			t.Errorf("row %d: shown %v, values %v", r.Row, r.Show, r.Values)
		}
	}

	if err := json.Unmarshal([]byte(explain("--top", "8", "--group", "unit", "--json")), &grouped); err != nil {
		t.Fatal(err)
	}
	best := map[string]float64{}
	for _, r := range grouped {
		if _, again := best[r.Component]; again {
			t.Errorf("component %s is there twice", r.Component)
		}
		best[r.Component] = r.Score
	}
	if len(grouped) != 8 || grouped[0].Score != rows[0].Score {
		t.Errorf("%d components, the first with %v; the riskiest row has %v", len(grouped), grouped[0].Score, rows[0].Score)
	}
	above := map[string]bool{} // components with a row that is riskier than the last one that is shown
	units := unitsOf(t, table)
	for i, s := range scores {
		if s[0] > grouped[7].Score {
			above[units[i]] = true
		}
		if b, shown := best[units[i]]; shown && s[0] > b {
			t.Errorf("row %d of %s is riskier than the one that is explained", i+1, units[i])
		}
	}
	if len(above) != 7 {
		t.Errorf("%d components are riskier than the eighth", len(above))
	}

	if out := explain("--row", "3", "--group", "note", "--show", "hour"); !strings.HasPrefix(out, "Row 3, note ") || !strings.Contains(out, ", hour ") {
		t.Errorf("a component with a name: %s", out)
	}
	out := explain("--row", "7,2", "--reasons", "1")
	if !strings.HasPrefix(out, "Row 2: probability ") || !strings.Contains(out, "\nRow 7: probability ") || strings.Count(out, "1 other ") != 2 {
		t.Errorf("explain says\n%s", out)
	}
	for want, flags := range map[string][]string{
		"--row 99999: ":                        {"--row", "99999"},
		"--row is 0; rows are counted from 1":  {"--row", "0"},
		"--top is 0; it must be at least 1":    {"--top", "0"},
		`column "colour" is missing; the file`: {"--show", "colour"},
	} {
		if _, stderr := forestallRun(t, 1, append([]string{"explain", "--model", dir, "--table", table}, flags...)...); !strings.Contains(stderr, want) {
			t.Errorf("%v: %q", flags, stderr)
		}
	}
}

// unitsOf returns the component of each row of a plain table.
func unitsOf(t *testing.T, path string) (units []string) {
	t.Helper()
	in, err := table.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := train.ScanText(t.Context(), in, nil, "unit", func(_ []float64, unit string) error {
		units = append(units, unit)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return units
}

// Numbers that a regression predicts keep the digits that tell them apart.
func TestExplainRegression(t *testing.T) {
	var b strings.Builder
	b.WriteString("x,life\n")
	for i := range 400 {
		fmt.Fprintf(&b, "%d,%d\n", i%100, 100_000+i%100)
	}
	table, dir := filepath.Join(t.TempDir(), "t.csv"), filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(table, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	runs(t, "train", "--table", table, "--label", "life", "--objective", "regression", "--trees", "50", "--out", dir)
	said := regexp.MustCompile(`score (\S+), from a mean of (\S+)\n`).FindStringSubmatch(runs(t, "explain", "--model", dir, "--table", table, "--row", "96"))
	if said == nil {
		t.Fatal("explain tells no score")
	}
	for i, want := range []float64{100_093.5, 100_049.5} {
		if got, err := strconv.ParseFloat(said[i+1], 64); err != nil || math.Abs(got-want) > 2 {
			t.Errorf("it says %s, want about %v", said[i+1], want)
		}
	}
}
