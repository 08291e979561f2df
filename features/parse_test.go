package features

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

type parsed struct {
	Name, Label string
	Value       float64
	Time        time.Time
}

func parseAll(page, contentType string) (all []parsed, err error) {
	err = Parse([]byte(page), contentType, func(s Series) error {
		all = append(all, parsed{s.Name, s.Labels().Get("x"), s.Value, s.Time})
		return nil
	})
	return all, err
}

func TestParse(t *testing.T) {
	const om = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	for _, tt := range []struct {
		name, page, contentType string
		want                    []parsed
	}{
		{"empty", "", "", nil},
		{"text", "# HELP a Some help.\n# TYPE a gauge\na{x=\"1\"} 5\na{x=\"2\"} NaN\n\nb 7e3\n", "text/plain; version=0.0.4", []parsed{
			{"a", "1", 5, time.Time{}}, {"a", "2", math.NaN(), time.Time{}}, {"b", "", 7000, time.Time{}},
		}},
		{"no newline at the end", "a 1", "", []parsed{{"a", "", 1, time.Time{}}}},
		{"time", "a 1 1700000000123\n", "", []parsed{{"a", "", 1, time.UnixMilli(1700000000123).UTC()}}},
		{"quoted name", `{"a.b",x="1"} 4` + "\n", "text/plain; version=1.0.0; escaping=allow-utf-8", []parsed{{"a.b", "1", 4, time.Time{}}}},
		{"histogram", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n", "", []parsed{
			{"h_bucket", "", 3, time.Time{}}, {"h_sum", "", 4, time.Time{}}, {"h_count", "", 3, time.Time{}},
		}},
		{"OpenMetrics", "# TYPE a counter\na_total{x=\"1\"} 5 # {trace_id=\"z\"} 1\n# EOF\n", om, []parsed{{"a_total", "1", 5, time.Time{}}}},
		{"protobuf", protobufPage(t), "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", []parsed{
			{"a", "1", 5, time.Time{}}, {"a", "2", 6, time.Time{}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseAll(tt.page, tt.contentType)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
		})
	}
}

func protobufPage(tb testing.TB) string {
	reg := prometheus.NewRegistry()
	a := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "a"}, []string{"x"})
	reg.MustRegister(a)
	a.WithLabelValues("1").Set(5)
	a.WithLabelValues("2").Set(6)
	families, err := reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	var page bytes.Buffer
	enc := expfmt.NewEncoder(&page, expfmt.NewFormat(expfmt.TypeProtoDelim))
	for _, family := range families {
		if err := enc.Encode(family); err != nil {
			tb.Fatal(err)
		}
	}
	return page.String()
}

func TestParseErrors(t *testing.T) {
	const om = "application/openmetrics-text; version=1.0.0"
	for _, tt := range []struct{ name, page, contentType, want string }{
		{"bad value", "# TYPE a gauge\na 1\nb{x=\"y\"} five\nc 2\n", "", "line 3 (byte 19)"},
		{"bad label", "a 1\n\n# c\nb{x=1} 2\n", "", "line 4 (byte 9)"},
		{"first line", "%%\n", "", "line 1 (byte 0)"},
		{"type", "a 1\n# TYPE b nonsense\nb 1\n", "", "line 2 (byte 4)"},
		{"no EOF", "# TYPE a gauge\na 1\n", om, "line 3 (end of page)"},
		{"cut off", "a 1\nb{x=\"", "", "line 2 (byte 4)"},
		{"NUL", "a 1\n \x00b 2\nc 3\n", "", "line 2 (byte 5)"},
		{"NUL at the end", "a 1\n\x00", "", "line 2 (byte 4)"},
		{"HTML", "<!DOCTYPE html><html></html>", "text/html; charset=utf-8", "answered HTML"},
		{"HTML without a type", "\n <html></html>", "", "answered HTML"},
		{"JSON", "{}", "application/json", `"application/json" is not one of text/plain`},
		{"malformed type", "a 1", ";;", "content type"},
		{"protobuf", "\xff\xff", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "2 bytes"},
		{"too large", strings.Repeat("#", MaxPageBytes+1), "", "too large"},
		{"too many series", strings.Repeat("a 1\n", MaxSeries+1), "", "more than 500000 series"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Parse([]byte(tt.page), tt.contentType, func(Series) error { return nil })
			if !errors.Is(err, ErrExposition) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %.300v, want ErrExposition saying %q", err, tt.want)
			}
		})
	}
}

func TestParseStopsAtTheVisitorsError(t *testing.T) {
	stop, n := errors.New("stop"), 0
	err := Parse([]byte("a 1\nb 2\nc 3\n"), "", func(Series) error {
		if n++; n == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 2 {
		t.Errorf("%v after %d series, want the visitor's error after 2", err, n)
	}
}

func TestParseLeavesThePageAlone(t *testing.T) {
	page := []byte("a 1\nb 2\nXX")
	if err := Parse(page[:8], "", func(Series) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if string(page) != "a 1\nb 2\nXX" {
		t.Errorf("page became %q", page)
	}
}

// No page makes Parse crash, hang or misplace an error, whatever its type.
func FuzzParse(f *testing.F) {
	types := []string{
		"", "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "text/html",
	}
	for _, name := range []string{"testdata/dcgm.prom", "testdata/node1.prom"} {
		page, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(page[:2000], uint8(0))
	}
	f.Add([]byte("a{x=\"y\"} 1 2\n# EOF\n"), uint8(2))
	f.Add([]byte(protobufPage(f)), uint8(3))
	f.Add([]byte("a 1\nb{"), uint8(1))
	f.Fuzz(func(t *testing.T, page []byte, kind uint8) {
		contentType := types[int(kind)%len(types)]
		err := Parse(page, contentType, func(s Series) error {
			if s.Name == "" || s.Name != s.Labels().Get(model.MetricNameLabel) && !strings.ContainsAny(s.Name, "\\") {
				t.Errorf("series named %q with labels %s", s.Name, s.Labels())
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrExposition) {
			t.Errorf("error %v", err)
		}
	})
}
