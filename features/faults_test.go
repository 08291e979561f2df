package features

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// values returns what is reported of a component's metrics.
func values(groups [][]forestall.Sample, c forestall.Component) map[string]float64 {
	got := map[string]float64{}
	for _, group := range groups {
		for _, s := range group {
			if s.Component == c && s.Value == s.Value {
				got[s.Metric] = s.Value
			}
		}
	}
	return got
}

// TestSeriesTwiceOnAPage: of a series that a page has twice the first counts, in
// whatever order pages bring it; values that differ are counted.
func TestSeriesTwiceOnAPage(t *testing.T) {
	const (
		temp   = "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"n1\"} "
		xid    = "DCGM_FI_DEV_XID_ERRORS{gpu=\"0\",Hostname=\"n1\"} "
		used   = "DCGM_FI_DEV_FB_USED{gpu=\"0\",Hostname=\"n1\"} 100\n"
		nvlink = "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL{gpu=\"0\",Hostname=\"n1\"} 7\n"
		other  = "up{job=\"x\"} 1\nup{job=\"x\"} 0\n"
	)
	many := strings.Repeat("x", 3)
	for range 12 {
		many += "x"
	}
	var clocks strings.Builder
	for i := range 12 {
		clocks.WriteString("DCGM_FI_DEV_SM_CLOCK{gpu=\"0\",Hostname=\"n1\",i=\"" + many[:i+1] + "\"} 1\n")
	}
	target := newTarget(t)
	s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm")})
	for i, tt := range []struct {
		page    string
		temp    float64
		refused string
	}{
		{temp + "50\n" + xid + "0\n" + used + nvlink, 50, ""},
		{temp + "51\n" + temp + "120\n" + xid + "0\n" + xid + "79\n" + used + nvlink, 51, "2 values of series that the page has twice"},
		{temp + "52\n" + temp + "121\n" + xid + "0\n" + xid + "79\n" + used + nvlink, 52, "2 values"},
		{temp + "53\n" + xid + "0\n" + used + nvlink, 53, ""},
		{temp + "53\n" + temp + "53\n" + xid + "0\n" + used + used + nvlink + nvlink, 53, ""},
		{xid + "0\n" + used + nvlink + temp + "54\n" + temp + "122\n", 54, "1 value of a series that the page has twice"},
		{xid + "0\n" + temp + "55\n" + used + nvlink, 55, ""},
		{clocks.String() + xid + "0\n" + used + nvlink + temp + "56\n", 56, ""},
		{temp + "57\n" + clocks.String() + xid + "0\n" + used + nvlink + temp + "123\n", 57, "1 value"},
		{temp + "58\n" + other + xid + "0\n" + used + nvlink, 58, ""},
		{temp + "60 1\n" + temp + "59\n" + xid + "0\n" + used + nvlink, 59, "1 series are stamped"},
	} {
		target.page(tt.page)
		now := epoch.Add(time.Duration(i) * 5 * time.Second)
		got := values(scrapeOnce(t, s, now), forestall.GPU("n1", 0))
		if got["gpu_temperature_celsius"] != tt.temp || got["gpu_memory_used_bytes"] != 100<<20 || got["gpu_nvlink_errors_total"] != 7 {
			t.Errorf("page %d: %v", i, got)
		}
		switch err := s.Refused(); {
		case (err != nil) != (tt.refused != ""):
			t.Errorf("page %d: refused: %v", i, err)
		case err != nil && !strings.Contains(err.Error(), tt.refused):
			t.Errorf("page %d: %v, want %q", i, err, tt.refused)
		}
		if events := s.Events(); len(events) > 0 {
			t.Errorf("page %d: events %v", i, events)
		}
	}
}

