package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/stratoswarm/forestall/train/table"
)

// binSample is how many rows the bins are made from, as in LightGBM. A table
// of no more rows is read once, a larger one twice.
const binSample = 200_000

// sampleBlock is how many rows of the sample lie together in memory.
const sampleBlock = 512

// sampleStream tells the random numbers of the sample from others of its seed.
const sampleStream = 0x73616d706c65

// sampler keeps rows chosen uniformly from all that pass (Li 1994, Algorithm L).
// Which are chosen depends on the seed and their number only. A row that comes
// to be kept may be replaced by a later one, so that of n rows about
// size*(1+ln(n/size)) are parsed.
type sampler struct {
	size   int
	width  int         // values of a row
	kept   [][]float64 // sampleBlock rows each, one after the other; in the table's order while all fit
	labels *rowCheck
	seen   int

	// Which rows are kept is decided ahead of where: each has its own random
	// numbers, so that it does not matter how far.
	next  int // row that is kept, of those not yet seen
	skip  skipper
	place *rand.Rand
}

func newSampler(size, width int, seed uint64) *sampler {
	s := &sampler{size: size, width: width}
	s.skip = skipper{size: float64(size), w: 1, rng: rand.New(rand.NewPCG(seed, sampleStream))}
	s.place = rand.New(rand.NewPCG(seed, sampleStream+1))
	s.next = size + s.skip.next()
	return s
}

// read passes over the whole table.
func (s *sampler) read(ctx context.Context, t *table.Table, features []string, spec *Spec) error {
	if err := t.Select(spec.columns(features)); err != nil {
		return err
	}
	s.labels = spec.rowCheck(features)
	return t.Read(ctx, table.Reading{
		Threads: spec.Threads, Progress: spec.progress(t.Path(), 1),
		Pick: s.pick, InOrder: true, Do: s.keep,
	})
}

// pick chooses among the next rows. Of those that it appends the first come to
// free places, the others to random ones.
func (s *sampler) pick(rows []int, first, n int) []int {
	for i := range max(0, min(n, s.size-first)) {
		rows = append(rows, i)
	}
	for ; s.next < first+n; s.next += 1 + s.skip.next() {
		rows = append(rows, s.next-first)
	}
	return rows
}

// keep puts the rows that were picked into the sample.
func (s *sampler) keep(b *table.Block) error {
	if err := s.labels.block(b); err != nil {
		return err
	}
	for i := range b.Rows {
		place := b.First + i
		if place >= s.size {
			place = s.place.IntN(s.size)
		} else if place%sampleBlock == 0 {
			s.kept = append(s.kept, make([]float64, sampleBlock*s.width))
		}
		b.Row(i, s.row(place))
	}
	s.seen = b.First + b.Span
	return nil
}

// row returns the row at a place.
func (s *sampler) row(place int) []float64 {
	at := place % sampleBlock * s.width
	return s.kept[place/sampleBlock][at : at+s.width]
}

// columns appends the values of some columns, from the given one on, to dst.
func (s *sampler) columns(from int, dst [][]float64) {
	for place := range min(s.seen, s.size) {
		for i, v := range s.row(place)[from : from+len(dst)] {
			dst[i] = append(dst[i], v)
		}
	}
}

// skipper draws how many rows pass before the next one is kept.
type skipper struct {
	size, w float64
	rng     *rand.Rand
}

func (s *skipper) next() int {
	s.w *= math.Exp(math.Log(1-s.rng.Float64()) / s.size)
	return int(math.Log(1-s.rng.Float64()) / math.Log1p(-s.w))
}

// whole reports whether the sample is the table.
func (s *sampler) whole() bool { return s.seen <= s.size }

// binnings makes the bins of each feature.
func (s *sampler) binnings(features []string, spec *Spec) ([]*binning, error) {
	const together = 8 // features: a cache line of a row
	n := threads(spec.Threads)
	out := make([]*binning, len(features))
	empty := make([]bool, len(features))
	scratch := make([][together][]float64, n)
	parallel(n, (len(features)+together-1)/together, func(worker, group int) {
		from := group * together
		to := min(from+together, len(features))
		columns := scratch[worker][:to-from]
		for i := range columns {
			columns[i] = columns[i][:0]
		}
		s.columns(from, columns)
		for i, values := range columns {
			f := from + i
			out[f] = spec.binning(features[f], values)
			empty[f] = out[f].n == 0
		}
	})
	var names []string
	for f, is := range empty {
		if is {
			names = append(names, features[f])
		}
	}
	return out, s.empty(names)
}

// fill puts the rows, which are all, into d.
func (s *sampler) fill(d *Dataset) error {
	errs := make([]error, len(s.kept))
	parallel(threads(d.spec.Threads), len(s.kept), func(_, block int) {
		rows := min(sampleBlock, d.rows-block*sampleBlock)
		columns := make([]float64, s.width*rows)
		for i := range rows {
			for c, v := range s.kept[block][i*s.width : (i+1)*s.width] {
				columns[c*rows+i] = v
			}
		}
		errs[block] = d.put(block*sampleBlock, rows, func(c int) []float64 { return columns[c*rows : (c+1)*rows] })
	})
	return errors.Join(errs...)
}

// empty returns the error of features without a value, nil for none.
func (s *sampler) empty(names []string) error {
	const most = 100 // more than that nobody reads
	told, drop := []string{}, dropFlag(names[:min(len(names), most)]...)
	for _, name := range names[:min(len(names), most)] {
		told = append(told, strconv.Quote(name))
	}
	if more := len(names) - most; more > 0 {
		told, drop = append(told[:most-1], fmt.Sprintf("%s and %d more", told[most-1], more)), "--drop"
	}
	what := "columns " + strings.Join(told, ", ") + " are"
	switch len(names) {
	case 0:
		return nil
	case 1:
		what = "column " + told[0] + " is"
	}
	in := "every row"
	if !s.whole() {
		in = fmt.Sprintf("all of the %d rows that were sampled", s.size)
	}
	leave := "it"
	if len(names) > 1 {
		leave = "them"
	}
	return fmt.Errorf("%s missing in %s; leave %s out with %s", what, in, leave, drop)
}
