package s3

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/internal/parallel"
)

// Open finds a checkpoint to be read. It may be deleted meanwhile; its objects
// stay for the grace period.
func (s *Store) Open(ctx context.Context, id string) (*checkpoint.Parcel, error) {
	e, err := s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	r, manifest, err := s.loadRecord(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint %.12s of %s: %w", id, e.Workload, err)
	}
	reader := &reader{s: s, refs: r.Packs}
	return &checkpoint.Parcel{Checkpoint: e.Checkpoint, Manifest: manifest, Fetch: reader.fetch}, nil
}

// reader gets chunks of one checkpoint.
type reader struct {
	s    *Store
	refs []packRef

	mu     sync.Mutex
	places map[checkpoint.Hash]place // nil: the indices are not read yet
}

type place struct {
	pack  int
	frame frame
}

// locate reads the indices of the packs, once.
func (r *reader) locate(ctx context.Context) (map[checkpoint.Hash]place, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places != nil {
		return r.places, nil
	}
	packs := make([]*pack, len(r.refs))
	err := parallel.Do(ctx, r.s.cfg.Parallel, len(r.refs), func(ctx context.Context, i int) (err error) {
		packs[i], err = r.s.index(ctx, r.refs[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	places := make(map[checkpoint.Hash]place)
	for i, p := range packs {
		for _, f := range p.frames {
			if _, ok := places[f.hash]; !ok {
				places[f.hash] = place{i, f}
			}
		}
	}
	r.places = places
	return places, nil
}

// One request gets neighbouring chunks, with gaps of at most maxGap between
// them, up to about maxSpan.
const (
	maxGap  = 128 << 10
	maxSpan = 8 << 20
)

// span is what one request gets.
type span struct {
	pack       int
	begin, end int64
	frames     []frame
}

// spans groups chunks into requests.
func spans(places []place) (out []span) {
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.pack, b.pack), cmp.Compare(a.frame.offset, b.frame.offset))
	})
	for _, p := range places {
		end := p.frame.offset + int64(p.frame.length)
		if n := len(out); n > 0 {
			last := &out[n-1]
			if last.pack == p.pack && p.frame.offset-last.end <= maxGap && end-last.begin <= maxSpan {
				last.frames = append(last.frames, p.frame)
				last.end = max(last.end, end)
				continue
			}
		}
		out = append(out, span{p.pack, p.frame.offset, end, []frame{p.frame}})
	}
	return out
}

func (r *reader) fetch(ctx context.Context, chunks []checkpoint.Hash, deliver func(checkpoint.Hash, []byte) error) error {
	if len(chunks) == 0 {
		return nil
	}
	where, err := r.locate(ctx)
	if err != nil {
		return err
	}
	places := make([]place, 0, len(chunks))
	for _, h := range chunks {
		p, ok := where[h]
		if !ok {
			return fmt.Errorf("%w: chunk %s is in none of the %d packs of the checkpoint in %s", checkpoint.ErrCorrupt, h, len(r.refs), r.s)
		}
		places = append(places, p)
	}
	todo := spans(places)
	return parallel.Do(ctx, r.s.cfg.Parallel, len(todo), func(ctx context.Context, i int) error {
		return r.get(ctx, todo[i], deliver)
	})
}

// get reads a span, each chunk verified to be what was put, and delivers it.
func (r *reader) get(ctx context.Context, s span, deliver func(checkpoint.Hash, []byte) error) error {
	b, err := r.s.bucket.getRange(ctx, r.refs[s.pack].key(), s.begin, s.end-s.begin, func(b []byte) error {
		for _, f := range s.frames {
			if blake3.Sum256(f.in(b, s.begin)) != f.sum {
				return fmt.Errorf("holds another chunk at %d than its index says", f.offset)
			}
		}
		return nil
	})
	if err != nil {
		return r.s.gone(err)
	}
	for _, f := range s.frames {
		if err := deliver(f.hash, f.in(b, s.begin)); err != nil {
			return err
		}
	}
	return nil
}

// in returns the frame's bytes in b, which begins at that offset of the pack.
func (f frame) in(b []byte, begin int64) []byte {
	return b[f.offset-begin:][:f.length:f.length]
}
