package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/stratoswarm/forestall/checkpoint"
)

// record is a checkpoint's manifest and the packs that hold its chunks.
type record struct {
	ID    string    `json:"checkpoint"`
	Packs []packRef `json:"packs"`
	Bytes int64     `json:"manifest_bytes"`
}

// sealRecord makes the object: front, manifest, checksum of all.
func sealRecord(r record, manifest []byte) ([]byte, error) {
	r.Bytes = int64(len(manifest))
	b, err := sealFront(kindRecord, r)
	if err != nil {
		return nil, err
	}
	b = append(b, manifest...)
	sum := blake3.Sum256(b)
	return append(b, sum[:]...), nil
}

// openRecordFront reads what is before the manifest, of which b may be the
// beginning only.
func openRecordFront(b []byte) (r record, rest []byte, err error) {
	if rest, err = openFront(b, kindRecord, &r); err != nil {
		return r, nil, err
	}
	for _, p := range r.Packs {
		if err := p.validate(); err != nil {
			return r, nil, err
		}
	}
	return r, rest, nil
}

func openRecord(b []byte) (r record, manifest []byte, err error) {
	body, err := checkSum(b)
	if err != nil {
		return r, nil, err
	}
	if r, manifest, err = openRecordFront(body); err == nil && int64(len(manifest)) != r.Bytes {
		err = fmt.Errorf("the manifest has %d bytes and should have %d", len(manifest), r.Bytes)
	}
	return r, manifest, err
}

// loadRecord reads the record that a catalog leads to.
func (s *Store) loadRecord(ctx context.Context, e entry) (r record, manifest []byte, err error) {
	_, err = s.bucket.get(ctx, recordDir+e.Record, maxObject, func(b []byte) (err error) {
		r, manifest, err = openRecord(b)
		return errors.Join(err, r.belongs(e))
	})
	return r, manifest, s.gone(err)
}

// frontGuess is how much of a record is read for its packs: enough for 400.
const frontGuess = 64 << 10

// packsOf reads which packs a record needs.
func (s *Store) packsOf(ctx context.Context, e entry) ([]packRef, error) {
	limit := int64(frontGuess)
	for {
		var r record
		var short *shortError
		err := s.bucket.again(ctx, "read", recordDir+e.Record, func() error {
			o, err := s.bucket.read(ctx, recordDir+e.Record, 0, limit, limit)
			if err != nil {
				return err
			}
			if r, _, err = openRecordFront(o.body); errors.As(err, &short) && short.need > limit {
				return nil
			}
			return damaged(errors.Join(err, r.belongs(e)))
		})
		if err != nil {
			return nil, s.gone(err)
		}
		if short == nil || short.need <= limit {
			return r.Packs, nil
		}
		limit = short.need
	}
}

func (r record) belongs(e entry) error {
	if r.ID != e.ID {
		return fmt.Errorf("is of checkpoint %.12s, not %.12s", r.ID, e.ID)
	}
	return nil
}

// gone makes corrupt data of an object that must be there and is not, or is not
// what its checksum says.
func (s *Store) gone(err error) error {
	if errors.Is(err, errNoObject) || errors.Is(err, errDamaged) {
		return fmt.Errorf("%w: %w", checkpoint.ErrCorrupt, err)
	}
	return err
}
