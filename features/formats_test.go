package features

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/stratoswarm/forestall"
)

// formats are what an exporter may answer.
var formats = map[string]expfmt.Format{
	"text":        expfmt.NewFormat(expfmt.TypeTextPlain),
	"OpenMetrics": expfmt.NewFormat(expfmt.TypeOpenMetrics),
	"protobuf":    expfmt.NewFormat(expfmt.TypeProtoDelim),
}

// families reads a page of the text format.
func families(tb testing.TB, page string) map[string]*dto.MetricFamily {
	tb.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// encode writes a page of the text format in another.
func encode(tb testing.TB, page string, format expfmt.Format) []byte {
	tb.Helper()
	var b bytes.Buffer
	e := expfmt.NewEncoder(&b, format)
	for _, f := range families(tb, page) {
		if err := e.Encode(f); err != nil {
			tb.Fatal(err)
		}
	}
	if err := e.(expfmt.Closer).Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Whatever format a target answers in, its samples are the same.
func TestScrapeEveryFormat(t *testing.T) {
	for _, tt := range []struct{ preset, page string }{{"dcgm", "testdata/dcgm.prom"}, {"node", "testdata/node2.prom"}} {
		text := readFile(t, tt.page)
		samples := map[string][][]forestall.Sample{}
		for name, format := range formats {
			srv := newTarget(t)
			page := encode(t, text, format)
			srv.answer = func(w http.ResponseWriter, r *http.Request) {
				if got := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...); got.FormatType() != expfmt.TypeTextPlain {
					t.Errorf("an exporter that can answer all answers in %s", got)
				}
				w.Header().Set("Content-Type", string(format))
				_, _ = w.Write(page)
			}
			s := srv.scraper(t, ScrapeConfig{Node: "n1", Mapping: preset(tt.preset)})
			scrapeOnce(t, s, epoch)
			samples[name] = scrapeOnce(t, s, epoch.Add(time.Second))
		}
		for name, got := range samples {
			if diff := cmp.Diff(samples["text"], got, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("%s as %s (-text +%s):\n%s", tt.page, name, name, diff)
			}
		}
	}
}

// BenchmarkParseFormats reads one page in every format, and through expfmt for
// comparison.
func BenchmarkParseFormats(b *testing.B) {
	text := string(dcgmNode(b))
	for name, format := range formats {
		page := encode(b, text, format)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = 0
				if err := Parse(page, string(format), func(Series) error { n++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			perSeries(b, n)
			b.ReportMetric(float64(len(page))/float64(n), "page-B/series")
		})
		b.Run(name+"/expfmt", func(b *testing.B) {
			if name == "OpenMetrics" {
				b.Skip("expfmt, the peer, does not read this format")
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = 0
				d := expfmt.NewDecoder(bytes.NewReader(page), format)
				for f := new(dto.MetricFamily); d.Decode(f) == nil; f = new(dto.MetricFamily) {
					n += len(f.GetMetric())
				}
			}
			perSeries(b, n)
		})
	}
}

// BenchmarkTakeFormats parses a page in every format and maps it to the samples
// of 8 GPUs: a scrape without its request.
func BenchmarkTakeFormats(b *testing.B) {
	text := string(dcgmNode(b))
	for name, format := range formats {
		page := encode(b, text, format)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			s, err := NewScraper(ScrapeConfig{URL: "http://x/metrics", Node: "n3", Mapping: preset("dcgm")}, http.DefaultClient)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := s.take(page, string(format), epoch); err != nil {
					b.Fatal(err)
				}
				if groups := s.samples(epoch); len(groups) != 8 {
					b.Fatalf("%d groups, want 8", len(groups))
				}
			}
			perSeries(b, 480)
		})
	}
}
