package features

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestChurningLabels: a page that describes one component, whose name changes, is
// read for ever, and what it described is forgotten.
func TestChurningLabels(t *testing.T) {
	target := newTarget(t)
	s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm"), Forget: time.Minute})
	forgotten, most := 0, 0
	for i := range 3000 {
		target.page(fmt.Sprintf("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"pod-%d\"} 50\n", i))
		groups := scrapeOnce(t, s, epoch.Add(time.Duration(i)*5*time.Second))
		forgotten += len(s.Forgotten())
		most = max(most, len(groups))
	}
	if most > 14 || forgotten < 2980 {
		t.Errorf("%d components are told at once, %d of 3000 are forgotten; a minute has 12 scrapes", most, forgotten)
	}
}

// TestChurnBeyondTheLimit: a page that brings forth more names than one may
// describe, before they are old enough to be forgotten, pushes out the oldest.
func TestChurnBeyondTheLimit(t *testing.T) {
	target := newTarget(t)
	s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm"), Forget: time.Hour})
	page := func(from, n int) (text string) {
		for i := range n {
			text += fmt.Sprintf("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"pod-%d\"} 50\n", from+i)
		}
		return text
	}
	for i := range 10 {
		target.page(page(300*i, 300))
		groups := scrapeOnce(t, s, epoch.Add(time.Duration(i)*5*time.Second))
		if len(groups) > maxTargetComponents {
			t.Fatalf("%d components are remembered", len(groups))
		}
		newest := forestall.GPU(fmt.Sprintf("pod-%d", 300*i), 0)
		if !slices.ContainsFunc(groups, func(g []forestall.Sample) bool { return g[0].Component == newest }) {
			t.Fatalf("scrape %d does not tell of %s, which it describes", i, newest)
		}
	}
	target.page(page(0, maxTargetComponents+1))
	if _, _, err := s.Scrape(t.Context(), epoch.Add(time.Hour)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a page that describes too many at once: %v", err)
	}
	target.page(page(0, 8))
	scrapeOnce(t, s, epoch.Add(time.Hour+time.Minute))
}

// TestSilentGPUIsNotForgotten: one GPU of a node that is silent while the others
// answer is told of for as long as they do.
func TestSilentGPUIsNotForgotten(t *testing.T) {
	target := newTarget(t)
	s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm"), Forget: time.Minute})
	target.page("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"n1\"} 50\nDCGM_FI_DEV_GPU_TEMP{gpu=\"1\",Hostname=\"n1\"} 50\n")
	scrapeOnce(t, s, epoch)
	target.page("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"n1\"} 50\n")
	for i := range 100 {
		if groups := scrapeOnce(t, s, epoch.Add(time.Duration(i+1)*5*time.Second)); len(groups) != 2 || len(s.Forgotten()) != 0 {
			t.Fatalf("scrape %d tells of %d GPUs", i, len(groups))
		}
	}
}

// TestRemoteWriteChurn: the same by remote write.
func TestRemoteWriteChurn(t *testing.T) {
	s := newSender(t, false, "dcgm")
	s.w.cfg.Forget = time.Minute
	forgotten := 0
	for i := range 200 {
		at := time.Duration(i) * 15 * time.Second
		s.at(at)
		s.send(sent{fmt.Sprintf("DCGM_FI_DEV_GPU_TEMP Hostname=pod-%d gpu=0 job=dcgm instance=a", i), at, 50})
		if got := len(s.flush(at + 14*time.Second)); got > 6 {
			t.Fatalf("scrape %d tells of %d components; a minute has 4 scrapes", i, got)
		}
		forgotten += len(s.w.Forgotten())
	}
	if forgotten < 190 {
		t.Errorf("%d of 200 components are forgotten", forgotten)
	}
	s.at(time.Hour)
	s.send(sent{"DCGM_FI_DEV_GPU_TEMP Hostname=n1 gpu=0 job=dcgm instance=b", time.Hour - time.Second, 50})
	if s.w.pending != 1 {
		t.Fatalf("%d values wait", s.w.pending)
	}
	s.w.Expire(epoch.Add(2 * time.Hour))
	if s.w.pending != 0 {
		t.Errorf("%d values of targets that are gone wait for their scrapes", s.w.pending)
	}
}

