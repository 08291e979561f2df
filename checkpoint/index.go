package checkpoint

import (
	"bytes"
	"slices"
	"sync"
)

// index says where the store's chunks are. It takes 28 bytes for each and the
// slack of its slices: a slot has 136 bits of the hash, enough that two chunks
// are never confused by chance; who reads a chunk compares all of it.
type index struct {
	shards [indexShards]indexShard
}

const indexShards = 1 << 12 // by the first 12 bits of the hash

type indexShard struct {
	mu    sync.Mutex
	slots []slot // by key
}

// slot is one chunk. Its key is bytes 1 to 16 of the hash, the shard has the
// bits before.
type slot struct {
	key  [16]byte
	pack uint32 // number of its pack; looseChunk: a file of its own
	at   uint32 // offset in the pack
	bits uint32 // size in the pack, and marks
}

// looseChunk is where the chunks of version 1 are.
const looseChunk = ^uint32(0)

// The marks of a slot.
const (
	sizeMask = 1<<26 - 1
	spared   = 1 << 31 // somebody relied on it since the last GC began
	visited  = 1 << 30 // a manifest that this GC has read needs it
	leased   = 1 << 29 // a peer was told of it
	leaseOld = 1 << 28 // a peer was told of it before the last turn of leases
	walked   = 1 << 27 // as visited, as a block of a tree: what it lists was too
	marks    = spared | visited | leased | leaseOld
)

func (s slot) size() int64 { return int64(s.bits & sizeMask) }

func (x *index) shard(h hash) (sh *indexShard, key [16]byte) {
	return &x.shards[int(h[0])<<4|int(h[1])>>4], [16]byte(h[1:17])
}

func (sh *indexShard) find(key [16]byte) (int, bool) {
	return slices.BinarySearchFunc(sh.slots, key, func(s slot, k [16]byte) int { return bytes.Compare(s.key[:], k[:]) })
}

// get finds a chunk.
func (x *index) get(h hash) (slot, bool) {
	sh, key := x.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, ok := sh.find(key)
	if !ok {
		return slot{}, false
	}
	return sh.slots[i], true
}

// mark sets marks on a chunk and returns it as it was before.
func (x *index) mark(h hash, bits uint32) (before slot, ok bool) {
	sh, key := x.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, ok := sh.find(key)
	if !ok {
		return slot{}, false
	}
	before = sh.slots[i]
	sh.slots[i].bits |= bits
	return before, true
}

// put adds a chunk, spared, unless it is known already.
func (x *index) put(h hash, pack, at uint32, size int) bool {
	sh, key := x.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, ok := sh.find(key)
	if ok {
		sh.slots[i].bits |= spared
		return false
	}
	if len(sh.slots) == cap(sh.slots) { // append would double it
		sh.slots = append(make([]slot, 0, len(sh.slots)+len(sh.slots)/16+4), sh.slots...)
	}
	sh.slots = slices.Insert(sh.slots, i, slot{key, pack, at, uint32(size) | spared})
	return true
}

// move says that a chunk of one pack is in another now. It does nothing when
// the chunk is no longer where it was.
func (x *index) move(h hash, from, to, at uint32) bool {
	sh, key := x.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, ok := sh.find(key)
	if !ok || sh.slots[i].pack != from {
		return false
	}
	sh.slots[i].pack, sh.slots[i].at = to, at
	return true
}

// remove forgets a chunk that is in pack.
func (x *index) remove(h hash, pack uint32) bool {
	sh, key := x.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, ok := sh.find(key)
	if !ok || sh.slots[i].pack != pack {
		return false
	}
	sh.slots = slices.Delete(sh.slots, i, i+1)
	return true
}

// sweep calls keep for every chunk, shard by shard, and forgets those for which
// it returns false. keep may change the marks and must not use the index.
func (x *index) sweep(keep func(*slot) bool) {
	for i := range x.shards {
		sh := &x.shards[i]
		sh.mu.Lock()
		kept := sh.slots[:0]
		for j := range sh.slots {
			if keep(&sh.slots[j]) {
				kept = append(kept, sh.slots[j])
			}
		}
		sh.slots = kept
		if cap(kept) > 2*len(kept)+16 {
			sh.slots = slices.Clone(kept)
		}
		sh.mu.Unlock()
	}
}
