package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"html"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scored is a fleet of which every fourth component fails, most of them with a
// warning.
func scored(components int) *train.Scores {
	rng := rand.New(rand.NewPCG(5, 5))
	s := &train.Scores{}
	for c := range components {
		s.Groups = append(s.Groups, string(rune('A'+c%26))+string(rune('a'+c/26)))
		fails, warned := c%4 == 0, rng.IntN(4) > 0
		for hour := range 60 {
			x := rng.NormFloat64() - 5
			y := fails && hour >= 50
			if y && warned {
				x += 0.8 * float64(hour-48)
			}
			event := math.NaN()
			if fails {
				event = 60
			}
			s.Probability, s.Positive = append(s.Probability, model.Sigmoid(x)), append(s.Positive, y)
			s.Group, s.Time, s.Event = append(s.Group, int32(c)), append(s.Time, float64(hour)), append(s.Event, event)
		}
	}
	return s
}

func examplePage(t *testing.T, s *train.Scores, opt train.EvaluateOptions) *Page {
	t.Helper()
	opt.Detail, opt.Bootstrap, opt.Seed = 3, 50, 1
	e, err := train.Evaluate(s, opt)
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{
		Made: time.Date(2026, 11, 25, 9, 30, 0, 0, time.UTC), Program: "forestall 1.0",
		Card: model.Card{
			Name: "gpu-ecc", Version: "3", Kind: "gpu", Features: []string{"ecc", "temp"}, Horizon: model.Duration(10 * time.Hour),
			Calibration: model.Calibration{Method: model.Platt, Slope: 1}, Training: model.Training{DataSHA256: strings.Repeat("ab", 32), Notes: "made for a test"},
		},
		Trees: 12, Table: Table{Path: "later.csv", Label: "fails", Group: "gpu", Time: "hour", EventTime: "failed_at", LastTime: 59},
		Unit: opt.Unit, Lead: opt.Lead, Evaluation: e, Notes: []string{"This is a test."},
		Rows: Rows{Sampled: 100, Importance: []Importance{{"ecc", 0.75, 1.5}, {"temp", 0.25, 0.123456}}},
	}
	for _, x := range e.Detail.FalseAlarms {
		p.Rows.FalseAlarms = append(p.Rows.FalseAlarms, Explained{Example: x, Score: -1.2, Average: -4, Rest: 0.001, Reasons: []Reason{{"ecc", 12.5, 3}, {"temp", math.NaN(), -0.2}}})
	}
	for _, x := range e.Detail.Misses {
		p.Rows.Misses = append(p.Rows.Misses, Explained{Example: x, Score: -6, Average: math.NaN(), Rest: math.NaN()})
	}
	return p
}

