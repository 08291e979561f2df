package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stratoswarm/forestall/train"
)

// splitFlags say which rows train and which judge.
type splitFlags struct {
	Time        string   `group:"Rows held out" placeholder:"COL" help:"Column with the time of the row, a number, or text such as 2026-11-26T15:04:05Z, or, in Parquet, timestamps or dates; both are read in --time-unit, hours unless told. It is no feature unless --keep names it."`
	Group       string   `group:"Rows held out" placeholder:"COL" help:"Column with the component, a name or a number. It is no feature unless --keep names it."`
	Keep        []string `group:"Rows held out" placeholder:"COL,.." help:"Columns that are features although --time or --group names them."`
	Split       string   `group:"Rows held out" placeholder:"KIND" default:"" enum:",time,prequential,group" help:"How rows are held out: time (the last ones), prequential (a window of time after each training window, rolling), group (each component once). By default what the flags below tell, with --search time or else group."`
	Holdout     share    `group:"Rows held out" placeholder:"SHARE" help:"Split by time: share of the rows, the last, that judge, such as 20%."`
	Embargo     timeSpan `group:"Rows held out" placeholder:"TIME" help:"Time before the rows that judge which is left out of the training, at least lead and horizon of the label: a number in the unit of --time, or one with its unit, such as 10d or 36h."`
	TrainWindow timeSpan `group:"Rows held out" placeholder:"TIME" help:"Prequential: time that each fold trains on."`
	TestWindow  timeSpan `group:"Rows held out" placeholder:"TIME" help:"Prequential: time after it that judges."`
	Folds       int      `group:"Rows held out" placeholder:"K" help:"Split by group: folds of whole components, 5 unless told."`
}

// share is a part of a whole: 20% or 0.2.
type share float64

// UnmarshalText reads a share.
func (s *share) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0 && v < 1) {
		return fmt.Errorf("%q is no share: write one above 0%% and below 100%%, such as 20%% or 0.2", text)
	}
	*s = share(v)
	return nil
}

func (s share) String() string { return strconv.FormatFloat(100*float64(s), 'g', 4, 64) + " %" }

// defaultHoldout and defaultFolds are what a search takes when it is told
// nothing else.
const (
	defaultHoldout = 0.2
	defaultFolds   = 5
)

// kind returns the kind of split that the flags mean, "" for none.
func (f *splitFlags) kind(search bool) train.SplitKind {
	switch {
	case f.Split != "":
		return train.SplitKind(f.Split)
	case f.Holdout != 0:
		return train.ByTime
	case f.TrainWindow.n != 0 || f.TestWindow.n != 0:
		return train.Prequential
	case f.Folds != 0:
		return train.ByGroup
	case search && f.Time != "":
		return train.ByTime
	case search && f.Group != "":
		return train.ByGroup
	}
	return ""
}

// split returns the split that the flags mean, nil for none.
func (f *splitFlags) split(seed uint64, search bool) (*train.Split, error) {
	s := &train.Split{
		Kind: f.kind(search), Holdout: float64(f.Holdout), Embargo: f.Embargo.n,
		TrainWindow: f.TrainWindow.n, TestWindow: f.TestWindow.n, Folds: f.Folds, Seed: seed,
	}
	if f.Holdout == 0 && s.Kind == train.ByTime {
		s.Holdout = defaultHoldout
	}
	if f.Folds == 0 && s.Kind == train.ByGroup {
		s.Folds = defaultFolds
	}
	for _, flag := range []struct {
		name string
		set  bool
		of   train.SplitKind
	}{
		{"--holdout", f.Holdout != 0, train.ByTime},
		{"--train-window", f.TrainWindow.n != 0, train.Prequential},
		{"--test-window", f.TestWindow.n != 0, train.Prequential},
		{"--folds", f.Folds != 0, train.ByGroup},
	} {
		if flag.set && flag.of != s.Kind {
			return nil, fmt.Errorf("%s is for a split by %s, and this one is by %s", flag.name, flag.of, s.Kind)
		}
	}
	switch {
	case f.Embargo.n != 0 && f.Time == "":
		return nil, errors.New("--embargo needs --time")
	case f.Embargo.n != 0 && s.Kind == train.ByGroup:
		return nil, errors.New("--embargo is for rows held out by time, and this split is by group")
	case s.Kind == train.ByGroup && f.Group == "":
		return nil, errors.New("a split by group needs --group, the column with the component")
	case (s.Kind == train.ByTime || s.Kind == train.Prequential) && f.Time == "":
		return nil, fmt.Errorf("a split by %s needs --time, the column with the time", s.Kind)
	}
	for _, name := range f.Keep {
		if name != f.Time && name != f.Group {
			return nil, fmt.Errorf("--keep %s: only the columns of --time and --group need it", name)
		}
	}
	if s.Kind == "" {
		return nil, nil
	}
	if err := s.Validate(); err != nil {
		return nil, flagError(err)
	}
	return s, nil
}

