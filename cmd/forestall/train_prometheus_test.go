package main

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/model"
)

// prometheusOfAnHour answers for eight GPUs: those that fail grow hot, and their
// fans stand, for five minutes before.
func prometheusOfAnHour(t *testing.T, begin time.Time, failures map[int][]float64) *httptest.Server {
	t.Helper()
	near := func(gpu int, at float64) bool {
		for _, f := range failures[gpu] {
			if left := f - at; left > 0 && left < 300 {
				return true
			}
		}
		return false
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number := func(name string) float64 {
			v, err := strconv.ParseFloat(r.FormValue(name), 64)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return v
		}
		start, end, step := number("start"), number("end"), number("step")
		var results []string
		for series, value := range map[string]func(gpu int, at float64) float64{
			"DCGM_FI_DEV_GPU_TEMP": func(gpu int, at float64) float64 {
				if v := 50 + float64(gpu) + math.Round(3*math.Sin(at/50+float64(gpu))); !near(gpu, at) {
					return v
				}
				return 80
			},
			"DCGM_FI_DEV_FAN_SPEED": func(gpu int, at float64) float64 {
				if near(gpu, at) {
					return 0
				}
				return 60
			},
		} {
			if !strings.Contains(r.FormValue("query"), series) {
				continue
			}
			for gpu := range 8 {
				var values []string
				for at := start; at <= end; at += step {
					values = append(values, fmt.Sprintf(`[%v,"%v"]`, at, value(gpu, at-float64(begin.Unix()))))
				}
				results = append(results, fmt.Sprintf(`{"metric":{"__name__":%q,"gpu":"%d","Hostname":"n1","job":"dcgm","instance":"n1:9400"},"values":[%s]}`, series, gpu, strings.Join(values, ",")))
			}
		}
		slices.Sort(results)
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, strings.Join(results, ","))
	}))
	t.Cleanup(srv.Close)
	return srv
}

// TestTrainOnPrometheus: training on what a Prometheus server has kept gives the
// model that importing it and training on that gives; a mapping table's own metric
// is learnt from, and backtest needs the same table.
func TestTrainOnPrometheus(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	failures := map[int][]float64{}
	incidents := "component,start,end,kind\n"
	for i := range 14 {
		at := 700 + 400*float64(i)
		failures[i%4] = append(failures[i%4], at)
		start := begin.Add(time.Duration(at) * time.Second)
		incidents += fmt.Sprintf("gpu/n1/%d,%s,%s,gpu_failure\n", i%4, start.Format(time.RFC3339), start.Add(30*time.Second).Format(time.RFC3339))
	}
	srv, dir := prometheusOfAnHour(t, begin, failures), t.TempDir()
	list, config := filepath.Join(dir, "incidents.csv"), filepath.Join(dir, "forestall.toml")
	for name, text := range map[string]string{list: incidents, config: `[[features.map]]
preset = "dcgm"
series = "DCGM_FI_DEV_FAN_SPEED"
metric = "gpu_fan_speed_ratio"
scale = 0.01
unit = "ratio"
type = "gauge"
`} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	end := begin.Add(2 * time.Hour).Format(time.RFC3339)
	training := func(out string, more ...string) []string {
		return append([]string{
			"train", "--config", config, "--incidents", list, "--horizon", "3m", "--interval", "15s", "--windows", "30s,2m",
			"--from", begin.Add(4 * time.Minute).Format(time.RFC3339), "--to", end, "--trees", "20", "--leaves", "7", "--name", "hour", "--out", filepath.Join(dir, out),
		}, more...)
	}
	runs(t, training("straight", "--prometheus", srv.URL, "--telemetry-out", filepath.Join(dir, "kept"))...)
	runs(t, "telemetry", "import", "--prometheus", srv.URL, "--config", config, "--from", begin.Add(2*time.Minute).Format(time.RFC3339), "--to", end, "--out", filepath.Join(dir, "imported"))
	runs(t, training("by-hand", "--telemetry", filepath.Join(dir, "imported"))...)
	for _, name := range []string{"model.txt", "card.json"} {
		if diff := cmp.Diff(fileText(t, filepath.Join(dir, "by-hand", name)), fileText(t, filepath.Join(dir, "straight", name))); diff != "" {
			t.Errorf("%s of an import and of the server (-import +server):\n%s", name, diff)
		}
	}
	kept, err := filepath.Glob(filepath.Join(dir, "kept", "*"))
	if err != nil || len(kept) != 1 {
		t.Errorf("--telemetry-out kept %v, %v", kept, err)
	}
	m, err := model.Load(filepath.Join(dir, "straight"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(m.Card.Features, func(f string) bool { return strings.HasPrefix(f, "gpu_fan_speed_ratio") }) {
		t.Errorf("the mapping table's metric is not among the features: %v", m.Card.Features)
	}
	backtest := []string{"backtest", "--model", filepath.Join(dir, "straight"), "--incidents", list, "--interval", "15s", "--bootstrap", "0", "--telemetry", kept[0]}
	if out := runs(t, append(backtest, "--config", config)...); !strings.Contains(out, "gpu/n1/0") {
		t.Errorf("backtest:\n%s", out)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{backtest, "no set of metrics beside it gives that one"},
		{[]string{"train", "--prometheus", srv.URL, "--incidents", list, "--horizon", "3m", "--out", filepath.Join(dir, "x")}, "--prometheus needs --from"},
		{[]string{"train", "--prometheus", srv.URL, "--from", end, "--horizon", "3m", "--out", filepath.Join(dir, "x")}, "need --incidents"},
		{[]string{"train", "--telemetry", dir, "--telemetry-out", dir, "--incidents", list, "--horizon", "3m", "--out", filepath.Join(dir, "x")}, "--telemetry-out keeps what --prometheus gives"},
	} {
		var out, errs bytes.Buffer
		if code := run(tt.args, &out, &errs); code == 0 || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%v: status %d, %s; want %q", tt.args, code, errs.String(), tt.want)
		}
	}
}
