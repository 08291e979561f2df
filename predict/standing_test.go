package predict_test

import (
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
)

// TestStandingEvidence: what a reset or a technician has yet to mend keeps a GPU
// suspect, and no more than that, until it is mended or long ago.
func TestStandingEvidence(t *testing.T) {
	t.Parallel()
	const never = -1
	tests := []struct {
		metric     string
		sound, bad float64
		mended     int // minute in which the reading is sound again
		suspect    int // minutes for which it is suspect, at least
		healthy    int // minute from which it is healthy again
	}{
		{gpu.MetricECCDoubleBit, 0, 1, never, 300, never},
		{gpu.MetricECCDoubleBit, 0, 1, 100, 100, 101}, // a reset
		{gpu.MetricRowRemapPending, 0, 1, 200, 200, 201},
		{gpu.MetricPCIeLinkWidth, 16, 4, never, 55, 61},
		{gpu.MetricNVLinkActive, 18, 17, never, 55, 61},
		{gpu.MetricNVLinkActive, 18, 17, 20, 20, 21},
		{gpu.MetricECCDoubleBit, 1, 1, never, 300, never}, // an old one, met at the start
	}
	for _, tt := range tests {
		_, scorer, store := builtinGPU(t)
		var first, last int // minutes of the suspect ones
		for second := 0; second < 320*60; second += 5 {
			now, minute := start.Add(time.Duration(second)*time.Second), second/60-10
			var scrape []forestall.Sample
			for _, metric := range features.Metrics(forestall.KindGPU) {
				v := 0.0
				switch {
				case metric.Name == gpu.MetricTemperature:
					v = 50
				case metric.Name == tt.metric && minute >= 0 && (tt.mended == never || minute < tt.mended):
					v = tt.bad
				case metric.Name == tt.metric:
					v = tt.sound
				}
				scrape = append(scrape, forestall.Sample{Component: forestall.GPU(node, 0), Metric: metric.Name, Time: now, Value: v})
			}
			if err := store.Push(scrape, time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if second%60 != 30 {
				continue
			}
			r := scorer.ScoreAll(now, store)[0]
			switch {
			case r.Grade == forestall.Failing:
				t.Errorf("%s %v: minute %d: failing at %v: %q", tt.metric, tt.bad, minute, r.Probability, texts(r))
			case r.Grade == forestall.Suspect && first == 0:
				first, last = minute+1, minute+1
			case r.Grade == forestall.Suspect:
				last = minute + 1
			}
		}
		t.Logf("%s %v: suspect in minutes %d to %d", tt.metric, tt.bad, first, last)
		if tt.suspect > 0 && (first > 2 || last < tt.suspect) || tt.healthy != never && last > tt.healthy {
			t.Errorf("%s %v: suspect in minutes %d to %d, want 1 to %d, and no more from %d on", tt.metric, tt.bad, first, last, tt.suspect, tt.healthy)
		}
	}
}
