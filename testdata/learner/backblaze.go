package main

import (
	"fmt"
	"hash/fnv"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"time"
)

// Backblaze's drives, 2013-04 to 2016-09. The data holds a row for each time in
// which a drive's SMART values did not change, on the clock of its power-on
// hours; a day of the calendar is the first day seen plus the hours since.
//
// A snapshot is taken each week of each drive that runs. It is positive when
// the drive fails within 10 days. Dropped are snapshots that are censored
// within these days. The clock of 7 % of the drives (15 % of those that failed)
// strays from the calendar by more than 3 days over their life, nearly always
// because they were off for a while. The comparison of the trainers leaves these
// drives out; the evaluation of risks keeps them and sets their clock by their
// last day.
const (
	driveHorizon = 10 // days
	driveWeek    = 7
	driveStray   = 3 // days
	hoursOfDay   = 24
)

var smartColumns = []string{
	"smart_5", "smart_10", "smart_12", "smart_187", "smart_188", "smart_189",
	"smart_196", "smart_197", "smart_198",
}

// smart holds raw values, NaN where one was not recorded.
type smart [9]float32

// reading is what a drive reports from a time on, until the next reading.
type reading struct {
	since float64 // power-on hours
	smart smart
}

type drive struct {
	id       int
	serial   string
	model    string
	seenFrom int // day since 1970 on which it was first seen
	firstDay int // day since 1970 on which its clock showed first
	first    float64
	last     float64 // power-on hours when it failed or was seen last
	failed   bool
	size     float64 // TB
	maker    float64 // a code
	readings []reading
}

