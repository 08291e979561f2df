package features

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

func dcgmScraper(tb testing.TB) *Scraper {
	tb.Helper()
	s, err := NewScraper(ScrapeConfig{URL: "http://n3:9400/metrics", Node: "n3", Mapping: preset("dcgm")}, http.DefaultClient)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// sameSamples reports whether two scrapes agree, bit for bit.
func sameSamples(a, b [][]forestall.Sample) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		for j := range a[i] {
			x, y := a[i][j], b[i][j]
			if math.Float64bits(x.Value) != math.Float64bits(y.Value) && !(math.IsNaN(x.Value) && math.IsNaN(y.Value)) {
				return false
			}
			if x.Value = y.Value; x.Value == x.Value && x != y {
				return false
			}
		}
	}
	return true
}

// TestKnownPages reads pages of the same series and of others: each time the
// samples are those that the parser gives, and the parser is asked only where
// lines are new.
func TestKnownPages(t *testing.T) {
	page := readFile(t, "testdata/dcgm.prom")
	moved := strings.NewReplacer("} 86\n", "} 87.5\n", "} 688.917000\n", "} NaN\n", "} 214\n", "} +Inf\n").Replace(page)
	s, plain := dcgmScraper(t), dcgmScraper(t)
	at := epoch
	for _, tt := range []struct {
		name, page string
		parsed     bool // by the parser
		fails      bool
	}{
		{"first", page, true, false},
		{"same", page, false, false},
		{"other values", moved, false, false},
		{"spaces", strings.Replace(page, "} 86\n", "}\t 86 \n", 1), false, false},
		{"last line break missing", strings.TrimSuffix(page, "\n"), false, false},
		{"a time", strings.Replace(page, "} 86\n", "} 86 1712000000000\n", 1), true, false},
		{"a bad time", strings.Replace(page, "} 86\n", "} 86 yesterday\n", 1), true, true},
		{"the same after an error", page, true, false},
		{"a bad value", strings.Replace(page, "} 86\n", "} 0x56\n", 1), true, true},
		{"a number of Go's", strings.Replace(page, "} 86\n", "} 8_6\n", 1), true, true},
		{"again", page, true, false},
		{"series gone", strings.Join(strings.Split(page, "\n")[30:], "\n"), true, false},
		{"series back", page, true, false},
		{"cut off", page[:strings.LastIndex(page, "Hostname")], true, true},
		{"whole", page, true, false},
		{"comment changed", strings.Replace(page, "# HELP DCGM_FI_DEV_SM_CLOCK", "# HELP DCGM_FI_DEV_SM_CLOCK now", 1), true, false},
		{"bad comment", strings.Replace(page, "CLOCK gauge", "CLOCK gouge", 1), true, true},
		{"more follows", page + "DCGM_FI_DEV_GPU_TEMP{gpu=\"7\"} 30\n", true, false},
	} {
		at = at.Add(5 * time.Second)
		before := s.scrape
		err := s.take([]byte(tt.page), "", at)
		plain.known.forget()
		wantErr := plain.take([]byte(tt.page), "", at)
		if (err != nil) != tt.fails || (wantErr != nil) != tt.fails {
			t.Errorf("%s: %v, and by the parser alone %v", tt.name, err, wantErr)
		}
		if parsed := s.scrape-before > 1; parsed != tt.parsed {
			t.Errorf("%s: parsed: %v", tt.name, parsed)
		}
		if !sameSamples(s.samples(at), plain.samples(at)) {
			t.Errorf("%s: the samples are not the parser's", tt.name)
		}
	}
}

// FuzzKnown reads two pages with a scraper that knows the first and with one
// that knows nothing.
func FuzzKnown(f *testing.F) {
	page := readFile(f, "testdata/dcgm.prom")
	f.Add(page, page)
	f.Add(page, strings.ReplaceAll(page, "} 1", "} 2"))
	f.Add("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",x=\"}\"} 1 2\n# a\n", "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",x=\"}\"} 3\n# a")
	f.Add("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",x=\"a\nb\"} 1\n", "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",x=\"a\nb\"} -0\n")
	f.Add("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 1\n\n \n", "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} \x00\n\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		s, plain := dcgmScraper(t), dcgmScraper(t)
		for i, one := range []string{first, second} {
			at := epoch.Add(time.Duration(i) * time.Second)
			err := s.take([]byte(one), "", at)
			plain.known.forget()
			wantErr := plain.take([]byte(one), "", at)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("page %d: %v, and by the parser alone %v", i, err, wantErr)
			}
			if err == nil && !sameSamples(s.samples(at), plain.samples(at)) {
				t.Fatalf("page %d: the samples are not the parser's", i)
			}
		}
	})
}
