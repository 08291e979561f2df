package keyed

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// Log is a space in a directory: every write is appended to a file and synced
// before it is acknowledged; writers that come at once share a sync. Values stay
// on disk, keys are in memory, about 150 bytes each. It survives the death of the
// process and of the machine, not the loss of the disk. Opening the directory
// again, by any process, ends what was opened before: its calls fail with
// [forestall.ErrStaleEpoch].
type Log struct {
	dir    string
	logger *slog.Logger
	lock   *os.File // flock'ed while the files change
	fence  fence    // under which it was opened

	commit sync.Mutex // held by whoever writes and syncs, for all that wait

	mu      sync.Mutex
	closed  bool
	broken  error            // nothing is written any more
	last    uint64           // sequence of the last write that was queued
	synced  uint64           // sequence of the last write that is on disk
	queue   []queued         // not written yet
	refused map[uint64]error // by sequence: what did not fit, until its writer has been told
	file    *segment
	heads   map[string]head
	live    int64 // bytes of the heads' records
	garbage int64 // bytes of the file beyond those
}

// segment is a log file.
type segment struct {
	*os.File
	path    string
	number  uint64         // in the path
	size    int64          // bytes that are synced
	readers sync.WaitGroup // reads under way
}

// head is where a key's newest record is.
type head struct {
	Version
	at, length int64
}

// queued is an encoded record that waits for a writer.
type queued struct {
	record
	encoded []byte
}

var _ Space = (*Log)(nil)

// Replicate appends the value and returns when it is synced.
func (l *Log) Replicate(ctx context.Context, key string, value []byte) (Version, error) {
	v, err := l.write(ctx, record{kind: kindPut, key: key, value: value})
	if err != nil {
		return Version{}, fmt.Errorf("replicate %.40q: %w", key, err)
	}
	return v, nil
}

// Delete appends that the key has no value any more and returns when that is
// synced.
func (l *Log) Delete(ctx context.Context, key string) (Version, error) {
	v, err := l.write(ctx, record{kind: kindDelete, key: key})
	if err != nil {
		return Version{}, fmt.Errorf("delete %.40q: %w", key, err)
	}
	return v, nil
}

func (l *Log) write(ctx context.Context, r record) (Version, error) {
	if err := check(r.key, r.value); err != nil {
		return Version{}, err
	}
	if err := ctx.Err(); err != nil {
		return Version{}, err
	}
	v, err := l.enqueue(r)
	if err != nil {
		return Version{}, err
	}
	l.commit.Lock()
	defer l.commit.Unlock()
	if err := l.flush(v.Sequence); err != nil {
		return Version{}, err
	}
	l.compactIfWorthwhile()
	return v, nil
}

// enqueue gives a write its version and encodes it.
func (l *Log) enqueue(r record) (Version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return Version{}, ErrClosed
	case l.broken != nil:
		return Version{}, l.broken
	}
	l.last++
	r.Version = Version{l.fence.epoch, l.last}
	encoded := appendRecord(nil, r)
	r.value = nil
	l.queue = append(l.queue, queued{r, encoded})
	return r.Version, nil
}

// ReadConsistent returns the key's newest synced value, verified.
func (l *Log) ReadConsistent(ctx context.Context, key string) (Entry, error) {
	e, err := l.read(ctx, key)
	if err != nil {
		return Entry{}, fmt.Errorf("read %.40q: %w", key, err)
	}
	return e, nil
}

func (l *Log) read(ctx context.Context, key string) (Entry, error) {
	if err := check(key, nil); err != nil {
		return Entry{}, err
	}
	if err := ctx.Err(); err != nil {
		return Entry{}, err
	}
	h, file, err := l.find(key)
	if file != nil {
		defer file.readers.Done()
	}
	// Asked after the look, so that a key that is not there was not there while
	// this opening was the last one.
	if err := l.admitted(); err != nil {
		return Entry{}, err
	}
	if err != nil {
		return Entry{}, err
	}
	b := make([]byte, h.length)
	if _, err := file.ReadAt(b, h.at); err != nil {
		return Entry{}, fmt.Errorf("%w: %s at byte %d: %w", ErrCorrupt, file.path, h.at, err)
	}
	r, _, err := parseRecord(b)
	if err == nil && (r.kind != kindPut || r.key != key || r.Version != h.Version) {
		err = fmt.Errorf("version %s of %.40q is there, not %s", r.Version, r.key, h.Version)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %s at byte %d: %w", ErrCorrupt, file.path, h.at, err)
	}
	return Entry{r.Version, r.value}, nil
}

// find returns where a key's value is; the caller ends the read of file.
func (l *Log) find(key string) (head, *segment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return head{}, nil, ErrClosed
	}
	h, ok := l.heads[key]
	if !ok {
		return head{}, nil, ErrNotFound
	}
	l.file.readers.Add(1)
	return h, l.file, nil
}

// close waits for the reads and closes the file.
func (s *segment) close() error {
	s.readers.Wait()
	return s.Close()
}
