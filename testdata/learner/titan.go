package main

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"time"
)

// The GPUs of the Titan supercomputer, 2013-11 to 2019-08. A row of the data is
// the stay of one GPU in one place; it may end with a double-bit error (DBE) or
// with the GPU falling off the bus (OTB).
//
// Every 14 days there is a snapshot of each GPU in service. It is positive when
// the GPU has a DBE or OTB within 30 days, wherever it is then. Dropped are
// snapshots of GPUs that are not seen for the whole 30 days. There is no
// telemetry: only ages, places and what happened before.
const (
	gpuHorizon = 30 // days
	gpuStep    = 14
)

// place is where a GPU sits: column and row of the cabinet, cage, blade (slot)
// and node.
type place struct{ column, row, cage, slot, node int }

// blade and cabinet are the place without its last parts.
func (p place) blade() place   { p.node = 0; return p }
func (p place) cabinet() place { return place{column: p.column, row: p.row} }

// stay is a GPU's time in one place, in days since 1970, fractions included.
type stay struct {
	gpu          int
	place        place
	insert, gone float64 // gone is when the event happened, if there was one
	event        bool
}

// unit is a GPU with all that happens to it.
type unit struct {
	batch  float64 // year and week of production, YYWW
	stays  []stay  // in the order of insertion
	events []float64
}

// fleet is the whole history, indexed. All lists of events rise.
type fleet struct {
	units     []unit
	events    []float64
	ofBlade   map[place][]float64
	ofCabinet map[place][]float64
	inserts   []float64
	removals  []float64

	placedEvents []stay // in the order of the data
}

// titanEnd is the last inventory.
var titanEnd = float64(day(2019, 8, 1))

func gpuFeatures() []string {
	return []string{
		"age_days", "days_in_place", "stays_before", "column", "row", "cage", "slot", "node", "batch",
		"own_events", "days_since_own_event",
		"blade_events30", "blade_events90", "blade_events", "cabinet_events30", "cabinet_events90", "cabinet_events",
		"fleet_rate14", "fleet_rate30", "fleet_rate90",
	}
}

// between counts events in (from, to].
func between(events []float64, from, to float64) float64 {
	above := func(t float64) int {
		return sort.Search(len(events), func(i int) bool { return events[i] > t })
	}
	return float64(above(to) - above(from))
}

// inService returns the stay that a GPU has at a time, -1 for none.
func (u *unit) inService(t float64) int {
	for i := range u.stays {
		if u.stays[i].insert <= t && t < u.stays[i].gone {
			return i
		}
	}
	return -1
}

// outcome tells whether the GPU fails within the horizon, in days; known is false where
// that cannot be told.
func (u *unit) outcome(t, horizon float64) (fails, known bool) {
	if t+horizon > titanEnd {
		return false, false
	}
	if between(u.events, t, t+horizon) > 0 {
		return true, true
	}
	seen := 0.0
	for _, s := range u.stays {
		seen = max(seen, s.gone)
	}
	return false, seen >= t+horizon
}

// rates returns the fleet's events per GPU in service over some days before t.
func (f *fleet) rates(t float64) [3]float64 {
	inService := between(f.inserts, math.Inf(-1), t) - between(f.removals, math.Inf(-1), t)
	var out [3]float64
	for i, days := range []float64{14, 30, 90} {
		out[i] = between(f.events, t-days, t) / max(1, inService)
	}
	return out
}

// features appends what was known at t of a GPU in service.
func (f *fleet) features(dst []float64, u *unit, at int, t float64, rates [3]float64) []float64 {
	s := &u.stays[at]
	own := between(u.events, math.Inf(-1), t)
	since := math.NaN()
	if own > 0 {
		since = t - u.events[int(own)-1]
	}
	p := s.place
	blade, cabinet := f.ofBlade[p.blade()], f.ofCabinet[p.cabinet()]
	dst = append(dst,
		t-u.stays[0].insert, t-s.insert, float64(at),
		float64(p.column), float64(p.row), float64(p.cage), float64(p.slot), float64(p.node), u.batch,
		own, since,
	)
	for _, events := range [][]float64{blade, cabinet} {
		dst = append(dst, between(events, t-30, t), between(events, t-90, t), between(events, math.Inf(-1), t))
	}
	return append(dst, rates[:]...)
}

// emit passes on the snapshots of the days in [from, to).
func (f *fleet) emit(from, to int, emit func(snapshot) error) error {
	var row []float64
	for at := from + (gpuStep-from%gpuStep)%gpuStep; at < to; at += gpuStep {
		t := float64(at)
		rates := f.rates(t)
		for i := range f.units {
			u := &f.units[i]
			stay := u.inService(t)
			if stay < 0 {
				continue
			}
			fails, ok := u.outcome(t, gpuHorizon)
			if !ok {
				continue
			}
			row = f.features(row[:0], u, stay, t, rates)
			if err := emit(snapshot{fails: fails, component: i, time: t, features: row}); err != nil {
				return err
			}
		}
	}
	return nil
}

