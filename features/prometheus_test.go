package features

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/stratoswarm/forestall"
)

// fakePrometheus answers range queries over series that are functions of the
// step since epoch, 15 s each.
type fakePrometheus struct {
	*httptest.Server
	series  []fakeSeries
	queries []string                             // start, end and names of each
	refuse  func(n int, steps int) (int, string) // status and body of request n, 0 = answer
	cut     bool                                 // the next answer ends too early
}

type fakeSeries struct {
	labels map[string]string
	at     func(step int) (float64, bool)
}

const fakeStep = 15 * time.Second

func newFakePrometheus(t *testing.T) *fakePrometheus {
	p := &fakePrometheus{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.answer(t, w, r) }))
	t.Cleanup(p.Close)
	return p
}

func (p *fakePrometheus) answer(t *testing.T, w http.ResponseWriter, r *http.Request) {
	number := func(name string) float64 {
		v, err := strconv.ParseFloat(r.FormValue(name), 64)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return v
	}
	first := int((number("start") - float64(epoch.Unix())) / fakeStep.Seconds())
	last := int((number("end") - float64(epoch.Unix())) / fakeStep.Seconds())
	names := regexp.MustCompile(`^\{__name__=~"([^"]+)"(,.*)?\}$`).FindStringSubmatch(r.FormValue("query"))
	if r.URL.Path != "/prefix/api/v1/query_range" || names == nil || number("step") != fakeStep.Seconds() || last-first+1 > 11_000 {
		t.Errorf("request %s %v", r.URL.Path, r.Form)
	}
	p.queries = append(p.queries, fmt.Sprintf("%d-%d %s", first, last, names[1]))
	if p.refuse != nil {
		if status, body := p.refuse(len(p.queries), last-first+1); status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return
		}
	}
	type result struct {
		Metric map[string]string `json:"metric"`
		Values [][2]any          `json:"values"`
	}
	all := []result{}
	for _, s := range p.series {
		if !slices.Contains(strings.Split(names[1], "|"), s.labels["__name__"]) {
			continue
		}
		one := result{Metric: s.labels}
		for i := first; i <= last; i++ {
			if v, ok := s.at(i); ok {
				one.Values = append(one.Values, [2]any{float64(epoch.Add(time.Duration(i)*fakeStep).UnixMilli()) / 1000, strconv.FormatFloat(v, 'g', -1, 64)})
			}
		}
		if len(one.Values) > 0 {
			all = append(all, one)
		}
	}
	b, err := json.Marshal(map[string]any{"status": "success", "warnings": []string{"x"}, "data": map[string]any{"resultType": "matrix", "result": all}})
	if err != nil {
		t.Error(err)
	}
	if p.cut {
		p.cut = false
		b = b[:len(b)/2]
	}
	_, _ = w.Write(b)
}

func (p *fakePrometheus) add(at func(int) (float64, bool), labels string) {
	m := map[string]string{}
	for _, pair := range strings.Fields(labels) {
		name, value, _ := strings.Cut(pair, "=")
		m[name] = value
	}
	p.series = append(p.series, fakeSeries{m, at})
}

func (p *fakePrometheus) query(steps int, presets ...string) PrometheusQuery {
	q := PrometheusQuery{
		URL: p.URL + "/prefix/", Client: p.Client(), From: epoch, To: epoch.Add(time.Duration(steps-1) * fakeStep), Step: fakeStep,
		Wait: func(context.Context, time.Duration) error { return nil },
	}
	for _, name := range presets {
		q.Mappings = append(q.Mappings, preset(name))
	}
	return q
}

