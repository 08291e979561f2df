package main

import (
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

var trendColors = map[string]sgr{"better": sgrGreen, "worse": sgrRed}

func (v view) fleet(f api.FleetStatus) {
	fmt.Fprintf(v.out, "%s\n", v.fleetLine(api.FleetShort{Health: f.Health, Expected: f.Expected, Horizon: f.Horizon, Failed: f.Failed, Trend: f.Trend}))
	fmt.Fprintf(v.out, "%s: %d judged, %d failing, %d suspect, %d failed.\n", textCount(f.Components, "component"), f.Known, f.Failing, f.Suspect, f.Failed)
	if f.Any != nil && f.Bounds != nil {
		fmt.Fprintf(v.out, "At least one fails: %s, between %s (what shares a node or zone fails together) and %s (whatever they share).\n", textShare(*f.Any), textShare(f.Bounds.Low), textShare(f.Bounds.High))
	}
	if f.Why != "" {
		fmt.Fprintf(v.out, "Trend %s: %s.\n", v.paint(f.Trend, trendColors[f.Trend]), textClean(f.Why))
	}
	if len(f.Nodes) == 0 {
		return
	}
	fmt.Fprintln(v.out)
	t := textTable{header: []string{"NODE", ">RISK", ">AT LEAST", ">AT MOST", "GRADE", "WITHIN", "BECAUSE"}}
	for _, r := range f.Nodes {
		low, high := "", ""
		if r.Bounds != nil {
			low, high = textShare(r.Bounds.Low), textShare(r.Bounds.High)
		}
		because := r.Note
		if r.Grade >= forestall.Suspect && len(r.Reasons) > 0 {
			because = r.Reasons[0].Text
			if r.Note != "" {
				because = r.Note + "; " + because
			}
		}
		c := gradeColors[r.Grade]
		t.add(cellOf(r.Component.Name), textCell{textRisk(r), c}, cellOf(low), cellOf(high), textCell{r.Grade.String(), c}, cellOf(textDuration(r.Horizon)), cellOf(because))
	}
	t.write(v)
}

// fleetLine says in one line whether the fleet is good.
func (v view) fleetLine(f api.FleetShort) string {
	if f.Health == nil {
		return "not known: nothing was judged yet"
	}
	text := fmt.Sprintf("%.4g %% good within %s", 100**f.Health, textDuration(time.Duration(f.Horizon*float64(time.Second))))
	if f.Expected != nil {
		text += fmt.Sprintf(", %.2g expected to fail", *f.Expected)
	}
	if f.Failed > 0 {
		text += ", " + v.paint(fmt.Sprintf("%d failed", f.Failed), sgrRed)
	}
	if f.Trend != "" && f.Trend != "unknown" {
		text += ", " + v.paint(f.Trend, trendColors[f.Trend])
	}
	return text
}
