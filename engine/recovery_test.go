package engine

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// watchFailed has an engine watch GPUs as if they had failed, and their host been
// started since, and returns what tells whether they work.
func watchFailed(e *Engine, gpus ...forestall.Component) (works func(forestall.Component) bool) {
	var open []forestall.Incident
	for _, c := range gpus {
		open = append(open, forestall.Incident{Component: c, Kind: forestall.GPUFailure, Start: e.now().Add(-time.Hour)})
	}
	e.telemetry.recovering.watch(open)
	return func(c forestall.Component) bool {
		_, ok := e.telemetry.recovering.over(forestall.Incident{Component: c}, e.now(), e.started)
		return ok
	}
}

// TestRecovery: a GPU works again after good readings without a break for as long
// as the probation lasts, and never while a fault stands.
func TestRecovery(t *testing.T) {
	c := forestall.GPU("far", 0)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	reading := func(pairs ...any) (samples []forestall.Sample) {
		for i := 0; i < len(pairs); i += 2 {
			samples = append(samples, forestall.Sample{Component: c, Metric: pairs[i].(string), Value: pairs[i+1].(float64)})
		}
		return samples
	}
	good := reading("gpu_temperature_celsius", 50., "gpu_ecc_dbe_total", 3., "gpu_row_remap_pending", 0., "gpu_nvlink_errors_total", 7.)
	all := func(forestall.Kind) bool { return true }
	type world struct {
		*recoveries
		now time.Time
	}
	for _, tt := range []struct {
		name string
		at30 func(w *world) // after half an hour of good readings
		over bool           // an hour after the failure
		why  string
	}{
		{"good all along", func(*world) {}, true, "it has answered for 1h0m0s without an error that counts"},
		{"a memory error", func(w *world) { w.read(c, w.now, reading("gpu_temperature_celsius", 50., "gpu_ecc_dbe_total", 4.)) }, false, "before that gpu_ecc_dbe_total rose from 3 to 4"},
		{"counters begin anew", func(w *world) {
			w.read(c, w.now, reading("gpu_temperature_celsius", 50., "gpu_ecc_dbe_total", 0.))
		}, false, "gpu_ecc_dbe_total rose from 0 to 3"},
		{"corrected errors", func(w *world) { w.read(c, w.now, append(reading("gpu_ecc_sbe_total", 400.), good...)) }, true, ""},
		{"a counter that is reported no more", func(w *world) { w.read(c, w.now, reading("gpu_temperature_celsius", 50.)) }, false, "gpu_ecc_dbe_total is reported no more"},
		{"a row remap pends", func(w *world) { w.read(c, w.now, append(reading("gpu_row_remap_pending", 1.), good...)) }, false, "a row remap waits for a reset"},
		{"all missing", func(w *world) { w.read(c, w.now, reading("gpu_temperature_celsius", math.NaN(), "series", 0.)) }, false, "it reports nothing"},
		{"asked, and silent", func(w *world) { w.spoil(c, "it reports nothing") }, false, "it reports nothing"},
		{"another XID", func(w *world) { w.fail(c, w.now, forestall.Failure{Component: c, Evidence: []string{"XID 79"}}) }, false, "before that XID 79"},
		{"failing by its model", func(w *world) {
			w.judge([]forestall.Risk{{Component: c, Grade: forestall.Failing}}, all)
		}, false, "its model finds it failing"},
		{"suspect by its model", func(w *world) { w.judge([]forestall.Risk{{Component: c, Grade: forestall.Suspect}}, all) }, true, ""},
		{"unknown to its model", func(w *world) { w.judge([]forestall.Risk{forestall.UnknownRisk(c, w.now, "blind")}, all) }, false, "its risk is unknown: blind"},
		{"judged by no model", func(w *world) {
			w.judge([]forestall.Risk{forestall.UnknownRisk(c, w.now, "no model")}, func(forestall.Kind) bool { return false })
		}, true, ""},
		{"not read for a while", func(w *world) { w.now = w.now.Add(4 * time.Minute) }, false, "without an error"},
		{"an NVLink error, which is not what failed", func(w *world) { w.read(c, w.now, append(good[:3:3], reading("gpu_nvlink_errors_total", 8.)...)) }, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{&recoveries{probation: time.Hour, stale: 3 * time.Minute, of: map[forestall.Component]*recovery{}}, begin}
			in := forestall.Incident{Component: c, Kind: forestall.GPUFailure, Start: begin, Evidence: []string{"XID 48"}}
			w.watch([]forestall.Incident{in})
			minutes := func(n int) {
				for range n {
					w.now = w.now.Add(time.Minute)
					w.read(c, w.now, good)
				}
			}
			minutes(30)
			tt.at30(w)
			minutes(30)
			w.now = w.now.Add(time.Minute)
			w.read(c, w.now, good)
			if why, ok := w.over(in, w.now, time.Time{}); ok != tt.over {
				t.Fatalf("over %v, %q", ok, why)
			}
			minutes(40)
			why, ok := w.over(in, w.now, time.Time{})
			if !ok || !tt.over && !strings.Contains(why, tt.why) {
				t.Errorf("an hour later: %v, %q, want %q in it", ok, why, tt.why)
			}
			if _, ok := w.over(in, w.now.Add(time.Hour), time.Time{}); ok {
				t.Error("over by readings that are old")
			}
			w.probation = 0
			if why, ok := w.over(in, w.now, time.Time{}); ok {
				t.Errorf("without a probation: over, %q", why)
			}
		})
	}

	t.Run("a fault stands", func(t *testing.T) {
		for metric := range standingFaults {
			r := &recoveries{probation: time.Hour, stale: 3 * time.Minute, of: map[forestall.Component]*recovery{}}
			in := forestall.Incident{Component: c, Kind: forestall.GPUFailure, Start: begin}
			r.watch([]forestall.Incident{in})
			now := begin
			for range 3 * 24 * 60 {
				now = now.Add(time.Minute)
				r.read(c, now, append(reading(metric, 1.), reading("gpu_temperature_celsius", 50.)...))
			}
			if why, ok := r.over(in, now, now); ok {
				t.Errorf("%s: over after three days and a boot, %q", metric, why)
			}
		}
	})
	t.Run("reset since", func(t *testing.T) {
		const hot, pending, pages, errors = "gpu_temperature_celsius", "gpu_row_remap_pending", "gpu_retired_pages_pending", "gpu_ecc_dbe_total"
		silent := []any(nil)
		for _, tt := range []struct {
			name     string
			readings [][]any
			why      string // "": it waits
		}{
			{"a row remap", [][]any{{hot, 50., pending, 1.}, {hot, 50., pending, 0.}, {hot, 50., pending, 0.}}, "it was reset, which shows by gpu_row_remap_pending fell to 0, and it answers"},
			{"a row remap, silent meanwhile", [][]any{{hot, 50., pending, 1.}, silent, {hot, 50.}, {hot, 50., pending, 0.}, {hot, 50., pending, 0.}}, "gpu_row_remap_pending fell to 0"},
			{"a retired page", [][]any{{hot, 50., pages, 1.}, {hot, 50., pages, 0.}, {hot, 50., pages, 0.}}, "gpu_retired_pages_pending fell to 0"},
			{"one of two faults", [][]any{{hot, 50., pages, 1., pending, 1.}, {hot, 50., pages, 0., pending, 1.}}, ""},
			{"the counter begins anew", [][]any{{hot, 50., errors, 3.}, {hot, 50., errors, 0.}, {hot, 50., errors, 0.}}, "gpu_ecc_dbe_total fell from 3 to 0"},
			{"one reading only", [][]any{{hot, 50., errors, 3.}, {hot, 50., errors, 0.}}, ""},
			{"one wrong reading", [][]any{{hot, 50., errors, 3., pending, 1.}, {hot, 50., errors, 0., pending, 0.}, {hot, 50., errors, 3., pending, 1.}}, ""},
			{"it begins anew and rises", [][]any{{hot, 50., errors, 3.}, {hot, 50., errors, 0.}, {hot, 50., errors, 1.}, {hot, 50., errors, 1.}}, ""},
			{"nothing changes", [][]any{{hot, 50., errors, 3., pending, 0.}, {hot, 50., errors, 3., pending, 0.}}, ""},
			{"it is reported no more", [][]any{{hot, 50., pending, 1.}, {hot, 50.}, {hot, 50.}}, ""},
			{"silent since", [][]any{{hot, 50., pending, 1.}, {hot, 50., pending, 0.}, silent, {hot, 50., pending, 0.}}, ""},
		} {
			r := &recoveries{stale: 3 * time.Minute, of: map[forestall.Component]*recovery{}} // by time it never ends
			in := forestall.Incident{Component: c, Kind: forestall.GPUFailure, Start: begin}
			r.watch([]forestall.Incident{in})
			now := begin
			for _, pairs := range tt.readings {
				now = now.Add(time.Minute)
				if pairs == nil {
					r.spoil(c, "it reports nothing")
				} else {
					r.read(c, now, reading(pairs...))
				}
			}
			if why, ok := r.over(in, now, time.Time{}); ok != (tt.why != "") || !strings.Contains(why, tt.why) {
				t.Errorf("%s: over %v, %q, want %q", tt.name, ok, why, tt.why)
			}
			r.fail(c, now, forestall.Failure{Component: c})
			r.read(c, now, reading(hot, 50.))
			if why, ok := r.over(in, now, time.Time{}); ok {
				t.Errorf("%s: over after another failure, %q", tt.name, why)
			}
		}
	})
	t.Run("NVLink", func(t *testing.T) {
		link := []string{"XID 74: NVLink error"}
		for name, seen := range map[string]func(r *recoveries, in forestall.Incident){
			"its incident was open": func(r *recoveries, in forestall.Incident) {
				in.Evidence = link
				r.watch([]forestall.Incident{in})
			},
			"before its incident": func(r *recoveries, in forestall.Incident) {
				r.fail(c, begin, forestall.Failure{Component: c, Evidence: link})
				in.Evidence = link
				r.watch([]forestall.Incident{in})
			},
			"after another failure": func(r *recoveries, in forestall.Incident) {
				r.watch([]forestall.Incident{in})
				r.fail(c, begin, forestall.Failure{Component: c, Evidence: link})
			},
		} {
			r := &recoveries{probation: time.Hour, stale: 3 * time.Minute, of: map[forestall.Component]*recovery{}}
			in := forestall.Incident{Component: c, Kind: forestall.GPUFailure, Start: begin, Evidence: []string{"XID 48"}}
			seen(r, in)
			r.read(c, begin, good)
			r.read(c, begin.Add(time.Minute), reading("gpu_temperature_celsius", 50., "gpu_ecc_dbe_total", 3., "gpu_nvlink_errors_total", 9.))
			if _, ok := r.over(in, begin.Add(time.Minute), begin.Add(time.Second)); ok {
				t.Errorf("%s: over while the link's errors go on", name)
			}
		}
	})
	t.Run("started since", func(t *testing.T) {
		r := &recoveries{probation: time.Hour, stale: 3 * time.Minute, of: map[forestall.Component]*recovery{}}
		in := forestall.Incident{Component: c, Kind: forestall.GPUFailure, Start: begin}
		r.watch([]forestall.Incident{in})
		at := func(m int) time.Time { return begin.Add(time.Duration(m) * time.Minute) }
		if _, ok := r.over(in, at(6), at(5)); ok {
			t.Error("over before it was read")
		}
		r.read(c, at(6), good)
		if _, ok := r.over(in, at(6), at(-5)); ok {
			t.Error("over by a start before the failure")
		}
		if why, ok := r.over(in, at(6), at(5)); !ok || !strings.Contains(why, "2026-01-01T00:05:00Z") {
			t.Errorf("%v, %q", ok, why)
		}
		r.fail(c, at(7), forestall.Failure{Component: c})
		r.read(c, at(8), good)
		if _, ok := r.over(in, at(8), at(5)); ok {
			t.Error("over though it failed again since the start")
		}
	})
}