// drop returns the columns of the flags that are no features.
func (f *splitFlags) drop() (names []string) {
	for _, name := range []string{f.Time, f.Group} {
		if name != "" && !slices.Contains(f.Keep, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// spans returns the flags that are lengths of --time.
func (c *trainCmd) spans() []flagSpan {
	return []flagSpan{
		{"--embargo", &c.Embargo},
		{"--train-window", &c.TrainWindow},
		{"--test-window", &c.TestWindow},
		{"--half-life", &c.HalfLife},
		{"--recalibrate", &c.Recalibrate},
	}
}

// keys reads the columns of the flags that place the rows of a table.
func (c *trainCmd) keys(ctx context.Context, table string, d *train.Dataset) (train.Keys, error) {
	k, err := train.ReadKeys(ctx, table, c.Time, c.Group, train.ParseTimeUnit(c.TimeUnit))
	if err == nil && c.CalibrateLabel != "" {
		k.Outcome, err = train.ReadOutcome(ctx, table, c.CalibrateLabel)
	}
	if err != nil {
		return k, err
	}
	for _, n := range []int{len(k.Time), len(k.Group), len(k.Outcome)} {
		if n != 0 && n != d.Rows() {
			return k, fmt.Errorf("%s: the file changed while it was read", table)
		}
	}
	if k.Unit.Text {
		c.TimeUnit = k.Unit.Name
	}
	return k, nil
}

// describeSplit says in words how rows are held out.
func (c *trainCmd) describeSplit(s *train.Split) string {
	embargo := ", no embargo"
	if s.Embargo > 0 {
		embargo = ", embargo " + c.textSpan(s.Embargo)
	}
	switch s.Kind {
	case train.ByTime:
		return fmt.Sprintf("the last %s of the rows by %s%s", share(s.Holdout), c.Time, embargo)
	case train.Prequential:
		return fmt.Sprintf("each %s of %s after a training window of %s%s", c.textSpan(s.TestWindow), c.Time, c.textSpan(s.TrainWindow), embargo)
	}
	return fmt.Sprintf("%d folds of whole components by %s", s.Folds, c.Group)
}

// textSpan writes a length of --time: as people say it where --time-unit is one
// of the clock, else as the number that it is.
func (c *trainCmd) textSpan(v float64) string {
	days := v / train.ParseTimeUnit(c.TimeUnit).PerDay
	if math.IsInf(days, 0) || math.Abs(days) > 36500 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return exactDuration(time.Duration(math.Round(days * float64(24*time.Hour))).Round(time.Millisecond))
}

// exactDuration writes all of a duration: "1 d 2 h", "5 min 10 s".
func exactDuration(d time.Duration) string {
	var parts []string
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / u.unit; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, u.name))
			d -= n * u.unit
		}
	}
	return strings.Join(parts, " ")
}