func readRange(t *testing.T, q PrometheusQuery) []Scrape {
	t.Helper()
	var all []Scrape
	for s, err := range ReadPrometheus(context.Background(), q) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// twoNodes fills the server with two nodes of two GPUs. GPU 1 of the first
// vanishes for a while; the second node does not answer for a while.
func (p *fakePrometheus) twoNodes() {
	for n, host := range []string{"n1", "n2"} {
		answers := func(step int) bool { return n == 0 || step < 20 || step >= 25 }
		target := fmt.Sprintf("job=dcgm instance=%s:9400", host)
		for g := range 2 {
			there := func(step int) bool { return answers(step) && (n == 1 || g == 0 || step < 10 || step >= 15) }
			add := func(name string, value func(step int) float64) {
				p.add(func(step int) (float64, bool) { return value(step), there(step) }, fmt.Sprintf("__name__=%s Hostname=%s gpu=%d %s", name, host, g, target))
			}
			add("DCGM_FI_DEV_GPU_TEMP", func(step int) float64 { return 50 + float64(step%7+g) })
			add("DCGM_FI_DEV_FB_USED", func(step int) float64 { return float64(1000 * step) })
			add("DCGM_FI_DEV_FB_FREE", func(step int) float64 { return float64(90000 - 1000*step) })
			add("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", func(step int) float64 { return float64(step / 3) })
		}
		p.add(func(step int) (float64, bool) {
			if answers(step) {
				return 1, true
			}
			return 0, true
		}, "__name__=up "+target)
		p.add(func(int) (float64, bool) { return 0.25, true }, "__name__=scrape_duration_seconds "+target)
	}
	p.add(func(int) (float64, bool) { return 1, true }, "__name__=up job=other instance=x:1")
}

// What is read back is what scraping would have given.
func TestPrometheusHistoryIsWhatScrapesGive(t *testing.T) {
	const steps = 100
	p := newFakePrometheus(t)
	p.twoNodes()
	got := readRange(t, p.query(steps, "dcgm"))

	var want []Scrape
	srv := newTarget(t)
	scrapers := map[string]*Scraper{}
	for _, host := range []string{"n1", "n2"} {
		scrapers[host] = srv.scraper(t, ScrapeConfig{Mapping: preset("dcgm")})
	}
	for step := range steps {
		for _, host := range []string{"n1", "n2"} {
			srv.page(p.page(host, step))
			groups, _, err := scrapers[host].Scrape(context.Background(), epoch.Add(time.Duration(step)*fakeStep))
			if err != nil {
				continue // up = 0
			}
			for _, g := range groups {
				want = append(want, Scrape{g, 250 * time.Millisecond})
			}
		}
	}
	if diff := gocmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("scraped and read back differ (-scraped +read):\n%.4000s", diff)
	}
	if len(got) != 4*steps-2*5 {
		t.Errorf("%d scrapes, want %d", len(got), 4*steps-2*5)
	}
	parts := (len(preset("dcgm").Series()) + namesPerQuery - 1) / namesPerQuery
	if len(p.queries) != 2*(parts+1) { // 60 and 40 steps; the names in parts, then up
		t.Errorf("queries %q", p.queries)
	}
}

// page is what the target of a host shows at a step; HTML where it is down.
func (p *fakePrometheus) page(host string, step int) string {
	var b strings.Builder
	for _, s := range p.series {
		if v, ok := s.at(step); ok && s.labels["Hostname"] == host {
			fmt.Fprintf(&b, "%s{gpu=%q,Hostname=%q} %v\n", s.labels["__name__"], s.labels["gpu"], host, v)
		}
	}
	return cmp.Or(b.String(), "<html>")
}