// TestPageOfSeveralNodes: a page that describes several nodes is not taken for one
// of them; one whose node has another name now is.
func TestPageOfSeveralNodes(t *testing.T) {
	page := func(hosts ...string) string {
		var b strings.Builder
		for _, h := range hosts {
			b.WriteString("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"" + h + "\"} 50\nDCGM_FI_DEV_POWER_USAGE{gpu=\"0\",Hostname=\"" + h + "\"} 100\n")
		}
		return b.String()
	}
	target := newTarget(t)
	for _, tt := range []struct {
		name, node string
		pages      []string
		fails      []bool
	}{
		{"two from the start", "n1", []string{page("a", "b"), page("a", "b"), page("a")}, []bool{true, true, false}},
		{"a second one comes", "n1", []string{page("a"), page("a"), page("a", "b"), page("a")}, []bool{false, false, true, false}},
		{"another name", "n1", []string{page("a"), page("b"), page("b"), page("a")}, []bool{false, false, false, false}},
		{"no names", "n1", []string{strings.ReplaceAll(page("a"), "Hostname", "x")}, []bool{false}},
		{"named by the page", "", []string{page("a", "b")}, []bool{false}},
	} {
		s := target.scraper(t, ScrapeConfig{Node: tt.node, Mapping: preset("dcgm")})
		for i, text := range tt.pages {
			target.page(text)
			_, _, err := s.Scrape(context.Background(), epoch.Add(time.Duration(i)*time.Minute))
			if (err != nil) != tt.fails[i] {
				t.Errorf("%s: page %d: %v", tt.name, i, err)
			}
			if err != nil && (!strings.Contains(err.Error(), `nodes "a" and "b"`) || !strings.Contains(err.Error(), "file_sd")) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
}

// TestXIDsOfMIG: of a GPU that has a series for each of its instances each is
// followed by itself.
func TestXIDsOfMIG(t *testing.T) {
	one := func(instance, pod, v string) string {
		return `DCGM_FI_DEV_XID_ERRORS{gpu="0",Hostname="n1",GPU_I_ID="` + instance + `",pod="` + pod + `"} ` + v + "\n"
	}
	target := newTarget(t)
	for name, tt := range map[string]struct {
		pages []string
		want  [][]int
	}{
		"the first of two":         {[]string{one("1", "a", "0") + one("2", "a", "0"), one("1", "a", "79") + one("2", "a", "0"), one("1", "a", "79") + one("2", "a", "0")}, [][]int{nil, {79}, nil}},
		"the second of two":        {[]string{one("1", "a", "31") + one("2", "a", "0"), one("1", "a", "31") + one("2", "a", "79")}, [][]int{nil, {79}}},
		"both":                     {[]string{one("1", "a", "0") + one("2", "a", "0"), one("1", "a", "48") + one("2", "a", "48")}, [][]int{nil, {48}}},
		"another pod":              {[]string{one("1", "a", "31"), one("1", "b", "31"), one("1", "a", "31")}, [][]int{nil, nil, nil}},
		"another pod, and another": {[]string{one("1", "a", "31"), one("1", "b", "79")}, [][]int{nil, {79}}},
		"away and back":            {[]string{one("1", "a", "31"), "", one("1", "a", "79")}, [][]int{nil, nil, {79}}},
	} {
		s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm")})
		for i, page := range tt.pages {
			target.page("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"n1\"} 50\n" + page)
			scrapeOnce(t, s, epoch.Add(time.Duration(i)*5*time.Second))
			var got []int
			for _, e := range s.Events() {
				got = append(got, e.Code)
			}
			if diff := cmp.Diff(tt.want[i], got); diff != "" {
				t.Errorf("%s: scrape %d (-want +got):\n%s", name, i, diff)
			}
		}
	}
}

// TestDCGMNames: a page gives the same by the names that DCGM 4.6 has as by those of
// before.
func TestDCGMNames(t *testing.T) {
	const of = `{gpu="0",Hostname="n1"} `
	names := []string{
		"GPU_TEMP", "GPU_TEMP_CELSIUS", "MEMORY_TEMP", "MEMORY_TEMP_CELSIUS", "POWER_USAGE", "BOARD_POWER_WATTS",
		"POWER_MGMT_LIMIT", "BOARD_POWER_LIMIT_REQUESTED_WATTS", "POWER_MGMT_LIMIT_DEF", "BOARD_POWER_LIMIT_DEFAULT_WATTS",
		"POWER_MGMT_LIMIT_MAX", "BOARD_POWER_LIMIT_MAX_WATTS", "GPU_UTIL", "GPU_UTIL_RATIO", "PSTATE", "GPU_PSTATE",
		"PCIE_REPLAY_COUNTER", "PCIE_REPLAY_TOTAL", "SLOWDOWN_TEMP", "GPU_TEMP_SLOWDOWN_CELSIUS", "SHUTDOWN_TEMP", "GPU_TEMP_SHUTDOWN_CELSIUS",
		"GPU_MAX_OP_TEMP", "GPU_MAX_OP_TEMP_CELSIUS", "RETIRED_SBE", "PAGE_RETIRED_SBE_TOTAL", "RETIRED_DBE", "PAGE_RETIRED_DBE_TOTAL",
		"RETIRED_PENDING", "PAGE_RETIRED_PENDING", "UNCORRECTABLE_REMAPPED_ROWS", "ROW_REMAP_UNCORRECTABLE_TOTAL",
		"CORRECTABLE_REMAPPED_ROWS", "ROW_REMAP_CORRECTABLE_TOTAL", "ROW_REMAP_FAILURE", "ROW_REMAP_FAILED",
		"NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", "NVLINK_CRC_FLIT_ERROR_TOTAL", "NVLINK_CRC_DATA_ERROR_COUNT_TOTAL", "NVLINK_CRC_DATA_ERROR_TOTAL",
		"NVLINK_REPLAY_ERROR_COUNT_TOTAL", "NVLINK_REPLAY_ERROR_TOTAL", "NVLINK_RECOVERY_ERROR_COUNT_TOTAL", "NVLINK_RECOVERY_ERROR_TOTAL",
	}
	target := newTarget(t)
	var got [2]map[string]float64
	for kind := range got {
		s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm")})
		for i, xid := range []string{"0", "79"} {
			page := "DCGM_FI_DEV_XID_ERROR" + []string{"S", ""}[kind] + of + xid + "\n"
			for j := kind; j < len(names); j += 2 {
				page += "DCGM_FI_DEV_" + names[j] + of + strconv.Itoa(j/2+1) + "\n"
			}
			target.page(page)
			got[kind] = values(scrapeOnce(t, s, epoch.Add(time.Duration(i)*5*time.Second)), forestall.GPU("n1", 0))
		}
		if e := s.Events(); len(e) != 1 || e[0].Code != 79 {
			t.Errorf("events %v", e)
		}
	}
	if diff := cmp.Diff(got[0], got[1]); diff != "" || len(got[0]) < len(names)/2 {
		t.Errorf("%d metrics (-old +new):\n%s", len(got[0]), diff)
	}
}
