package keyed

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/stratoswarm/forestall/internal/durable"
)

// slackBytes is how much garbage a log may hold beside once its live bytes.
const slackBytes = 4 << 20

// compactIfWorthwhile writes the log anew once most of it is garbage, so that a
// log has at most twice its live bytes and slackBytes. The caller holds
// l.commit.
func (l *Log) compactIfWorthwhile() {
	l.mu.Lock()
	worthwhile := l.broken == nil && l.garbage > l.live+slackBytes
	l.mu.Unlock()
	if !worthwhile {
		return
	}
	if err := l.compact(); err != nil {
		l.logger.Error("compact keyed state", "directory", l.dir, "error", err)
		// The old file goes on; another try is worth while after as much again.
		l.mu.Lock()
		l.garbage = 0
		l.mu.Unlock()
	}
}

func (l *Log) compact() (err error) {
	unlock, err := l.exclusively()
	if err != nil {
		return err
	}
	defer unlock()
	number := l.file.number + 1
	path := logPath(l.dir, number)
	f, err := os.OpenFile(path+tempSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			os.Remove(path + tempSuffix)
		}
	}()
	c := compaction{file: f}
	if err := c.copyHeads(l); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path+tempSuffix, path); err != nil {
		return err
	}
	if err := (durable.OS{}).SyncDir(l.dir); err != nil {
		return l.breakDown(err) // which of the two files the next opening finds is not known
	}
	l.mu.Lock()
	old := l.file
	l.file = &segment{File: f, path: path, number: number, size: c.size}
	l.heads, l.garbage = c.heads, c.size-l.live
	l.mu.Unlock()
	if err := errors.Join(old.close(), os.Remove(old.path)); err != nil {
		l.logger.Warn("remove what a compaction has replaced", "error", err)
	}
	return nil
}

// compaction writes a file of heads.
type compaction struct {
	file  *os.File
	size  int64
	heads map[string]head
	frame []byte
}

// copyHeads copies every head, verified, in the order of the writes.
func (c *compaction) copyHeads(l *Log) error {
	type at struct {
		key string
		head
	}
	l.mu.Lock()
	all := make([]at, 0, len(l.heads))
	for key, h := range l.heads {
		all = append(all, at{key, h})
	}
	mark := record{kind: kindMark, Version: Version{l.fence.epoch, l.synced}}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b at) int { return cmp.Compare(a.Sequence, b.Sequence) })

	c.heads = make(map[string]head, len(all))
	if err := c.write(logHead()); err != nil {
		return err
	}
	c.frame = appendHeader(nil)
	for _, a := range all {
		from := len(c.frame)
		c.frame = append(c.frame, make([]byte, a.length)...)
		if _, err := l.file.ReadAt(c.frame[from:], a.at); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if r, _, err := parseRecord(c.frame[from:]); err != nil || r.key != a.key || r.Version != a.Version {
			return fmt.Errorf("%w: %s at byte %d: the value of %.40q is damaged", ErrCorrupt, l.file.path, a.at, a.key)
		}
		c.heads[a.key] = head{a.Version, c.size + int64(from), a.length}
		if len(c.frame) > 1<<20 {
			if err := c.endFrame(); err != nil {
				return err
			}
		}
	}
	c.frame = appendRecord(c.frame, mark)
	return c.endFrame()
}

func (c *compaction) endFrame() error {
	seal(c.frame)
	err := c.write(c.frame)
	c.frame = appendHeader(c.frame[:0])
	return err
}

func (c *compaction) write(b []byte) error {
	n, err := c.file.Write(b)
	c.size += int64(n)
	return err
}
