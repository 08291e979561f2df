package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/delta"
	"github.com/stratoswarm/forestall/checkpoint/seal"
)

// sealed measures what encryption costs: the same work, plain and sealed, one
// after the other.
func (b *bench) sealed() error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	file, err := seal.New([]string{id.Recipient().String()}, time.Now())
	if err != nil {
		return err
	}
	keys, err := seal.Open(file, strings.NewReader(id.String()))
	if err != nil {
		return err
	}
	defer func() { b.keys = nil }()
	var full, step [2]result
	for round := range 3 { // the quickest of three, plain and sealed by turns
		for i, k := range []*seal.Keyring{nil, keys} {
			b.keys = k
			r, err := b.fresh()
			if err != nil {
				return err
			}
			if round == 0 || r.took < full[i].took {
				full[i] = r
			}
		}
	}
	for i, k := range []*seal.Keyring{nil, keys} {
		b.keys = k
		if step[i], err = b.step(); err != nil {
			return err
		}
	}
	ratio := func(r [2]result) float64 { return float64(r[1].took) / float64(r[0].took) }
	bar12 := func(r [2]result) bar {
		return bar{fmt.Sprintf("%.2fx of plain, %s (<= 1.2)", ratio(r), seconds(r[0].took)), ratio(r) <= 1.2}
	}
	most := time.Duration(1.2 * 2.5 * b.scale * float64(time.Second))
	b.add("encrypted: full, files, durable", full[1].String(), nil, bar12(full),
		bar{fmt.Sprintf("<= %s, 1.2 times the bar of plain ones", seconds(most)), full[1].took <= most})
	b.add("encrypted: 1 % of the pages changed, memory region (hash)", step[1].String(), b.pagePeers,
		append([]bar{bar12(step)}, fasterThan(step[1].took, b.pagePeers, "restic", 10/1.2)...)...)
	return nil
}

// fresh saves the files into a new store.
func (b *bench) fresh() (result, error) {
	d, err := b.open("store-fresh")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(d.Path())
	defer func() { _ = d.Close() }()
	began := begin()
	_, err = d.Save(b.ctx, checkpoint.Snapshot{Workload: "bench", Source: b.source})
	return result{"forestall", time.Since(began), treeSize(d.Path()), false}, err
}

// step is the quickest of three increments of the memory.
func (b *bench) step() (best result, err error) {
	t, err := b.track(delta.Hash)
	if err != nil {
		return best, err
	}
	defer t.end()
	if _, err := b.create(t); err != nil {
		return best, err
	}
	for i := range 3 {
		b.gen.dirty(b.mem, len(b.mem)/pageSize/100)
		r, err := b.create(t)
		if err != nil {
			return best, err
		}
		if i == 0 || r.took < best.took {
			best = r
		}
	}
	return best, nil
}
