package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// Retention says which checkpoints of a store are kept. Pinned ones always are,
// and the newest of each workload; where that is known to be damaged, by a scrub
// or whoever read it, also the newest that is whole. What was imported is as old as
// the import, takes no part in tiers, and is a workload's newest only while there is
// nothing else.
type Retention struct {
	All      time.Duration // every checkpoint whose state is not older is kept
	Tiers    []Tier        // of older ones, those that a tier picks
	MaxBytes int64         // packs may have together; the oldest go first, also those that All or a tier keeps; 0: any
}

// Tier keeps one checkpoint of a workload for each Every, the last, until its
// state is older than Within.
type Tier struct {
	Every, Within time.Duration
}

// Validate names the first field that cannot work and what it may be.
func (r Retention) Validate() error {
	switch {
	case r.All <= 0:
		return fmt.Errorf("checkpoint_retention %v must be positive", r.All)
	case r.MaxBytes < 0:
		return fmt.Errorf("at most %d bytes of checkpoints: must not be negative; 0 is no limit", r.MaxBytes)
	}
	for i, t := range r.Tiers {
		switch {
		case t.Every <= 0 || t.Within <= t.Every:
			return fmt.Errorf("retention tier %d: every %v within %v: every must be positive and within longer", i+1, t.Every, t.Within)
		case t.Within <= r.All:
			return fmt.Errorf("retention tier %d: within %v is not longer than checkpoint_retention %v, which keeps every checkpoint", i+1, t.Within, r.All)
		case i > 0 && (t.Every <= r.Tiers[i-1].Every || t.Within <= r.Tiers[i-1].Within):
			return fmt.Errorf("retention tier %d: every %v within %v: both must be longer than those of the tier before", i+1, t.Every, t.Within)
		}
	}
	return nil
}

// expired returns the checkpoints that the retention lets go at now, not looking
// at MaxBytes: neither those that must stay nor pinned ones nor what keep says.
// whole is asked, seldom, whether a checkpoint can be restored as far as is known:
// a tier picks the last that can.
func (r Retention) expired(all []forestall.Checkpoint, now time.Time, keep, whole func(forestall.Checkpoint) bool) (out []forestall.Checkpoint) {
	mayGo := func(cp forestall.Checkpoint) bool {
		return ageOf(cp, now) > r.All && !cp.Pinned && (keep == nil || !keep(cp))
	}
	stays := mustStay(all, mayGo, whole)
	own := slices.DeleteFunc(slices.Clone(all), func(cp forestall.Checkpoint) bool { return !cp.Imported.IsZero() })
	for _, t := range r.Tiers {
		for _, cp := range t.last(own, mayGo, whole) {
			if now.Sub(cp.Time) <= t.Within {
				stays[cp.ID] = true
			}
		}
	}
	for _, cp := range all {
		if mayGo(cp) && !stays[cp.ID] {
			out = append(out, cp)
		}
	}
	return out
}

// mustStay returns the IDs of each workload's newest checkpoint and newest whole
// one; of all of a workload of which none is whole, since a replica may mend any.
// Where no other may go it does not ask which is whole.
func mustStay(all []forestall.Checkpoint, mayGo, whole func(forestall.Checkpoint) bool) map[string]bool {
	stays := make(map[string]bool)
	for _, cps := range grouped(all, func(cp forestall.Checkpoint) string { return cp.Workload }) {
		slices.SortFunc(cps, newestFirst)
		stays[cps[0].ID] = true
		if !slices.ContainsFunc(cps[1:], mayGo) {
			continue
		}
		if i := slices.IndexFunc(cps, whole); i >= 0 {
			stays[cps[i].ID] = true
			continue
		}
		for _, cp := range cps {
			stays[cp.ID] = true
		}
	}
	return stays
}

// anyWhole is for where nothing is known of damage.
func anyWhole(forestall.Checkpoint) bool { return true }

func newestFirst(a, b forestall.Checkpoint) int {
	switch {
	case a.NewerThan(b):
		return -1
	case b.NewerThan(a):
		return 1
	}
	return 0
}

// ageOf returns how old a state is for the retention; an import's counts from when
// it came.
func ageOf(cp forestall.Checkpoint, now time.Time) time.Duration {
	if cp.Imported.After(cp.Time) {
		return now.Sub(cp.Imported)
	}
	return now.Sub(cp.Time)
}

func grouped[K comparable](all []forestall.Checkpoint, by func(forestall.Checkpoint) K) map[K][]forestall.Checkpoint {
	out := make(map[K][]forestall.Checkpoint)
	for _, cp := range all {
		out[by(cp)] = append(out[by(cp)], cp)
	}
	return out
}