// day returns the days since 1970 of a date.
func day(y int, m time.Month, d int) int {
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// driveEnd is the last day of the data: what a drive that runs then did later
// is not known.
var driveEnd = day(2016, 9, 30)

var makers = []string{"HGST", "ST", "WDC"}

func driveFeatures() []string {
	names := slices.Clone(smartColumns)
	for _, days := range changeDays {
		for _, c := range smartColumns {
			names = append(names, fmt.Sprintf("%s_change%d", c, days))
		}
	}
	return append(names, "hours_since_change", "power_on_hours", "size_tb", "maker", "days_seen")
}

// changeDays are the days over which the changes of values are features.
var changeDays = []int{7, 30}

// at returns the reading that held just before a time, nil before the first.
func (d *drive) at(hours float64) *reading {
	n := sort.Search(len(d.readings), func(i int) bool { return d.readings[i].since >= hours })
	if n == 0 {
		return nil
	}
	return &d.readings[n-1]
}

// hours returns a day on the drive's own clock.
func (d *drive) hours(day int) float64 { return d.first + hoursOfDay*float64(day-d.firstDay) }

// features appends what was known on a day; false before the first reading.
func (d *drive) features(dst []float64, day int) ([]float64, bool) {
	t := d.hours(day)
	now := d.at(t)
	if now == nil {
		return dst, false
	}
	for _, v := range now.smart {
		dst = append(dst, float64(v))
	}
	for _, days := range changeDays {
		before := d.at(t - float64(hoursOfDay*days))
		for i, v := range now.smart {
			change := math.NaN()
			if before != nil {
				change = float64(v) - float64(before.smart[i])
			}
			dst = append(dst, change)
		}
	}
	return append(dst, t-now.since, t, d.size, d.maker, float64(day-d.firstDay)), true
}

// outcome tells whether a drive that runs on a day fails within the horizon;
// known is false where it does not run, or where that cannot be told.
func (d *drive) outcome(day int) (fails, known bool) {
	const horizon = hoursOfDay * driveHorizon
	left := d.last - d.hours(day)
	if left <= 0 || day < d.seenFrom || day+driveHorizon > driveEnd {
		return false, false
	}
	return d.failed && left <= horizon, d.failed || left >= horizon
}

// emitDrives passes on the snapshots of the days in [from, to), of all weeks
// the same weekday.
func emitDrives(drives []drive, from, to int, keep func(*drive) bool, emit func(snapshot) error) error {
	for i := range drives {
		d := &drives[i]
		if !keep(d) {
			continue
		}
		var row []float64
		for at := from + (driveWeek-from%driveWeek)%driveWeek; at < to; at += driveWeek {
			fails, ok := d.outcome(at)
			if !ok {
				continue
			}
			if row, ok = d.features(row[:0], at); !ok {
				continue
			}
			if err := emit(snapshot{fails: fails, component: d.id, time: float64(at), features: row}); err != nil {
				return err
			}
		}
	}
	return nil
}

// byQuarter is split A: each quarter from 2014Q2 to 2016Q3 is tested by a model
// of the 365 days before it whose outcomes were known when it began.
func byQuarter(drives []drive) (folds []fold) {
	all := func(*drive) bool { return true }
	for q := range 10 {
		year, month := 2014+(q+1)/4, time.Month((q+1)%4*3+1)
		from, to := day(year, month, 1), day(year, month+3, 1)
		folds = append(folds, fold{
			name: fmt.Sprintf("%dQ%d", year, (month+2)/3), features: driveFeatures(),
			train: func(emit func(snapshot) error) error {
				return emitDrives(drives, from-365, from-driveHorizon, all, emit)
			},
			test: func(emit func(snapshot) error) error { return emitDrives(drives, from, to, all, emit) },
		})
	}
	return folds
}

// byDrive is split B: the year 2014, one drive in five to test.
func byDrive(drives []drive) []fold {
	from, to := day(2014, 1, 1), day(2015, 1, 1)
	held := func(d *drive) bool {
		h := fnv.New32a()
		h.Write([]byte(d.serial))
		return h.Sum32()%5 == 0
	}
	return []fold{{
		name: "2014", features: driveFeatures(),
		train: func(emit func(snapshot) error) error {
			return emitDrives(drives, from, to, func(d *drive) bool { return !held(d) }, emit)
		},
		test: func(emit func(snapshot) error) error { return emitDrives(drives, from, to, held, emit) },
	}}
}

func backblaze(dir string, split func([]drive) []fold) ([]fold, error) {
	drives, err := readFleet(dir, false)
	if err != nil {
		return nil, err
	}
	return split(drives), nil
}

// readFleet reads the drives with their readings, in the order of their numbers,
// with those whose clock strays or without.
func readFleet(dir string, strays bool) ([]drive, error) {
	drives, err := readDrives(filepath.Join(dir, "drives.csv.gz"), strays)
	if err != nil {
		return nil, err
	}
	return drives, readReadings(filepath.Join(dir, "intervals.csv.gz"), drives)
}

func readDrives(path string, strays bool) ([]drive, error) {
	var drives []drive
	columns := []string{"drive", "size_tb", "min_hours", "max_hours", "serial_number", "manufacturer", "min_date", "max_date", "failed", "model"}
	err := readCSV(path, columns, func(c []string) error {
		v, err := numbers(c[:4])
		if err != nil {
			return err
		}
		first, err := time.Parse(time.DateOnly, c[6])
		if err != nil {
			return err
		}
		last, err := time.Parse(time.DateOnly, c[7])
		if err != nil {
			return err
		}
		d := drive{
			id: int(v[0]), size: v[1], first: v[2], last: v[3],
			serial: c[4], maker: float64(slices.Index(makers, c[5])), model: c[9],
			seenFrom: int(first.Unix() / 86400), failed: c[8] == "1",
		}
		d.firstDay = d.seenFrom
		lastDay, ran := int(last.Unix()/86400), (d.last-d.first)/hoursOfDay
		if math.Abs(float64(lastDay-d.seenFrom)-ran) > driveStray {
			if !strays {
				return nil
			}
			d.firstDay = lastDay - int(math.Round(ran))
		}
		drives = append(drives, d)
		return nil
	})
	slices.SortFunc(drives, func(a, b drive) int { return a.id - b.id })
	return drives, err
}

func readReadings(path string, drives []drive) error {
	byID := make(map[int]*drive, len(drives))
	for i := range drives {
		byID[drives[i].id] = &drives[i]
	}
	return readCSV(path, append([]string{"drive", "tstart"}, smartColumns...), func(c []string) error {
		id, err := strconv.Atoi(c[0])
		if err != nil {
			return err
		}
		d := byID[id]
		if d == nil {
			return nil
		}
		r := reading{}
		if r.since, err = strconv.ParseFloat(c[1], 64); err != nil {
			return err
		}
		for i := range r.smart {
			v, err := number(c[2+i])
			if err != nil {
				return err
			}
			r.smart[i] = float32(v)
		}
		if n := len(d.readings); n > 0 && r.since < d.readings[n-1].since {
			return fmt.Errorf("drive %d: tstart falls", id)
		}
		d.readings = append(d.readings, r)
		return nil
	})
}
