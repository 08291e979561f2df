package train

import "strings"

// TimeUnit is the unit of a table's times.
type TimeUnit struct {
	Name   string  // as it was given
	PerDay float64 // how many are a day; 0: not a unit of the clock, such as cycles
}

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