func TestPrometheusChunks(t *testing.T) {
	p := newFakePrometheus(t)
	p.twoNodes()
	whole := readRange(t, p.query(300, "dcgm"))
	for name, change := range map[string]func(*PrometheusQuery){
		"few points": func(q *PrometheusQuery) { q.MaxPoints = 500 },
		"refused as too large": func(*PrometheusQuery) {
			p.refuse = func(_, steps int) (int, string) {
				if steps > 40 {
					return http.StatusUnprocessableEntity, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}`
				}
				return 0, ""
			}
		},
		"often busy": func(*PrometheusQuery) {
			p.refuse = func(n, _ int) (int, string) {
				return map[int]int{0: http.StatusServiceUnavailable, 10: http.StatusTooManyRequests}[n%20], "busy"
			}
		},
		"cut off": func(*PrometheusQuery) { p.cut = true },
	} {
		p.queries, p.refuse, p.cut = nil, nil, false
		q := p.query(300, "dcgm")
		change(&q)
		var progress []PrometheusProgress
		q.Progress = func(now PrometheusProgress) { progress = append(progress, now) }
		if diff := gocmp.Diff(whole, readRange(t, q), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s: (-whole +chunks):\n%.2000s", name, diff)
		}
		if last := progress[len(progress)-1]; last.Done != 300 || last.Steps != 300 || last.Components != 4 || !last.At.Equal(epoch.Add(299*fakeStep)) {
			t.Errorf("%s: progress ends with %+v", name, last)
		}
		if len(progress) < 2 {
			t.Errorf("%s: one chunk", name)
		}
	}
}

func TestPrometheusFailures(t *testing.T) {
	p := newFakePrometheus(t)
	p.twoNodes()
	status := func(code int, body string) func(int, int) (int, string) {
		return func(int, int) (int, string) { return code, body }
	}
	for _, tt := range []struct {
		name   string
		refuse func(int, int) (int, string)
		change func(*PrometheusQuery)
		want   string
	}{
		{"wrong token", status(401, "no"), nil, "status 401 Unauthorized: no; check the token"},
		{"bad matchers", status(400, `{"status":"error","errorType":"bad_data","error":"parse error: unexpected <op:->"}`), nil, "bad_data: parse error"},
		{"always busy", status(503, "busy"), nil, "after 5 attempts: status 503"},
		{"always too large", status(422, `{"error":"query processing would load too many samples into memory"}`), nil, "narrow it with matchers"},
		{"another server's page", status(501, "<html>\n<p>no POST</p>\n</html>"), nil, "prometheus: status 501 Not Implemented: the answer is a page: is this a Prometheus server?"},
		{"a gate's page", status(403, "<html>no</html>"), nil, "status 403 Forbidden: the answer is a page; check the token or password file"},
		{"a web page", status(200, "<html></html>"), nil, "is this a Prometheus server?"},
		{"another JSON", status(200, "[1]"), nil, "is this a Prometheus server?"},
		{"values of another shape", status(200, `{"data":{"result":[{"metric":{},"values":[[1]]}]}}`), nil, `values "[[1]]": want [[TIME,"VALUE"],...]`},
		{"no server", nil, func(q *PrometheusQuery) { q.URL = "http://127.0.0.1:1" }, "connection refused"},
		{"no URL", nil, func(q *PrometheusQuery) { q.URL = "prometheus:9090" }, "want http://HOST:PORT"},
		{"no step", nil, func(q *PrometheusQuery) { q.Step = 0 }, "step 0s: want whole milliseconds"},
		{"no span", nil, func(q *PrometheusQuery) { q.To = q.From.Add(-1) }, "is not a span of time"},
		{"no mapping", nil, func(q *PrometheusQuery) { q.Mappings = nil }, "no mapping"},
		{"far too long", nil, func(q *PrometheusQuery) { q.Step, q.To = time.Millisecond, q.From.AddDate(10, 0, 0) }, "give a longer step"},
	} {
		p.refuse = tt.refuse
		q := p.query(100, "dcgm")
		if tt.change != nil {
			tt.change(&q)
		}
		var last error
		for _, err := range ReadPrometheus(context.Background(), q) {
			last = err
		}
		if !errors.Is(last, ErrPrometheus) || !strings.Contains(last.Error(), tt.want) {
			t.Errorf("%s: error %v, want ErrPrometheus saying %q", tt.name, last, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range ReadPrometheus(ctx, p.query(100, "dcgm")) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: error %v", err)
		}
	}
}

// Of two targets that describe one component the first counts.
func TestPrometheusTwoTargetsOfOneComponent(t *testing.T) {
	p := newFakePrometheus(t)
	for i, instance := range []string{"a:1", "b:1"} {
		p.add(func(step int) (float64, bool) { return float64(i), i == 1 || step != 3 }, "__name__=DCGM_FI_DEV_GPU_TEMP Hostname=n1 gpu=0 job=dcgm instance="+instance)
	}
	var got []float64
	for _, s := range readRange(t, p.query(5, "dcgm")) {
		if s.Latency >= 0 || s.Samples[0].Component != forestall.GPU("n1", 0) {
			t.Errorf("latency %s of %s", s.Latency, s.Samples[0].Component)
		}
		got = append(got, s.Samples[0].Value)
	}
	if diff := gocmp.Diff([]float64{0, 0, 0, 1, 0}, got); diff != "" {
		t.Errorf("temperatures (-want +got):\n%s", diff)
	}
}

func FuzzRangeAnswer(f *testing.F) {
	f.Add(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1.5,"1"],[2,"NaN"]]}]}}`)
	f.Add(`{"data":{"result":[{"values":[[0,"+Inf"`)
	f.Fuzz(func(t *testing.T, text string) {
		d := rangeDecoder{json: json.NewDecoder(strings.NewReader(text)), first: 0, step: 500, n: 8}
		_ = d.decode(func(_ labels.Labels, values []float64) error {
			if len(values) != 8 {
				t.Errorf("%d values", len(values))
			}
			for _, v := range values {
				if isAbsent(v) && !math.IsNaN(v) {
					t.Error("absent is a number")
				}
			}
			return nil
		})
	})
}
