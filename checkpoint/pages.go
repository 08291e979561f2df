package checkpoint

import (
	"math/rand/v2"
	"sync"

	"github.com/zeebo/xxh3"
)

// knownPages remembers what the pages of each workload's newest checkpoint hold,
// so that the next one finds which of them changed: XXH3-128 of each, with a
// seed that is random and never leaves the process, as package delta has. It is
// an aid: what is not remembered is read and compared with the store.
type knownPages struct {
	seed uint64

	mu        sync.Mutex
	workloads map[string]checkpointPages
	pages     int
}

type checkpointPages struct {
	id    string // of the checkpoint
	files map[string]sums
	pages int
}

// sums are those of a file's pages.
type sums struct {
	size  int64 // of the file
	pages []xxh3.Uint128
}

func newKnownPages() *knownPages {
	return &knownPages{seed: rand.Uint64(), workloads: make(map[string]checkpointPages)}
}

// of returns the sums of the workload's files in the checkpoint, which the
// caller leaves as they are.
func (k *knownPages) of(workload, id string) map[string]sums {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.workloads[workload]; c.id == id {
		return c.files
	}
	return nil
}

// remember replaces what is known of the workload's files, unless that is more
// than may be kept of all together.
func (k *knownPages) remember(workload, id string, files map[string]sums) {
	c := checkpointPages{id: id, files: files}
	for _, f := range files {
		c.pages += len(f.pages)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(workload)
	if k.pages+c.pages > mostPages {
		return
	}
	k.pages += c.pages
	k.workloads[workload] = c
}

func (k *knownPages) forget(workload string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(workload)
}

func (k *knownPages) drop(workload string) {
	k.pages -= k.workloads[workload].pages
	delete(k.workloads, workload)
}
