package features

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

func TestSchemaNames(t *testing.T) {
	s := mustSchema(t, []Metric{
		{"temp_celsius", Gauge, "celsius", ""},
		{"errors_total", Counter, "error", ""},
	}, 10*time.Second, 90*time.Minute)
	want := strings.Fields(`
		temp_celsius_last temp_celsius_since_change_seconds
		temp_celsius_10s_mean temp_celsius_10s_std temp_celsius_10s_min temp_celsius_10s_max
		temp_celsius_10s_slope temp_celsius_10s_ewma temp_celsius_10s_delta temp_celsius_10s_missing_ratio
		temp_celsius_1h30m_mean temp_celsius_1h30m_std temp_celsius_1h30m_min temp_celsius_1h30m_max
		temp_celsius_1h30m_slope temp_celsius_1h30m_ewma temp_celsius_1h30m_delta temp_celsius_1h30m_missing_ratio
		errors_total_last errors_total_since_change_seconds
		errors_total_10s_mean errors_total_10s_std errors_total_10s_min errors_total_10s_max
		errors_total_10s_slope errors_total_10s_ewma errors_total_10s_rate errors_total_10s_missing_ratio
		errors_total_1h30m_mean errors_total_1h30m_std errors_total_1h30m_min errors_total_1h30m_max
		errors_total_1h30m_slope errors_total_1h30m_ewma errors_total_1h30m_rate errors_total_1h30m_missing_ratio
		scrape_latency_seconds_last scrape_gap_seconds_last series_reported_ratio_last
		series_vanished_10s series_vanished_1h30m`)
	if diff := cmp.Diff(want, s.Names()); diff != "" {
		t.Fatalf("names (-want +got):\n%s", diff)
	}
	for i, name := range s.Names() {
		if j, ok := s.Index(name); !ok || j != i || s.Describe(i).Name != name {
			t.Errorf("Index(%q) = %d, %v and Describe(%d).Name = %q", name, j, ok, i, s.Describe(i).Name)
		}
	}
	if _, ok := s.Index("nonesuch"); ok {
		t.Error("Index finds a feature that isn't there")
	}
	at, _ := s.Index("errors_total_1h30m_rate")
	if diff := cmp.Diff(Feature{"errors_total_1h30m_rate", "errors_total", "error/second", StatRate, 90 * time.Minute}, s.Describe(at)); diff != "" {
		t.Errorf("Describe (-want +got):\n%s", diff)
	}
}

// The version is part of stored model cards: a change of it is a change of
// format.
func TestSchemaVersion(t *testing.T) {
	windows := []time.Duration{10 * time.Second, time.Minute}
	s, err := NewSchema(forestall.KindGPU, Metrics(forestall.KindGPU), windows)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Version(), "gpu-2ede3aed470b"; got != want {
		t.Errorf("Version() = %q, want %q", got, want)
	}
	other, err := NewSchema(forestall.KindGPU, Metrics(forestall.KindGPU), windows[:1])
	if err != nil {
		t.Fatal(err)
	}
	if other.Version() == s.Version() {
		t.Error("two schemas share a version")
	}
}

func TestSchemaErrors(t *testing.T) {
	one := []Metric{{"a", Gauge, "ratio", ""}}
	sec := []time.Duration{time.Second}
	for _, tt := range []struct {
		name    string
		kind    forestall.Kind
		metrics []Metric
		windows []time.Duration
		want    string
	}{
		{"no kind", forestall.KindUnknown, one, sec, "kind must be"},
		{"no metrics", forestall.KindNode, nil, sec, "0 metrics given"},
		{"twice", forestall.KindNode, append(one, one...), sec, "given twice"},
		{"bad name", forestall.KindNode, []Metric{{"A-b", Gauge, "", ""}}, sec, `metric "A-b"`},
		{"bad type", forestall.KindNode, []Metric{{"a", 7, "", ""}}, sec, "neither Gauge nor Counter"},
		{"no windows", forestall.KindNode, one, nil, "0 windows given"},
		{"negative", forestall.KindNode, one, []time.Duration{-time.Second}, "multiple of 100ms"},
		{"fine", forestall.KindNode, one, []time.Duration{time.Second + time.Millisecond}, "multiple of 100ms"},
		{"descending", forestall.KindNode, one, []time.Duration{time.Minute, time.Second}, "must ascend"},
		{"clash", forestall.KindNode, append(one, Metric{"a_1s_mean", Gauge, "", ""}, Metric{"a_1s", Gauge, "", ""}, Metric{"scrape_gap_seconds", Gauge, "", ""}), sec, "same name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewSchema(tt.kind, tt.metrics, tt.windows)
			if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrSchema saying %q", err, tt.want)
			}
		})
	}
}

// Every preset makes a schema, and every metric in it is described.
func TestMetricPresets(t *testing.T) {
	for _, kind := range []forestall.Kind{forestall.KindNode, forestall.KindGPU, forestall.KindAgent, forestall.KindService} {
		if _, err := NewSchema(kind, Metrics(kind), []time.Duration{10 * time.Second, time.Minute}); err != nil {
			t.Error(err)
		}
		for _, m := range Metrics(kind) {
			if m.Unit == "" || m.Help == "" {
				t.Errorf("%s: unit %q, help %q", m.Name, m.Unit, m.Help)
			}
			if got := strings.HasSuffix(m.Name, "_total"); got != (m.Type == Counter) {
				t.Errorf("%s is a %s", m.Name, m.Type)
			}
		}
	}
	if Metrics(forestall.KindUnknown) != nil {
		t.Error("the unknown kind has metrics")
	}
}

func mustSchema(tb testing.TB, metrics []Metric, windows ...time.Duration) *Schema {
	tb.Helper()
	s, err := NewSchema(forestall.KindGPU, metrics, windows)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
