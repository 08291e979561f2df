package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stratoswarm/forestall/train"
)

// timeSpan is a length of the time that a table's rows have: a number, in the unit of the
// times, or one with a unit of the clock.
type timeSpan struct {
	n     float64 // in the unit of the times; of one with its own unit nanoseconds until it is settled
	given string  // as it was; "": not at all
	clock bool    // with a unit of its own
}

const dayNanoseconds = float64(24 * time.Hour)

// UnmarshalText reads 10, 10d, 1.5 hours or 1h30m.
func (s *timeSpan) UnmarshalText(text []byte) error {
	*s = timeSpan{given: string(text)}
	var err error
	if s.n, err = strconv.ParseFloat(s.given, 64); err == nil {
		return nil
	}
	s.clock = true
	if d, err := time.ParseDuration(s.given); err == nil {
		s.n = float64(d)
		return nil
	}
	end := strings.LastIndexAny(s.given, ".0123456789") + 1
	if end > 0 {
		s.n, err = strconv.ParseFloat(strings.TrimSpace(s.given[:end]), 64)
		if perDay := train.ParseTimeUnit(s.given[end:]).PerDay; err == nil && perDay > 0 {
			s.n *= dayNanoseconds / perDay
			return nil
		}
	}
	return fmt.Errorf("%q is no length of time: write a number in the unit of the times, or one with its unit, such as 10d, 36h or 1h30m", text)
}

// flagSpan is a length of time with the flag that it comes from.
type flagSpan struct {
	flag string
	*timeSpan
}

// settleSpans brings spans to the unit of a table's times, hours where none is told.
func settleSpans(unit string, spans ...flagSpan) error {
	u := train.ParseTimeUnit(unit)
	if unit == train.NoTimeUnit {
		u = train.ParseTimeUnit("hours")
	}
	for _, s := range spans {
		switch {
		case !s.clock:
		case u.PerDay == 0:
			return fmt.Errorf("%s %s: --time-unit is %s, which is no unit of the clock; write a number of them", s.flag, s.given, unit)
		default:
			s.n = s.n * u.PerDay / dayNanoseconds
		}
	}
	return nil
}

// checkSpans refuses spans of which it is not clear how long they are: a bare number
// where the times are text or timestamps, one with a unit where the times are numbers,
// and --time-unit does not tell of what.
func checkSpans(ctx context.Context, table, column, unit string, spans ...flagSpan) error {
	if column == "" || unit != train.NoTimeUnit {
		return nil
	}
	asked := false
	var text bool
	for _, s := range spans {
		if s.n == 0 {
			continue
		}
		if !asked {
			var err error
			if text, err = train.TimesAreText(ctx, table, column); err != nil {
				return err
			}
			asked = true
		}
		switch {
		case text && !s.clock:
			return fmt.Errorf("%s %s: the times of column %s are text or timestamps, so say of what: write it with its unit, such as %sd, or tell the unit with --time-unit", s.flag, s.given, column, s.given)
		case !text && s.clock:
			return fmt.Errorf("%s %s: the times of column %s are numbers, so tell their unit with --time-unit, or write a number", s.flag, s.given, column)
		}
	}
	return nil
}