// TestRenamedNode: where the label that names a node changes, what was described
// under the old name has no readings any more, good or missing, and is forgotten in
// time. A GPU that has gone from a node that is described has missing ones.
func TestRenamedNode(t *testing.T) {
	page := func(gpus ...string) (text string) {
		for _, gpu := range gpus {
			node, index, _ := strings.Cut(gpu, "/")
			text += fmt.Sprintf("DCGM_FI_DEV_GPU_TEMP{gpu=%q,Hostname=%q} 50\nDCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=%q,Hostname=%q} 7\n", index, node, index, node)
		}
		return text
	}
	for name, tt := range map[string]struct {
		pages [][]string
		want  []string // of the newest scrape: those with values, those without in brackets
	}{
		"one GPU":               {[][]string{{"n1/0"}, {"n2/0"}}, []string{"n2/0"}},
		"two":                   {[][]string{{"n1/0", "n1/1"}, {"n2/0", "n2/1"}}, []string{"n2/0", "n2/1"}},
		"and stays so":          {[][]string{{"n1/0"}, {"n2/0"}, {"n2/0", "n2/1"}}, []string{"n2/0", "n2/1"}},
		"and back":              {[][]string{{"n1/0"}, {"n2/0"}, {"n1/0"}}, []string{"n1/0"}},
		"one of two goes":       {[][]string{{"n1/0", "n1/1"}, {"n1/0"}}, []string{"n1/0", "(n1/1)"}},
		"one of two for others": {[][]string{{"n1/0", "n1/1"}, {"n1/0", "n2/1"}}, []string{"n1/0", "(n1/1)", "n2/1"}},
		"the only one goes":     {[][]string{{"n1/0", "n2/0"}, {"n2/0"}}, []string{"(n1/0)", "n2/0"}},
	} {
		t.Run(name, func(t *testing.T) {
			target := newTarget(t)
			s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm"), Forget: time.Minute})
			var got []string
			for i, gpus := range tt.pages {
				target.page(page(gpus...))
				got = nil
				for _, group := range scrapeOnce(t, s, epoch.Add(time.Duration(i)*5*time.Second)) {
					one := group[0].Component.Name
					if math.IsNaN(group[0].Value) {
						one = "(" + one + ")"
					}
					got = append(got, one)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if name != "one GPU" {
				return
			}
			at := epoch.Add(10 * time.Second)
			scrapeOnce(t, s, at) // with nothing new
			if diff := cmp.Diff([]forestall.Component{forestall.GPU("n2", 0)}, s.Repeated()); diff != "" {
				t.Errorf("heard (-want +got):\n%s", diff)
			}
			target.page(strings.ReplaceAll(page("n2/0"), "} 7", "} 8"))
			scrapeOnce(t, s, at.Add(time.Minute))
			if diff := cmp.Diff([]forestall.Component{forestall.GPU("n1", 0)}, s.Forgotten()); diff != "" {
				t.Errorf("forgotten (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnotherBoard: a board in the place of another is the same component, whose
// counters have begun anew.
func TestAnotherBoard(t *testing.T) {
	target := newTarget(t)
	s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm"), Node: "n1"})
	for i, board := range []struct {
		uuid string
		rows int
	}{{"GPU-a", 300}, {"GPU-a", 301}, {"GPU-b", 2}, {"GPU-b", 3}} {
		of := fmt.Sprintf("{gpu=\"0\",UUID=%q}", board.uuid)
		target.page(fmt.Sprintf("DCGM_FI_DEV_GPU_TEMP%s 50\nDCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS%s %d\nDCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS%s 0\n", of, of, board.rows, of))
		groups := scrapeOnce(t, s, epoch.Add(time.Duration(i)*5*time.Second))
		if len(groups) != 1 {
			t.Fatalf("%d components", len(groups))
		}
		checkGroup(t, groups[0], forestall.GPU("n1", 0), epoch.Add(time.Duration(i)*5*time.Second), map[string]float64{"gpu_temperature_celsius": 50, "gpu_row_remap_total": float64(board.rows)})
	}
}
