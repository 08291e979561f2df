package table

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// timeColumn is a column of times.
type timeColumn struct {
	place   int         // in the file
	perDay  float64     // the unit: how many are a day
	texts   atomic.Bool // some cells were text, or are timestamps or dates
	numbers atomic.Bool // some were numbers
}

// Times has [Table.Read] take text for a time too in some columns, where there are
// such: RFC 3339, with a blank for the T, without seconds or a zone, which then is UTC,
// or a date; and of a Parquet file timestamps and dates. Their values are since 1970, in
// a unit of which perDay are a day. It is called before [Table.Select].
func (t *Table) Times(perDay float64, columns ...string) {
	for _, name := range columns {
		if at := slices.Index(t.columns, name); at >= 0 && timeAt(t.times, at) == nil {
			t.times = append(t.times, &timeColumn{place: at, perDay: perDay})
		}
	}
}

// timeAt returns the column of times at a place in the file, nil if it holds none.
func timeAt(times []*timeColumn, place int) *timeColumn {
	if i := slices.IndexFunc(times, func(c *timeColumn) bool { return c.place == place }); i >= 0 {
		return times[i]
	}
	return nil
}

// TimesAre reports whether cells of a column of [Table.Times] are text or times by
// their type, and whether some are numbers. It is called after Read, for which both is an error.
func (t *Table) TimesAre(column string) (text, numbers bool) {
	if c := timeAt(t.times, slices.Index(t.columns, column)); c != nil {
		return c.texts.Load(), c.numbers.Load()
	}
	return false, false
}

// checkTimes reports a column of times in which numbers stand among text: what those
// mean is not known.
func (t *Table) checkTimes() error {
	for _, c := range t.times {
		if c.texts.Load() && c.numbers.Load() {
			return fmt.Errorf("%s: column %s: the times are text in some cells and numbers in others", t.path, t.columns[c.place])
		}
	}
	return nil
}

// timeForms are the texts that are times, of which Go reads fractions of a second too.
var timeForms = []string{
	time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
}

var errTime = errors.New("is neither a number nor a time such as 2026-11-26T15:04:05Z")

// since returns the value of a time, in seconds and nanoseconds since 1970.
func (c *timeColumn) since(seconds, nanoseconds int64) float64 {
	return (float64(seconds) + float64(nanoseconds)/1e9) * c.perDay / 86_400
}

// parse reads a cell.
func (c *timeColumn) parse(cell []byte) (float64, error) {
	cell = bytes.TrimSpace(cell)
	v, err := parseNumber(cell)
	if err == nil {
		if v == v {
			c.numbers.Store(true)
		}
		return v, nil
	}
	for _, form := range timeForms {
		if t, no := time.Parse(form, string(cell)); no == nil {
			c.texts.Store(true)
			return c.since(t.Unix(), int64(t.Nanosecond())), nil
		}
	}
	if not := (*NotNumber)(nil); errors.As(err, &not) {
		return 0, fmt.Errorf("%.40q %w", cell, errTime)
	}
	return 0, err
}