// newFleet indexes stays; those without a known insertion count for their event
// only.
func newFleet(serials []string, stays []stay) (*fleet, error) {
	f := &fleet{units: make([]unit, len(serials)), ofBlade: map[place][]float64{}, ofCabinet: map[place][]float64{}}
	for i, serial := range serials {
		if len(serial) < 7 {
			return nil, fmt.Errorf("serial number %q is too short", serial)
		}
		week, err := strconv.Atoi(serial[3:5])
		if err != nil {
			return nil, fmt.Errorf("serial number %q: %w", serial, err)
		}
		year, err := strconv.Atoi(serial[5:7])
		if err != nil {
			return nil, fmt.Errorf("serial number %q: %w", serial, err)
		}
		f.units[i] = unit{batch: float64(100*year + week)}
	}
	for _, s := range stays {
		u := &f.units[s.gpu]
		if s.event {
			u.events = append(u.events, s.gone)
			f.events = append(f.events, s.gone)
			f.placedEvents = append(f.placedEvents, s)
			f.ofBlade[s.place.blade()] = append(f.ofBlade[s.place.blade()], s.gone)
			f.ofCabinet[s.place.cabinet()] = append(f.ofCabinet[s.place.cabinet()], s.gone)
		}
		if !math.IsNaN(s.insert) {
			u.stays = append(u.stays, s)
			f.inserts = append(f.inserts, s.insert)
			f.removals = append(f.removals, s.gone)
		}
	}
	for i := range f.units {
		slices.Sort(f.units[i].events)
		slices.SortFunc(f.units[i].stays, func(a, b stay) int { return cmp.Compare(a.insert, b.insert) })
	}
	for _, list := range []map[place][]float64{f.ofBlade, f.ofCabinet} {
		for p := range list {
			slices.Sort(list[p])
		}
	}
	slices.Sort(f.events)
	slices.Sort(f.inserts)
	slices.Sort(f.removals)
	return f, nil
}

func titan(dir string) ([]fold, error) {
	f, err := readTitan(dir)
	if err != nil {
		return nil, err
	}
	return titanFolds(f, titanSpans), nil
}

func readTitan(dir string) (*fleet, error) {
	serials, stays, err := readStays(filepath.Join(dir, "gc_full.csv.gz"))
	if err != nil {
		return nil, err
	}
	return newFleet(serials, stays)
}

// gpuSpan is a time that is tested.
type gpuSpan struct {
	name     string
	from, to int
}

// titanStart is the day from which the fleet was complete.
var titanStart = day(2014, 1, 1)

// titanSpans are the times that are tested, in days.
var titanSpans = []gpuSpan{
	{"2016H2", day(2016, 7, 1), day(2017, 1, 1)},
	{"2017", day(2017, 1, 1), day(2018, 1, 1)},
	{"2018-2019", day(2018, 1, 1), int(titanEnd)},
}

func titanFolds(f *fleet, spans []gpuSpan) []fold {
	var folds []fold
	for _, w := range spans {
		folds = append(folds, fold{
			name: w.name, features: gpuFeatures(),
			train: func(emit func(snapshot) error) error { return f.emit(titanStart, w.from-gpuHorizon, emit) },
			test:  func(emit func(snapshot) error) error { return f.emit(w.from, w.to, emit) },
		})
	}
	return folds
}

// readStays reads the stays and the GPUs' serial numbers. Times are read as if
// they were UTC: an hour matters little over years.
func readStays(path string) (serials []string, stays []stay, err error) {
	known := map[string]int{}
	err = readCSV(path, []string{"SN", "location", "insert", "remove", "event"}, func(c []string) error {
		gpu, ok := known[c[0]]
		if !ok {
			gpu = len(serials)
			known[c[0]] = gpu
			serials = append(serials, c[0])
		}
		s := stay{gpu: gpu, event: c[4] != "", insert: math.NaN()}
		p := &s.place
		if _, err := fmt.Sscanf(c[1], "c%d-%dc%ds%dn%d", &p.column, &p.row, &p.cage, &p.slot, &p.node); err != nil {
			return fmt.Errorf("location %q: %w", c[1], err)
		}
		if c[2] != "" {
			t, err := time.Parse(time.DateTime, c[2])
			if err != nil {
				return err
			}
			s.insert = float64(t.Unix()) / 86400
		}
		t, err := time.Parse(time.DateTime, c[3])
		if err != nil {
			return err
		}
		s.gone = float64(t.Unix()) / 86400
		stays = append(stays, s)
		return nil
	})
	return serials, stays, err
}
