package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// shortest is how much of an ID must be given.
const shortest = 4

// idDigits is how many an ID has.
const idDigits = 64

// resolve finds a checkpoint of the engine's node by the beginning of its ID, or
// takes a whole ID, which other nodes may know. Of one whose manifest is damaged
// the ID alone is known.
func (f apiFlag) resolve(ctx context.Context, id string) (forestall.Checkpoint, error) {
	all, err := f.client().Checkpoints(ctx, "")
	if err != nil {
		return forestall.Checkpoint{}, err
	}
	stats, err := f.client().StoreStats(ctx)
	if err != nil {
		return forestall.Checkpoint{}, err
	}
	for _, d := range stats.Damaged {
		all = withDamaged(all, d.ID)
	}
	if len(id) == idDigits && isHex(id) && !slices.ContainsFunc(all, func(cp forestall.Checkpoint) bool { return cp.ID == strings.ToLower(id) }) {
		return forestall.Checkpoint{ID: strings.ToLower(id)}, nil
	}
	return byPrefix(all, id, "node "+stats.Node+" holds")
}

// resolve finds a checkpoint by the beginning of its ID. Of one whose manifest is
// damaged the ID alone is known.
func (o *opened) resolve(ctx context.Context, id string) (forestall.Checkpoint, error) {
	all, err := o.List(ctx, "")
	if err != nil {
		return forestall.Checkpoint{}, err
	}
	if o.dir != nil {
		for _, damaged := range slices.Sorted(maps.Keys(o.dir.Damaged())) {
			all = withDamaged(all, damaged)
		}
	}
	return byPrefix(all, id, o.name+" holds")
}

// withDamaged adds a checkpoint of which no more than its ID is known, unless it
// is known otherwise.
func withDamaged(all []forestall.Checkpoint, id string) []forestall.Checkpoint {
	if slices.ContainsFunc(all, func(cp forestall.Checkpoint) bool { return cp.ID == id }) {
		return all
	}
	return append(all, forestall.Checkpoint{ID: id})
}

func isHex(s string) bool { return strings.Trim(strings.ToLower(s), "0123456789abcdef") == "" }

func byPrefix(all []forestall.Checkpoint, id, where string) (found forestall.Checkpoint, err error) {
	switch {
	case !isHex(id):
		return found, fmt.Errorf("%q is not an ID, which is hex digits such as 5fa03c; `forestall checkpoints list` shows them", id)
	case len(id) < shortest:
		return found, fmt.Errorf("%q: give at least %d digits of the ID", id, shortest)
	}
	var names []string
	for _, cp := range all {
		if strings.HasPrefix(cp.ID, strings.ToLower(id)) {
			found = cp
			names = append(names, named(cp))
		}
	}
	switch len(names) {
	case 0:
		return forestall.Checkpoint{}, fmt.Errorf("%w: of the %s that %s none begins with %s; `forestall checkpoints list` shows them",
			checkpoint.ErrNotFound, textCount(len(all), "checkpoint"), where, id)
	case 1:
		return found, nil
	}
	const most = 5
	list := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return forestall.Checkpoint{}, fmt.Errorf("%d checkpoints that %s begin with %s: %s; give more digits", len(names), where, id, list)
}

// named says which checkpoint it is.
func named(cp forestall.Checkpoint) string {
	if cp.Workload == "" {
		return shortID(cp.ID) + " (damaged)"
	}
	return shortID(cp.ID) + " of " + cp.Workload
}
