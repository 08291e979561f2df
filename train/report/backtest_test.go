package report

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/train"
)

// exampleBacktest is of two alarms and a missed incident.
func exampleBacktest(t *testing.T) *Backtest {
	t.Helper()
	p := examplePage(t, scored(40), train.EvaluateOptions{Unit: train.ParseTimeUnit("hours"), Lead: 2, Thresholds: []float64{0.2}, Budgets: []float64{1, 100}})
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	b := &Backtest{
		Page: *p, Telemetry: "telemetry/", From: from, To: from.Add(60 * time.Hour), Days: 91.2, Threshold: 0.2, Failure: 210, Unseen: 1,
		Alarms: []BacktestAlarm{
			{Time: from.Add(3 * time.Hour), Component: "gpu/n1/0", Probability: 0.31, Outcome: train.AlarmFalse, Because: []string{"temperature 91 °C (+2.0)"}},
			{Time: from.Add(40 * time.Hour), Component: "gpu/n1/4", Probability: 0.93, Outcome: train.AlarmCaught, Lead: "5 h", Because: []string{"remapped rows 3/s (+3.1)", "power 700 W (+0.4)"}},
			{Time: from.Add(50 * time.Hour), Component: "gpu/n1/8", Probability: math.NaN(), Outcome: train.AlarmMissed, Lead: "9 h"},
		},
		Verdicts: []BacktestRows{{"positive", "an incident starts within the horizon", 120}, {"thin", "left out", 1}},
		Prices:   []BacktestPrice{{12, 120, 720, 1680, 960}, {12, 120, 720, 1680, 960}, {3, 30, 180, 420, 240}},
	}
	b.Card.Kind = "gpu"
	return b
}

func renderBacktest(t *testing.T, b *Backtest) string {
	t.Helper()
	var out bytes.Buffer
	if err := b.Render(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestBacktestGolden: the page as prose.
func TestBacktestGolden(t *testing.T) {
	path := filepath.Join("testdata", "backtest.txt")
	got := prose(renderBacktest(t, exampleBacktest(t)))
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// TestBacktestSelfContained: the page asks nothing of anyone, whatever the names
// hold, and lists no more than a reader can take.
func TestBacktestSelfContained(t *testing.T) {
	b := exampleBacktest(t)
	for range 1000 {
		b.Alarms = append(b.Alarms, b.Alarms[0])
	}
	b.Alarms[0].Component = `</title><script>alert(1)</script>`
	b.Alarms[0].Because = []string{`<img onerror=x>`}
	page := renderBacktest(t, b)
	for _, bad := range []string{"http:", "https:", "src=", "<link", "<script", "<img", "url(", "@import", "%!", "ZgotmplZ", "NaN", "Inf", "<nil>"} {
		if at := strings.Index(page, bad); at >= 0 {
			t.Errorf("the page holds %q: …%s…", bad, page[max(0, at-60):min(len(page), at+60)])
		}
	}
	all := drawings.FindAllString(page, -1)
	if len(all) != 4 {
		t.Fatalf("%d drawings", len(all))
	}
	for _, svg := range all {
		wellFormed(t, svg)
	}
	if n := strings.Count(page, "<th scope=\"row\">2026-"); n != alarmsShown {
		t.Errorf("%d alarms are listed", n)
	}
	if !strings.Contains(page, "703 more are in the JSON") {
		t.Error("it does not say that alarms are left out")
	}
}

// TestBacktestEdges: no alarm and no incident are a page too; prices that do not
// fit are an error.
func TestBacktestEdges(t *testing.T) {
	b := exampleBacktest(t)
	b.Alarms, b.Failure, b.To = nil, 0, b.From
	if page := renderBacktest(t, b); !strings.Contains(page, "<p>None.</p>") || strings.Contains(page, "Net of migrations") {
		t.Error("a page without alarms, or without the price of a failure, shows them")
	}
	b.Prices = nil
	if err := b.Render(&bytes.Buffer{}); err == nil {
		t.Error("no prices, and no error")
	}
	b.Evaluation = nil
	if err := b.Render(&bytes.Buffer{}); err == nil {
		t.Error("no evaluation, and no error")
	}
}