func render(t *testing.T, p *Page) string {
	t.Helper()
	var out bytes.Buffer
	if err := p.Render(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var (
	drawings = regexp.MustCompile(`(?s)<svg .*?</svg>`)
	hidden   = regexp.MustCompile(`(?s)<style>.*?</style>|<desc .*?</desc>|<text .*?</text>`)
	breaks   = regexp.MustCompile(`</?(?:h1|h2|h3|p|li|tr|dt|dd|caption|title|summary)[ >][^>]*`)
	tags     = regexp.MustCompile(`<[^>]*>`)
	blank    = regexp.MustCompile(`[ \t]*\n\s*`)
)

// prose is what a page says, without its drawings.
func prose(page string) string {
	page = strings.NewReplacer("</td>", " | ", "</th>", " | ", "<small>", " (", "</small>", ")").Replace(hidden.ReplaceAllString(page, ""))
	page = tags.ReplaceAllString(breaks.ReplaceAllString(page, "\n<"), "")
	return strings.TrimSpace(blank.ReplaceAllString(html.UnescapeString(page), "\n")) + "\n"
}

// TestGolden: the pages of a table with components and of one without, as prose.
func TestGolden(t *testing.T) {
	rows := scored(40)
	rows.Group, rows.Groups, rows.Time, rows.Event = nil, nil, nil, nil
	plain := examplePage(t, rows, train.EvaluateOptions{})
	plain.Table = Table{Path: "later.csv", Label: "fails"}
	full := examplePage(t, scored(40), train.EvaluateOptions{Unit: train.ParseTimeUnit("hours"), Lead: 2, Thresholds: []float64{0.5}, Budgets: []float64{1, 100}})
	full.Against = &Against{"models/old", train.Paired{AUC: train.Difference{A: 0.9, B: 0.8, Delta: 0.1, Better: 0.99}, Units: 40, Resamples: 50}}
	for name, p := range map[string]*Page{"components": full, "rows": plain} {
		path := filepath.Join("testdata", name+".txt")
		got := prose(render(t, p))
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
}

// TestSelfContained: the page asks nothing of anyone, its drawings are
// well-formed, titled and bounded.
func TestSelfContained(t *testing.T) {
	page := render(t, examplePage(t, scored(400), train.EvaluateOptions{Unit: train.ParseTimeUnit("hours")}))
	for _, bad := range []string{"http:", "https:", "src=", "<link", "<script", "url(", "@import", "%!", "ZgotmplZ", "NaN", "Inf", "<nil>"} {
		if at := strings.Index(page, bad); at >= 0 {
			t.Errorf("the page holds %q: …%s…", bad, page[max(0, at-60):min(len(page), at+60)])
		}
	}
	all := drawings.FindAllString(page, -1)
	if len(all) != 6 {
		t.Fatalf("%d drawings", len(all))
	}
	for _, svg := range all {
		wellFormed(t, svg)
		if !strings.Contains(svg, `role="img"`) || !strings.Contains(svg, "<title ") || !strings.Contains(svg, "<desc ") {
			t.Errorf("not accessible: %.200s", svg)
		}
		for _, path := range regexp.MustCompile(`d="[^"]*"`).FindAllString(svg, -1) {
			if n := strings.Count(path, "L"); n > 1100 {
				t.Errorf("a curve has %d corners", n)
			}
		}
	}
	if len(page) > 150_000 {
		t.Errorf("the page has %d bytes", len(page))
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %.300s", err, text)
		}
	}
}

// TestHostileNames: names of columns, files and components are text whatever
// they hold.
func TestHostileNames(t *testing.T) {
	const evil = `</title></style><script>alert(1)</script>"onload='x'<b>&`
	s := scored(40)
	for i := range s.Groups {
		s.Groups[i] += evil
	}
	p := examplePage(t, s, train.EvaluateOptions{Unit: train.ParseTimeUnit(evil)})
	p.Card.Name, p.Card.Version, p.Card.Training.Notes = evil, evil, evil
	p.Table = Table{Path: evil, Label: evil, Group: evil, Time: evil, EventTime: evil, SHA256: evil}
	p.Rows.Importance[0].Feature, p.Program, p.Notes = evil, evil, []string{evil}
	p.Rows.FalseAlarms[0].Reasons[0].Feature = evil
	p.Against = &Against{Model: evil}
	page := render(t, p)
	for _, bad := range []string{"<script", "<b>&", `"onload`} {
		if strings.Contains(strings.ReplaceAll(page, "<b>"+probability(p.Rows.FalseAlarms[0].Probability), ""), bad) {
			t.Errorf("%q is not escaped", bad)
		}
	}
	for _, svg := range drawings.FindAllString(page, -1) {
		wellFormed(t, svg)
	}
	if n := strings.Count(page, "</style>"); n != 1 {
		t.Errorf("%d ends of the style", n)
	}
}

// TestEdges: tables that leave figures undefined have a page too.
func TestEdges(t *testing.T) {
	one := func(y bool, groups bool) *train.Scores {
		s := &train.Scores{Probability: []float64{0.3, 0.3}, Positive: []bool{y, y}}
		if groups {
			s.Group, s.Groups, s.Time = []int32{0, 0}, []string{"a"}, []float64{1, 1}
		}
		return s
	}
	for name, s := range map[string]*train.Scores{
		"no positives": one(false, false), "all positive": one(true, false),
		"no incidents": one(false, true), "no exposure": one(true, true),
		"certain": {Probability: []float64{0, 1, 0, 1}, Positive: []bool{false, true, false, true}},
	} {
		page := render(t, examplePage(t, s, train.EvaluateOptions{}))
		for _, bad := range []string{"NaN", "Inf", "%!"} {
			if at := strings.Index(page, bad); at >= 0 {
				t.Errorf("%s: the page holds %q: …%s…", name, bad, page[max(0, at-100):min(len(page), at+60)])
			}
		}
		for _, svg := range drawings.FindAllString(page, -1) {
			wellFormed(t, svg)
		}
	}
	if err := (&Page{}).Render(io.Discard); err == nil {
		t.Error("a page without an evaluation is rendered")
	}
}

// A feature that no tree asks for has no line.
func TestUnusedFeatures(t *testing.T) {
	p := examplePage(t, &train.Scores{Probability: []float64{0.2, 0.6, 0.4}, Positive: []bool{false, true, false}}, train.EvaluateOptions{})
	p.Rows.Importance = append(p.Rows.Importance, Importance{"idle", 0, 0}, Importance{"bare", 0, math.NaN()})
	out := render(t, p)
	if strings.Contains(out, ">idle<") || strings.Contains(out, ">bare<") || !strings.Contains(out, "The 2 most important of 4 features") {
		t.Error("features without a part in the model are listed")
	}
}
