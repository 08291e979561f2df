package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/stratoswarm/forestall/train/table"
)

// TimeUnit is the unit of a table's times.
type TimeUnit struct {
	Name   string  // as it was given
	PerDay float64 // how many are a day; 0: not a unit of the clock, such as cycles
	Text   bool    // the table has its times as text or by type, and they are counted from 1970 on
}

// NoTimeUnit is the name of the unit where none is told.
const NoTimeUnit = "units"

// ParseTimeUnit knows nanoseconds, microseconds, milliseconds, seconds, minutes, hours, days and weeks, in
// the singular or plural or abbreviated; any other name is a unit of its own.
func ParseTimeUnit(name string) TimeUnit {
	u := TimeUnit{Name: name}
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "ns", "nanosecond", "nanoseconds":
		u.PerDay = 86_400_000_000_000
	case "us", "µs", "μs", "microsecond", "microseconds":
		u.PerDay = 86_400_000_000
	case "ms", "millisecond", "milliseconds":
		u.PerDay = 86_400_000
	case "s", "sec", "second", "seconds":
		u.PerDay = 86_400
	case "min", "minute", "minutes":
		u.PerDay = 1440
	case "h", "hour", "hours":
		u.PerDay = 24
	case "d", "day", "days":
		u.PerDay = 1
	case "w", "week", "weeks":
		u.PerDay = 1. / 7
	}
	return u
}

// Rate returns the name of the time that alarms are counted over, days where
// the unit is one of the clock and the unit itself otherwise, and how many
// units it has.
func (u TimeUnit) Rate() (name string, units float64) {
	switch {
	case u.PerDay > 0:
		return "days", u.PerDay
	case u.Name == "":
		return "units", 1
	}
	return u.Name, 1
}

// Time writes a time: that of a table which has text as text, any other as the number
// that it is, with all of its digits.
func (u TimeUnit) Time(v float64) string {
	if !u.Text {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	whole, part := math.Modf(v * 86_400 / u.PerDay)
	return time.Unix(int64(whole), int64(math.Round(part*1e3)*1e6)).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}

// TextTimes has columns of a table, "" for none, read as times, which may be text or, in
// Parquet, timestamps: see [table.Table.Times]. Both are in the unit, in hours if none is told. It is called
// before the table is read; known is called after that and returns the unit that the
// times are in.
func TextTimes(t *table.Table, u TimeUnit, columns ...string) (known func() (TimeUnit, error)) {
	clock := u
	if u.PerDay == 0 {
		clock = ParseTimeUnit("hours")
	}
	t.Times(clock.PerDay, columns...)
	return func() (TimeUnit, error) {
		var text, number string
		for _, name := range columns {
			switch isText, isNumber := t.TimesAre(name); {
			case isText:
				text = name
			case isNumber:
				number = name
			}
		}
		switch {
		case text == "":
			return u, nil
		case number != "":
			return u, fmt.Errorf("%s: the times of column %s are text or timestamps, and those of column %s are numbers", t.Path(), text, number)
		case u.PerDay == 0 && u.Name != NoTimeUnit && u.Name != "":
			return u, fmt.Errorf("%s: the times are text or timestamps, which can be read in units of the clock, from ns to weeks, and not in %s", t.Path(), u.Name)
		}
		clock.Text = true
		return clock, nil
	}
}

// errFirstRows ends a reading that needs no more.
var errFirstRows = errors.New("no more rows are needed")

// TimesAreText reports whether a column of a table holds times as text or by its type,
// not as numbers. It reads the first rows.
func TimesAreText(ctx context.Context, path, column string) (bool, error) {
	t, err := table.Open(path)
	if err != nil {
		return false, err
	}
	defer t.Close()
	t.Times(1, column)
	if err := t.Select([]string{column}); err != nil {
		return false, err
	}
	err = t.Read(ctx, table.Reading{Threads: 1, Do: func(*table.Block) error { return errFirstRows }})
	if errors.Is(err, errFirstRows) {
		err = nil
	}
	text, _ := t.TimesAre(column)
	return text, err
}