// TestRemoteIncidentEnds: the incident of a GPU that is scraped from afar ends by
// itself when its page has been good for the probation, not while a row remap
// waits, and the ledger keeps why. A further XID is then another incident.
func TestRemoteIncidentEnds(t *testing.T) {
	t.Parallel()
	var xid, pending atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		label := `{gpu="0"}`
		fmt.Fprintf(w, "DCGM_FI_DEV_GPU_TEMP%s 50\nDCGM_FI_DEV_XID_ERRORS%s %d\nDCGM_FI_DEV_ROW_REMAP_PENDING%s %d\n", label, label, xid.Load(), label, pending.Load())
	}))
	defer srv.Close()
	c := testConfig(t.TempDir())
	c.GPU.Source, c.Features.Host, c.Model.GPU = "none", false, "none"
	c.Features.Targets = []TargetConfig{{URL: srv.URL, Preset: "dcgm", Node: "far"}}
	c.Policy.Probation = Duration{time.Second}
	client, e, stop := runEngine(t, c)
	defer stop()
	status := await(t, "a leader", client.Status, api.Status.CanAgree)
	if notes := strings.Join(status.Notes, "\n"); strings.Contains(notes, "no GPU telemetry") {
		t.Errorf("notes %q speak of GPUs that this engine is not to read itself", notes)
	}
	far := forestall.GPU("far", 0)
	await(t, "the page to be read", client.Risks, func(l []forestall.Risk) bool { return len(l) == 1 && l[0].Component == far })
	pending.Store(1)
	xid.Store(48)
	await(t, "the failure", client.Incidents, func(l []forestall.Incident) bool { return len(l) == 1 })
	failed := e.now()
	await(t, "readings for longer than the probation", client.Incidents, func(l []forestall.Incident) bool {
		if len(l) != 1 || !l[0].End.IsZero() {
			t.Fatalf("over while a row remap waits: %+v", l)
		}
		return e.now().Sub(failed) > 2*time.Second
	})
	pending.Store(0)
	over := await(t, "its end", client.Incidents, func(l []forestall.Incident) bool { return len(l) == 1 && !l[0].End.IsZero() })
	if why := over[0].Closed; !strings.Contains(why, "by what n1 reads: it was reset, which shows by gpu_row_remap_pending fell to 0, and it answers") {
		t.Errorf("closed %q", why)
	}
	xid.Store(79)
	await(t, "another incident", client.Incidents, func(l []forestall.Incident) bool { return len(l) == 2 && l[0].End.IsZero() })
	if err := client.CloseIncident(t.Context(), far, "board replaced"); err != nil {
		t.Fatal(err)
	}
	xid.Store(95)
	await(t, "a third one", client.Incidents, func(l []forestall.Incident) bool { return len(l) == 3 && l[0].End.IsZero() })
}
