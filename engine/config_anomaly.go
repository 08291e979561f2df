package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

// AnomalyConfig says when a component is unusual for what it has been, and what
// that comes to.
type AnomalyConfig struct {
	Alarms   float64  `toml:"alarms_per_day"` // of each component that are borne; 0: nothing is watched
	Memory   Duration `toml:"memory"`         // over which it is learnt what is usual
	CountsAs string   `toml:"counts_as"`      // nothing | suspect | failing
}

var anomalyCounts = []string{"nothing", "suspect", "failing"}

func defaultAnomaly() AnomalyConfig {
	d := anomaly.DefaultLearnConfig()
	return AnomalyConfig{Alarms: d.Alarms, Memory: Duration{d.Memory}, CountsAs: "suspect"}
}

// learn is how a component is watched.
func (c AnomalyConfig) learn() anomaly.LearnConfig {
	l := anomaly.DefaultLearnConfig()
	l.Alarms, l.Memory, l.Skip = c.Alarms, c.Memory.Duration, predict.Unwatched()
	return l
}

// Grade is what a healthy component that is unusual counts as.
func (c AnomalyConfig) Grade() forestall.Grade {
	switch c.CountsAs {
	case "suspect":
		return forestall.Suspect
	case "failing":
		return forestall.Failing
	}
	return forestall.Healthy
}

func (c AnomalyConfig) check(bad func(key, format string, args ...any)) {
	if !(c.Alarms >= 0 && c.Alarms <= 24) {
		bad("anomaly.alarms_per_day", "%g is not a number of alarms for each component and day, up to 24; 0: nothing is watched", c.Alarms)
	}
	if m := c.Memory.Duration; m < 24*time.Hour || m > 366*24*time.Hour {
		bad("anomaly.memory", "%s is not between a day and a year", c.Memory)
	}
	if !slices.Contains(anomalyCounts, c.CountsAs) {
		bad("anomaly.counts_as", "%q is not one of %s", c.CountsAs, strings.Join(anomalyCounts, ", "))
	}
}