// last returns the last whole checkpoint of each workload in each of the tier's
// periods, the last where none is whole. Periods begin at multiples of Every in
// UTC: what is last in a longer period is last in the shorter one too. Where no
// other may go it does not ask which is whole.
func (t Tier) last(all []forestall.Checkpoint, mayGo, whole func(forestall.Checkpoint) bool) (out []forestall.Checkpoint) {
	type period struct {
		workload string
		number   int64
	}
	for _, cps := range grouped(all, func(cp forestall.Checkpoint) period { return period{cp.Workload, cp.Time.UnixNano() / int64(t.Every)} }) {
		slices.SortFunc(cps, func(a, b forestall.Checkpoint) int { return cmp.Or(b.Time.Compare(a.Time), newestFirst(a, b)) })
		last := 0
		if slices.ContainsFunc(cps[1:], mayGo) {
			last = max(0, slices.IndexFunc(cps, whole))
		}
		out = append(out, cps[last])
	}
	return out
}

// Retain drops the checkpoints that the retention lets go at now, and what
// nothing needs any more. It leaves what [Retention] says and what keep, when not
// nil, does.
func (d *Dir) Retain(ctx context.Context, r Retention, now time.Time, keep func(forestall.Checkpoint) bool) (removed int, freedBytes int64, err error) {
	if err := r.Validate(); err != nil {
		return 0, 0, err
	}
	if removed, err = d.expire(ctx, r, now, keep); err != nil {
		return removed, 0, err
	}
	if freedBytes, err = d.GC(ctx); err != nil || r.MaxBytes == 0 {
		return removed, freedBytes, err
	}
	more, freed, err := d.shrink(ctx, r.MaxBytes, keep)
	return removed + more, freedBytes + freed, err
}

// expire drops what is too old. Its chunks stay until GC.
func (d *Dir) expire(ctx context.Context, r Retention, now time.Time, keep func(forestall.Checkpoint) bool) (removed int, err error) {
	all, err := d.List("")
	if err != nil {
		return 0, err
	}
	if removed, err = d.deleteAll(ctx, r.expired(all, now, keep, d.stillWhole)); err != nil {
		return removed, fmt.Errorf("retention: %w", err)
	}
	return removed, nil
}

// shrink drops the oldest checkpoints until the packs have at most limit bytes.
// First what is dead goes, however little of a pack it is. How much a checkpoint
// has to itself is only known once it has gone, so a quarter of those that may go
// do so at a time.
func (d *Dir) shrink(ctx context.Context, limit int64, keep func(forestall.Checkpoint) bool) (removed int, freed int64, err error) {
	mayGo := func(cp forestall.Checkpoint) bool { return !cp.Pinned && (keep == nil || !keep(cp)) }
	for {
		s, err := d.Stats()
		if err != nil || s.PackBytes <= limit {
			return removed, freed, err
		}
		f, err := d.collect(ctx, limit)
		freed += f
		if err != nil {
			return removed, freed, err
		}
		if s, err = d.Stats(); err != nil || s.PackBytes <= limit {
			return removed, freed, err
		}
		all, err := d.List("")
		if err != nil {
			return removed, freed, err
		}
		stays := mustStay(all, mayGo, d.stillWhole)
		all = slices.DeleteFunc(all, func(cp forestall.Checkpoint) bool { return stays[cp.ID] || !mayGo(cp) })
		if len(all) == 0 {
			d.opt.Logger.Warn("the store is over its size limit, and only checkpoints that must stay are left: each workload's newest, its newest whole one, pinned ones",
				"path", d.path, "pack_bytes", s.PackBytes, "limit", limit)
			return removed, freed, nil
		}
		slices.Reverse(all) // oldest first
		n, err := d.deleteAll(ctx, all[:(len(all)+3)/4])
		removed += n
		if err != nil {
			return removed, freed, fmt.Errorf("retention: %w", err)
		}
	}
}

// deleteAll drops checkpoints; one that has gone already is no error.
func (d *Dir) deleteAll(ctx context.Context, cps []forestall.Checkpoint) (removed int, err error) {
	for _, cp := range cps {
		err := d.Delete(ctx, cp.ID)
		switch {
		case err == nil:
			removed++
		case errors.Is(err, ErrNotFound) || errors.Is(err, ErrPinned): // somebody else was faster
		default:
			return removed, err
		}
	}
	return removed, nil
}

// Prune is Retain with nothing but an age.
func (d *Dir) Prune(ctx context.Context, retention time.Duration, now time.Time, keep func(forestall.Checkpoint) bool) (removed int, freedBytes int64, err error) {
	return d.Retain(ctx, Retention{All: retention}, now, keep)
}
