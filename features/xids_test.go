package features

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestXIDs: of a source that counts XIDs each is told, also one of the same code
// as the one before; of one that gives the last, each change of it.
func TestXIDs(t *testing.T) {
	type scrape struct {
		last   int // DCGM_FI_DEV_XID_ERRORS; negative: not there
		counts map[int]int
		none   bool // counts says that there are none
	}
	for name, tt := range map[string]struct {
		scrapes []scrape
		want    [][]int
	}{
		"last":                      {[]scrape{{last: 31}, {last: 31}, {last: 79}, {last: 79}}, [][]int{nil, nil, {79}, nil}},
		"an old count is no news":   {[]scrape{{31, map[int]int{31: 3}, false}, {31, map[int]int{31: 3}, false}}, [][]int{nil, nil}},
		"one code again":            {[]scrape{{0, nil, true}, {31, map[int]int{31: 1}, false}, {31, map[int]int{31: 3}, false}, {31, map[int]int{31: 3}, false}}, [][]int{nil, {31}, {31, 31}, nil}},
		"two codes":                 {[]scrape{{0, nil, true}, {79, map[int]int{31: 2, 79: 1}, false}}, [][]int{nil, {31, 31, 79}}},
		"they leave the window":     {[]scrape{{31, map[int]int{31: 3}, false}, {31, map[int]int{31: 1}, false}, {31, nil, true}, {31, map[int]int{31: 1}, false}}, [][]int{nil, nil, nil, {31}}},
		"without the last":          {[]scrape{{-1, nil, true}, {-1, map[int]int{48: 1}, false}}, [][]int{nil, {48}}},
		"counts come later":         {[]scrape{{last: 31}, {31, map[int]int{31: 5}, false}, {31, map[int]int{31: 6}, false}}, [][]int{nil, nil, {31}}},
		"counts go away":            {[]scrape{{0, nil, true}, {31, map[int]int{31: 1}, false}, {last: 31}, {last: 43}}, [][]int{nil, {31}, nil, {43}}},
		"a storm is believed to 64": {[]scrape{{0, nil, true}, {31, map[int]int{31: 5000}, false}}, [][]int{nil, slices.Repeat([]int{31}, 64)}},
	} {
		t.Run(name, func(t *testing.T) {
			target := newTarget(t)
			s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm")})
			for i, one := range tt.scrapes {
				const of = `gpu="0",Hostname="n1"`
				page := "DCGM_FI_DEV_GPU_TEMP{" + of + "} 50\n"
				if one.last >= 0 {
					page += fmt.Sprintf("DCGM_FI_DEV_XID_ERRORS{%s} %d\n", of, one.last)
				}
				if one.none {
					page += fmt.Sprintf("DCGM_EXP_XID_ERRORS_COUNT{%s,window_size_in_ms=\"300000\"} 0\n", of)
				}
				for _, code := range []int{31, 48, 79} {
					if n := one.counts[code]; n > 0 {
						page += fmt.Sprintf("DCGM_EXP_XID_ERRORS_COUNT{%s,window_size_in_ms=\"300000\",xid=\"%d\"} %d\n", of, code, n)
					}
				}
				target.page(page)
				now := epoch.Add(time.Duration(i) * 5 * time.Second)
				scrapeOnce(t, s, now)
				var got []int
				for _, e := range s.Events() {
					if e.Kind != forestall.EventXID || e.Component != forestall.GPU("n1", 0) || !e.Time.Equal(now) {
						t.Errorf("event %v", e)
					}
					got = append(got, e.Code)
				}
				if diff := cmp.Diff(tt.want[i], got); diff != "" {
					t.Errorf("scrape %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

// TestViolations: the times for which clocks were held down are nanoseconds, and
// pass what means "no value" elsewhere.
func TestViolations(t *testing.T) {
	target := newTarget(t)
	s := target.scraper(t, ScrapeConfig{Node: "n1", Mapping: preset("dcgm")})
	target.page(`DCGM_FI_DEV_GPU_TEMP{gpu="0"} 50
DCGM_FI_DEV_POWER_VIOLATION{gpu="0"} 3500000000000
DCGM_FI_DEV_THERMAL_VIOLATION{gpu="0"} 9223372036854775792
DCGM_FI_DEV_SYNC_BOOST_VIOLATION{gpu="0"} 0
DCGM_FI_DEV_BOARD_LIMIT_VIOLATION{gpu="0"} 2147483632
DCGM_FI_DEV_LOW_UTIL_VIOLATION{gpu="0"} 1e9
DCGM_FI_DEV_RELIABILITY_VIOLATION{gpu="0"} 9223372036854775794
`)
	got := map[string]float64{}
	for _, v := range scrapeOnce(t, s, epoch)[0] {
		if m := detailMetric(v.Metric); m.Unit == "second" && v.Value == v.Value {
			got[v.Metric] = v.Value
			if m.Type != Counter {
				t.Errorf("%s is a %s", m.Name, m.Type)
			}
		}
	}
	want := map[string]float64{"gpu_held_power_seconds_total": 3500, "gpu_held_sync_boost_seconds_total": 0, "gpu_held_board_limit_seconds_total": 2.147483632, "gpu_held_low_utilization_seconds_total": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
