package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/model"
)

// asText returns a copy of a plainTable whose times are text.
func asText(t *testing.T, table string) string {
	t.Helper()
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines[1:] {
		cells := strings.Split(strings.TrimSpace(line), ",")
		if len(cells) < 7 {
			continue
		}
		for _, c := range []int{1, 6} { // hour, at
			hours, err := strconv.Atoi(cells[c])
			if err != nil {
				t.Fatal(err)
			}
			cells[c] = time.Date(2026, 1, 1, hours, 0, 0, 0, time.UTC).Format("2006-01-02 15:04:05+00:00")
		}
		lines[i+1] = strings.Join(cells, ",") + "\n"
	}
	path := filepath.Join(t.TempDir(), filepath.Base(table))
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Times that are text are times like any other, in hours unless told.
func TestTextTimes(t *testing.T) {
	table, test := plainTable(t, "t.csv", 30, 5), plainTable(t, "test.csv", 12, 6)
	var models, said, measured [2]string
	page := filepath.Join(t.TempDir(), "r.html")
	for i, of := range []func(*testing.T, string) string{func(_ *testing.T, table string) string { return table }, asText} {
		dir := filepath.Join(t.TempDir(), "m")
		said[i] = runs(t, "train", "--table", of(t, table), "--label", "fails", "--drop", "note,at", "--group", "unit", "--time", "hour", "--out", dir, "--trees", "20", "--min-leaf", "5",
			"--holdout", "20%", "--embargo", []string{"2", "2h"}[i], "--half-life", []string{"48", "2d"}[i], "--calibrate", "10%", "--report", page, "--time-unit", []string{"hours", "units"}[i])
		text, err := os.ReadFile(filepath.Join(dir, model.TreesFile))
		if err != nil {
			t.Fatal(err)
		}
		models[i] = string(text)
		measured[i] = runs(t, "evaluate", "--model", dir, "--table", of(t, test), "--label", "fails", "--group", "unit", "--time", "hour", "--event-time", "at", "--lead", []string{"2", "120min"}[i], "--json",
			"--time-unit", []string{"hours", "units"}[i])
	}
	if models[0] != models[1] || measured[0] != measured[1] {
		t.Error("with times that are text another model is trained, or is measured otherwise")
	}
	fold := regexp.MustCompile(`hour (\d+) to (\d+)`).FindStringSubmatch(said[0])
	if fold == nil || !strings.Contains(said[0], "embargo 2 h") || !strings.Contains(said[1], "embargo 2 h") {
		t.Fatalf("training says\n%s\nand\n%s", said[0], said[1])
	}
	var days [2]string
	for i := range days {
		hours, _ := strconv.Atoi(fold[i+1])
		days[i] = time.Date(2026, 1, 1, hours, 0, 0, 0, time.UTC).Format(time.RFC3339)
	}
	if want := fmt.Sprintf("hour %s to %s", days[0], days[1]); !strings.Contains(said[1], want) {
		t.Errorf("training says\n%s\nwithout %q", said[1], want)
	}
	html, err := os.ReadFile(page)
	if want := fmt.Sprintf("from %s to %s</dd>", days[0], days[1]); err != nil || !strings.Contains(string(html), want) {
		t.Errorf("the page lacks %q (%v)", want, err)
	}
	text := asText(t, table)
	dir := filepath.Join(t.TempDir(), "m")
	runs(t, "train", "--table", text, "--label", "fails", "--drop", "note,at", "--group", "unit", "--time", "hour", "--out", dir, "--trees", "5", "--min-leaf", "5")
	explain := []string{"explain", "--model", dir, "--table", text, "--row", "3", "--group", "unit", "--show", "hour,temp"}
	if out := runs(t, explain...); !strings.HasPrefix(out, "Row 3, unit 0, hour 2026-01-01T02:00:00Z, temp ") {
		t.Errorf("explain says\n%s", out)
	}
	if out := runs(t, append(explain, "--json")...); !strings.Contains(out, `"hour": "2026-01-01T02:00:00Z"`) {
		t.Errorf("explain says\n%s", out)
	}
	fails(t, text+": the times are text or timestamps, which can be read in units of the clock, from ns to weeks, and not in cycles",
		"train", "--table", text, "--label", "fails", "--drop", "note,at", "--group", "unit", "--time", "hour", "--out", t.TempDir(), "--holdout", "20%", "--time-unit", "cycles")
}

// A length of time is as long as it says: with its unit, or in that of --time-unit.
// Where neither tells, it is refused.
func TestTimeSpans(t *testing.T) {
	table := plainTable(t, "t.csv", 30, 5)
	text := asText(t, table)
	flags := func(table string, more ...string) []string {
		return append([]string{"train", "--table", table, "--label", "fails", "--drop", "note,at,unit", "--time", "hour", "--holdout", "20%", "--trees", "3", "--out", filepath.Join(t.TempDir(), "m")}, more...)
	}
	for _, c := range []struct {
		table string
		flags []string
		says  string
	}{
		{table, []string{"--embargo", "10"}, "embargo 10:"},
		{table, []string{"--embargo", "10", "--time-unit", "hours"}, "embargo 10 h:"},
		{table, []string{"--embargo", "1h30m", "--time-unit", "hours"}, "embargo 1 h 30 min:"},
		{table, []string{"--embargo", "1e1h", "--time-unit", "hours"}, "embargo 10 h:"},
		{table, []string{"--embargo", "0.5 days", "--time-unit", "hours"}, "embargo 12 h:"},
		{table, []string{"--embargo", "420s", "--time-unit", "min"}, "embargo 7 min:"},
		{text, []string{"--embargo", "12h"}, "embargo 12 h:"},
		{text, []string{"--embargo", "0.5", "--time-unit", "days"}, "embargo 12 h:"},
		{text, []string{"--embargo", "0"}, "no embargo:"},
	} {
		if out := runs(t, flags(c.table, c.flags...)...); !strings.Contains(out, c.says) {
			t.Errorf("%v: training says\n%s\nwithout %q", c.flags, out, c.says)
		}
	}
	for _, c := range []struct {
		says  string
		table string
		flags []string
	}{
		{"--embargo 10: the times of column hour are text or timestamps, so say of what: write it with its unit, such as 10d, or tell the unit with --time-unit", text, []string{"--embargo", "10"}},
		{"--half-life 30: the times of column hour are text", text, []string{"--embargo", "10h", "--half-life", "30"}},
		{"--embargo 10h: the times of column hour are numbers, so tell their unit with --time-unit, or write a number", table, []string{"--embargo", "10h"}},
		{"--embargo 10h: --time-unit is cycles, which is no unit of the clock; write a number of them", table, []string{"--embargo", "10h", "--time-unit", "cycles"}},
	} {
		fails(t, c.says, flags(c.table, c.flags...)...)
	}
	if _, stderr := forestallRun(t, 2, flags(table, "--embargo", "soon")...); !strings.Contains(stderr, `--embargo: "soon" is no length of time: write a number in the unit of the times, or one with its unit, such as 10d, 36h or 1h30m`) {
		t.Errorf("it says %q", stderr)
	}
	dir := filepath.Join(t.TempDir(), "m")
	runs(t, append(flags(table)[:len(flags(table))-1], dir)...)
	evaluate := []string{"evaluate", "--model", dir, "--label", "fails", "--group", "unit", "--time", "hour"}
	fails(t, "--lead 2: the times of column hour are text or timestamps", append(evaluate, "--table", text, "--lead", "2")...)
	fails(t, "--lead 2h: the times of column hour are numbers", append(evaluate, "--table", table, "--lead", "2h")...)
}
