package main

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// gpuFleet is Titan's fleet with what an operator knows of GPUs and places like
// one: how often they failed, by then.
type gpuFleet struct {
	*fleet
	first, steps int // the grid of gpuStep days
	kinds        [gpuKinds]map[gpuKind]*tally
	ofPlace      [4]map[place][]placed // node, blade, cage, cabinet
}

// placed is an event at a place.
type placed struct {
	at  float64
	gpu int
}

// gpuKind names GPUs that are alike; what does not matter is zero.
type gpuKind struct{ batch, age, column, row, cage, slot, node int }

// The kinds of GPUs, from the widest on.
const (
	everyGPU   = iota
	gpuBatch   // produced in the same week
	gpuAge     // and year: half-years in service
	gpuCage    // cage and year
	gpuColumn  // column of cabinets
	gpuRow     // row of cabinets
	gpuCabinet //
	gpuSlot    // cage, slot and node: the place in the cooling air
	gpuKinds
)

func (g *gpuFleet) kind(which int, u *unit, s *stay, t float64) gpuKind {
	year := 1 + int(u.batch)/100
	p := s.place
	switch which {
	case gpuBatch:
		return gpuKind{batch: int(u.batch)}
	case gpuAge:
		return gpuKind{batch: year, age: 1 + int((t-u.stays[0].insert)/182.5)}
	case gpuCage:
		return gpuKind{batch: year, cage: 1 + p.cage}
	case gpuColumn:
		return gpuKind{batch: year, column: 1 + p.column}
	case gpuRow:
		return gpuKind{batch: year, row: 1 + p.row}
	case gpuCabinet:
		return gpuKind{batch: year, row: 1 + p.row, column: 1 + p.column}
	case gpuSlot:
		return gpuKind{batch: year, cage: 1 + p.cage, slot: 1 + p.slot, node: 1 + p.node}
	}
	return gpuKind{}
}

// cageOf is the place without blade and node.
func (p place) cageOf() place { p.slot, p.node = 0, 0; return p }

func newGPUFleet(f *fleet) *gpuFleet {
	g := &gpuFleet{fleet: f, first: day(2013, 11, 1) / gpuStep}
	g.steps = int(titanEnd)/gpuStep - g.first + 2
	for k := range g.kinds {
		g.kinds[k] = map[gpuKind]*tally{}
	}
	for k := range g.ofPlace {
		g.ofPlace[k] = map[place][]placed{}
	}
	for i := range f.units {
		u := &f.units[i]
		for j := range u.stays {
			s := &u.stays[j]
			for step := max(0, int(math.Ceil(s.insert/gpuStep))-g.first); step < g.steps; step++ {
				t := float64((g.first + step) * gpuStep)
				runs := t < s.gone
				if !runs && !s.event {
					break
				}
				for k := range g.kinds {
					kind := g.kind(k, u, s, min(t, s.gone))
					n := g.kinds[k][kind]
					if n == nil {
						n = &tally{make([]float32, g.steps), make([]float32, g.steps)}
						g.kinds[k][kind] = n
					}
					if runs {
						n.running[step]++
					} else {
						n.failed[step]++
					}
				}
				if !runs {
					break
				}
			}
		}
	}
	for _, kinds := range g.kinds {
		for _, n := range kinds {
			for s := 1; s < g.steps; s++ {
				n.running[s] += n.running[s-1]
				n.failed[s] += n.failed[s-1]
			}
		}
	}
	for _, e := range f.placedEvents {
		for k, p := range [4]place{e.place, e.place.blade(), e.place.cageOf(), e.place.cabinet()} {
			g.ofPlace[k][p] = append(g.ofPlace[k][p], placed{e.gone, e.gpu})
		}
	}
	for _, places := range g.ofPlace {
		for p := range places {
			slices.SortFunc(places[p], func(a, b placed) int {
				if a.at < b.at {
					return -1
				}
				if a.at > b.at {
					return 1
				}
				return a.gpu - b.gpu
			})
		}
	}
	return g
}

