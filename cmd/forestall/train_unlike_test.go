package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/recording"
)

// recordDays records eight GPUs for days, a scrape every ten minutes, and writes what
// failed. A GPU is hot in the hour before it fails; in a storm it draws no power then
// instead and has memory errors, of which it has one in a week else.
func recordDays(t *testing.T, seed uint64, days int, storm bool) (telemetry, incidents string) {
	t.Helper()
	cfg := recording.DefaultConfig()
	cfg.Dir = t.TempDir()
	r, err := recording.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 7))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	list := "component,start,end,kind\n"
	ecc := [8]float64{}
	for step := range days * 144 {
		at := start.Add(time.Duration(step) * 10 * time.Minute)
		for g := range ecc {
			c := forestall.GPU("n1", g)
			busy := rng.Float64()
			celsius, watts := 35+40*busy+rng.NormFloat64(), 80+500*busy+5*rng.NormFloat64()
			if rng.Float64() < 1.0/1008 {
				ecc[g]++
			}
			// Every 36 hours it fails, each GPU at another time, and is well again
			// after half an hour.
			left := 216 - 1 - (step+27*g)%216
			switch {
			case left < 6 && storm:
				ecc[g] += 50
				watts = 5
			case left < 6:
				celsius += 30
			}
			if left == 0 {
				fails := at.Add(5 * time.Minute)
				list += fmt.Sprintf("%s,%s,%s,gpu_failure\n", c, fails.Format(time.RFC3339), fails.Add(30*time.Minute).Format(time.RFC3339))
			}
			var scrape []forestall.Sample
			for name, v := range map[string]float64{"gpu_temperature_celsius": celsius, "gpu_power_watts": watts, "gpu_ecc_sbe_total": ecc[g]} {
				scrape = append(scrape, forestall.Sample{Component: c, Metric: name, Time: at, Value: v})
			}
			r.Record(c, at, scrape, -1)
		}
		if step%100 == 0 {
			if err := r.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ended); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	incidents = filepath.Join(t.TempDir(), "incidents.csv")
	if err := os.WriteFile(incidents, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg.Dir, incidents
}

// TestTrainUnlike: a model that is trained on telemetry also knows what ordinary
// operation is, whatever the number of threads, and sees failures of a kind that it
// was not trained on where the configuration lets them count.
func TestTrainUnlike(t *testing.T) {
	telemetry, incidents := recordDays(t, 1, 12, false)
	of := func(more ...string) []string {
		return append([]string{"--telemetry", telemetry, "--incidents", incidents, "--interval", "10m", "--recovery", "2h"}, more...)
	}
	training := func(out string, more ...string) []string {
		return append(append([]string{"train", "--out", out, "--name", "days", "--horizon", "1h", "--windows", "30m,3h", "--trees", "5", "--leaves", "4", "--calibrate", "none"}, of()...), more...)
	}
	first := filepath.Join(t.TempDir(), "1")
	said := runs(t, training(first, "--threads", "1")...)
	m, err := model.Load(first)
	if err != nil {
		t.Fatal(err)
	}
	u := m.Card.Unlike
	if u == nil || u.Alarms != 1 || u.Days < 40 || u.Days > 48 || u.Rows < 5000 || u.Rows > 7000 || !(u.Threshold > 0) {
		t.Fatalf("the card has %+v; train says\n%s", u, said)
	}
	if want := fmt.Sprintf("Unlike ordinary operation from a score of %.3g: 1 in 1,000 component-days of ordinary operation, chosen by %.4g newer component-days.", u.Threshold, u.Days); !strings.Contains(said, want) {
		t.Errorf("train lacks %q:\n%s", want, said)
	}
	for _, threads := range []string{"2", "7"} {
		again := filepath.Join(t.TempDir(), threads)
		runs(t, training(again, "--threads", threads)...)
		if a, b := fileText(t, filepath.Join(first, "card.json")), fileText(t, filepath.Join(again, "card.json")); a != b {
			t.Errorf("with %s threads the card is another", threads)
		}
	}
	often := filepath.Join(t.TempDir(), "often")
	runs(t, training(often, "--unlike-alarms", "20")...)
	if more, err := model.Load(often); err != nil || !(more.Card.Unlike.Threshold < u.Threshold) || more.Card.Unlike.Alarms != 20 {
		t.Errorf("20 in 1,000 days: %+v, %v; 1: %v", more.Card.Unlike, err, u.Threshold)
	}
	none := filepath.Join(t.TempDir(), "none")
	if said := runs(t, training(none, "--unlike-alarms", "0")...); strings.Contains(said, "rdinary operation") {
		t.Errorf("train says\n%s", said)
	}
	if m, err := model.Load(none); err != nil || m.Card.Unlike != nil {
		t.Errorf("without: %+v, %v", m.Card.Unlike, err)
	}
	short := filepath.Join(t.TempDir(), "short")
	if said := runs(t, training(short, "--to", "2026-01-06T00:00:00Z")...); !strings.Contains(said, "ordinary component-days, and 40 are needed") {
		t.Errorf("train says\n%s", said)
	}
	fails(t, "--unlike-alarms -1: it must be 0 to 1000", training(short, "--unlike-alarms=-1")...)

	telemetry, incidents = recordDays(t, 2, 4, true)
	config := filepath.Join(t.TempDir(), "forestall.toml")
	if err := os.WriteFile(config, []byte("[anomaly]\ncounts_as = \"failing\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, counts := range []bool{false, true} {
		args := append([]string{"backtest", "--model", first, "--json", "--bootstrap", "0"}, of()...)
		if counts {
			args = append(args, "--config", config)
		}
		var got struct {
			Alarms []struct {
				Outcome string
				Reasons []forestall.Reason
			}
			Totals []struct {
				Incidents int
				Caught    int `json:"caught_incidents"`
				False     int `json:"false_alarms"`
			}
		}
		if err := json.Unmarshal([]byte(runs(t, args...)), &got); err != nil {
			t.Fatal(err)
		}
		unlike := 0
		for _, a := range got.Alarms {
			if a.Outcome == "caught" && a.Reasons[0].Feature == "unlike" && strings.Contains(a.Reasons[0].Text, "corrected memory errors") {
				unlike++
			}
		}
		listed := got.Totals[0]
		switch {
		case !counts && (unlike > 0 || listed.Caught > listed.Incidents/4):
			t.Errorf("the model alone: %+v, %d unlike", listed, unlike)
		case counts && (unlike < listed.Incidents*3/4 || listed.Caught < unlike || listed.False > 2):
			t.Errorf("what is unlike counts: %+v, %d unlike", listed, unlike)
		}
	}
	if text := runs(t, append([]string{"backtest", "--model", first, "--config", config, "--bootstrap", "0"}, of()...)...); !strings.Contains(text, "unlike what its model was trained on since") {
		t.Errorf("the list lacks why:\n%s", text)
	}
}
