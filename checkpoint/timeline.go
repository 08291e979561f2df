package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// Query says which recovery points are wanted. The zero value wants all.
type Query struct {
	Workload string          // "": of any
	State    string          // that hold this state, a name at the top of the tree; "": any
	Label    string          // whose label matches this pattern of [path.Match], such as "before*"; "": any
	Epoch    forestall.Epoch // of the run that wrote it; 0: any
	From, To time.Time       // within which the state's moment lies, both included; zero: without end
}

// Points returns what this store holds of the recovery points that q wants,
// oldest first. A checkpoint whose tree cannot be read is left out when q asks
// for a state: the error, which then wraps [ErrCorrupt], names each, and the
// other points are returned nevertheless.
func (d *Dir) Points(ctx context.Context, q Query) (Timeline, error) {
	if _, err := path.Match(q.Label, ""); err != nil {
		return nil, fmt.Errorf("recovery points: label pattern %q: %w", q.Label, err)
	}
	all, err := d.Timeline(q.Workload)
	if err != nil {
		return nil, fmt.Errorf("recovery points: %w", err)
	}
	var (
		out     Timeline
		damaged []error
	)
	for _, cp := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !q.wants(cp) {
			continue
		}
		if q.State != "" {
			states, err := d.States(cp.ID)
			if errors.Is(err, ErrNotFound) {
				continue // dropped meanwhile
			}
			if err != nil {
				damaged = append(damaged, fmt.Errorf("checkpoint %.12s: %w", cp.ID, err))
			}
			if !slices.ContainsFunc(states, func(s StateInfo) bool { return s.Name == q.State }) {
				continue
			}
		}
		out = append(out, cp)
	}
	return out, errors.Join(damaged...)
}

// wants decides all but the state.
func (q Query) wants(cp forestall.Checkpoint) bool {
	matches, _ := path.Match(q.Label, cp.Label)
	return (q.Label == "" || matches) &&
		(q.Epoch == 0 || cp.Epoch == q.Epoch) &&
		(q.From.IsZero() || !cp.Time.Before(q.From)) &&
		(q.To.IsZero() || !cp.Time.After(q.To))
}

// StateInfo is a state in a checkpoint: what lies under one name at the top of
// its tree.
type StateInfo struct {
	Name  string `json:"name"`
	Files int    `json:"files"`
	Size  int64  `json:"size_bytes"`
}

// States returns the states that a checkpoint holds, by name. Errors wrap
// [ErrNotFound] and [ErrCorrupt].
func (d *Dir) States(id string) ([]StateInfo, error) {
	m, err := d.loadManifest(id)
	if err != nil {
		return nil, err
	}
	return m.states(), nil
}

// StatesOf returns the states of a checkpoint that another store holds. Of it
// only the blocks of its tree are brought here. Errors wrap [ErrCorrupt].
func (d *Dir) StatesOf(ctx context.Context, p *Parcel) ([]StateInfo, error) {
	m, err := d.takeTree(ctx, p, true)
	if err != nil {
		return nil, err
	}
	return m.states(), nil
}

func (m *manifest) states() []StateInfo {
	states := []StateInfo{}
	index := make(map[string]int)
	for _, e := range m.entries[1:] {
		name, _, _ := strings.Cut(e.path, "/")
		i, ok := index[name]
		if !ok {
			i, index[name] = len(states), len(states)
			states = append(states, StateInfo{Name: name})
		}
		if e.kind == kindFile {
			states[i].Files++
			states[i].Size += e.size
		}
	}
	slices.SortFunc(states, func(a, b StateInfo) int { return strings.Compare(a.Name, b.Name) })
	return states
}

// LeftOut returns what of the workload's directory a checkpoint does not hold.
// Errors are those of [Dir.States].
func (d *Dir) LeftOut(id string) (forestall.LeftOut, error) {
	r, err := d.loadRoot(id)
	return r.leftOut(), err
}

// LeftOutOf is LeftOut for a checkpoint that another store holds.
func (d *Dir) LeftOutOf(p *Parcel) (forestall.LeftOut, error) {
	r, err := d.decodeRoot("manifest "+p.ID, p.Manifest)
	return r.leftOut(), err
}

func (r root) leftOut() forestall.LeftOut {
	return forestall.LeftOut{Count: int(r.left), First: r.names}
}
