package main

import (
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"
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