// decayed returns a sum over the events before t, each halved every so many
// days; those of one GPU are left out.
func decayed(events []placed, t, half float64, without int) (sum float64) {
	n := sort.Search(len(events), func(i int) bool { return events[i].at >= t })
	for _, e := range events[:n] {
		if e.gpu != without {
			sum += math.Exp2(-(t - e.at) / half)
		}
	}
	return sum
}

var (
	gpuSpans  = []int{0, 26, 6} // steps
	gpuHalves = []float64{30, 365}
)

func gpuHistoryFeatures() []string {
	names := gpuFeatures()
	for _, kind := range []string{"batch", "age", "cage", "column", "row", "cabinet", "slot"} {
		for _, n := range gpuSpans {
			names = append(names, fmt.Sprintf("%s_rate%d", kind, n))
		}
	}
	for _, at := range []string{"node", "blade", "cage", "cabinet"} {
		for _, h := range gpuHalves {
			names = append(names, fmt.Sprintf("%s_decayed%g", at, h))
		}
	}
	return append(names, "side_decayed30", "side_decayed365", "own_decayed365", "days_out", "moves365", "age_share", "days_since_node_event")
}

func (g *gpuFleet) features(dst []float64, i, at int, t float64, rates [3]float64) []float64 {
	u := &g.units[i]
	s := &u.stays[at]
	dst = g.fleet.features(dst, u, at, t, rates)
	step := int(t)/gpuStep - g.first
	of := func(k int) *tally { return g.kinds[k][g.kind(k, u, s, t)] }
	var wide [3]float64
	for j, n := range gpuSpans {
		wide[j] = of(everyGPU).rate(step, n, 0)
	}
	for k := gpuBatch; k < gpuKinds; k++ {
		for j, n := range gpuSpans {
			dst = append(dst, of(k).rate(step, n, wide[j]))
		}
	}
	p := s.place
	for k, p := range [4]place{p, p.blade(), p.cageOf(), p.cabinet()} {
		for _, h := range gpuHalves {
			dst = append(dst, decayed(g.ofPlace[k][p], t, h, i))
		}
	}
	for _, h := range gpuHalves {
		sum := 0.0
		for _, d := range []int{-1, 1} {
			q := p.cageOf()
			q.column += d
			sum += decayed(g.ofPlace[2][q], t, h, i)
			q = p.cageOf()
			q.row += d
			sum += decayed(g.ofPlace[2][q], t, h, i)
		}
		dst = append(dst, sum)
	}
	own := 0.0
	for _, e := range u.events {
		if e < t {
			own += math.Exp2(-(t - e) / 365)
		}
	}
	out, moves := 0.0, 0.0
	for j := 1; j <= at; j++ {
		out += max(0, u.stays[j].insert-u.stays[j-1].gone)
		if t-u.stays[j].insert < 365 {
			moves++
		}
	}
	since := math.NaN()
	list := g.ofPlace[0][p]
	if n := sort.Search(len(list), func(i int) bool { return list[i].at >= t }); n > 0 {
		since = t - list[n-1].at
	}
	return append(dst, own, out, moves, (t-s.insert)/max(1, t-u.stays[0].insert), since)
}

// emit passes on the rows of the days in [from, to), positive where the GPU fails
// within the horizon, in days.
func (g *gpuFleet) emit(from, to, horizon int, emit func(riskRow) error) error {
	for at := from + (gpuStep-from%gpuStep)%gpuStep; at < to; at += gpuStep {
		t := float64(at)
		rates := g.rates(t)
		for i := range g.units {
			u := &g.units[i]
			stay := u.inService(t)
			if stay < 0 {
				continue
			}
			fails, ok := u.outcome(t, float64(horizon))
			if !ok {
				continue
			}
			err := emit(riskRow{fails, i, t, func(dst []float64) []float64 { return g.features(dst, i, stay, t, rates) }})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
