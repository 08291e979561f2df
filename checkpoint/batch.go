package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/zeebo/blake3"
)

// batch collects the chunks of one new checkpoint: each is pinned, and written
// to a temporary file unless the store or the batch has it already.
type batch struct {
	d *Dir

	mu    sync.Mutex
	seen  map[hash]struct{}
	tmp   map[hash]string // written, not yet published
	bytes int64           // of the chunk files written
	unpin []func()
}

func (d *Dir) newBatch() *batch {
	return &batch{d: d, seen: make(map[hash]struct{}), tmp: make(map[hash]string)}
}

// add stores content and returns its address.
func (b *batch) add(content []byte) (hash, error) {
	h := hash(blake3.Sum256(content))
	b.mu.Lock()
	if _, ok := b.seen[h]; ok {
		b.mu.Unlock()
		return h, nil
	}
	b.seen[h] = struct{}{}
	b.unpin = append(b.unpin, b.d.pin(h))
	b.mu.Unlock()
	if b.d.has(h) {
		return h, nil
	}
	buf := b.d.bufs.Get().(*[]byte)
	defer b.d.bufs.Put(buf)
	*buf = b.d.codec.encode(*buf, content)
	name := b.d.tempName()
	if err := b.d.write(name, *buf, false); err != nil {
		return h, b.d.diskFull(fmt.Errorf("write chunk %s: %w", h, err))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tmp[h] = name
	b.bytes += int64(len(*buf))
	return h, nil
}

// publish makes the batch's chunks durable under their names.
func (b *batch) publish() error { return b.d.publish(b.tmp) }

// end releases the pins and removes what was not published.
func (b *batch) end() {
	for _, name := range b.tmp {
		os.Remove(name)
	}
	for _, f := range b.unpin {
		f()
	}
}

// manyFiles is where one sync of the file system becomes cheaper than a sync
// of each file.
const manyFiles = 16

// publish makes temporary chunk files durable, gives them their names, makes
// the names durable, and forgets them from tmp. No name ever leads to content
// that a power failure could still take away.
func (d *Dir) publish(tmp map[hash]string) error {
	paths, shards := make([]string, 0, len(tmp)), make(map[string]struct{})
	for h, name := range tmp {
		paths = append(paths, name)
		shards[filepath.Dir(d.chunkPath(h))] = struct{}{}
	}
	if err := d.syncAll(paths, syncFile); err != nil {
		return d.diskFull(fmt.Errorf("sync chunks: %w", err))
	}
	for h, name := range tmp {
		if err := os.Rename(name, d.chunkPath(h)); err != nil {
			return d.diskFull(fmt.Errorf("publish chunk: %w", err))
		}
		delete(tmp, h)
	}
	paths = paths[:0]
	for dir := range shards {
		paths = append(paths, dir)
	}
	return d.syncAll(paths, syncDir)
}

// syncAll makes files of the store's file system durable, one by one or all
// together.
func (d *Dir) syncAll(paths []string, sync func(string) error) error {
	if len(paths) > manyFiles {
		err := syncFileSystem(d.path)
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	for _, p := range paths {
		if err := sync(p); err != nil {
			return err
		}
	}
	return nil
}
