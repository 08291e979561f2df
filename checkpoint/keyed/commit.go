package keyed

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/stratoswarm/forestall"
)

// flush returns once the write with that sequence is on disk: it writes and
// syncs what is queued, which may be many writers', unless another has. The
// caller holds l.commit.
func (l *Log) flush(sequence uint64) error {
	for {
		batch, err := l.batch(sequence)
		if err != nil || len(batch) == 0 {
			return err
		}
		err = l.append(batch)
		switch {
		case errors.Is(err, errNoRoom):
			l.refuse(batch, err)
		case err != nil:
			return l.breakDown(err)
		}
	}
}

// errNoRoom says that a write did not fit and that nothing is left of it.
var errNoRoom = errors.New("it was not written, and what was written before is untouched")

// refuse tells those who wait for a batch that it was not written. The space goes
// on: as soon as there is room, writes succeed again.
func (l *Log) refuse(batch []queued, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range batch {
		l.refused[q.Sequence] = err
	}
}

// batch takes what fits into a frame from the queue; nothing when the write
// with that sequence is on disk.
func (l *Log) batch(sequence uint64) (batch []queued, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err, ok := l.refused[sequence]; ok {
		delete(l.refused, sequence)
		return nil, err
	}
	if l.synced >= sequence {
		return nil, nil
	}
	if l.broken != nil {
		return nil, l.broken
	}
	n, bytes := 0, 0
	for n < len(l.queue) && (n == 0 || bytes+len(l.queue[n].encoded) <= maxFrame) {
		bytes += len(l.queue[n].encoded)
		n++
	}
	batch, l.queue = l.queue[:n:n], l.queue[n:]
	return batch, nil
}

// append writes a batch as one frame, syncs it, and makes it count. That a frame
// is only begun when the one before is synced is what tells a frame that was
// torn by a crash, behind which there is nothing, from one that rotted.
func (l *Log) append(batch []queued) error {
	unlock, err := l.exclusively()
	if err != nil {
		return err
	}
	defer unlock()
	frame := appendHeader(nil)
	for _, q := range batch {
		frame = append(frame, q.encoded...)
	}
	seal(frame)
	at := l.file.size
	if _, err := l.file.WriteAt(frame, at); err != nil {
		return l.takeBack(at, err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file.size = at + int64(len(frame))
	l.garbage += headerLen
	at += headerLen
	for _, q := range batch {
		l.apply(q.record, at, int64(len(q.encoded)))
		at += int64(len(q.encoded))
	}
	l.synced = batch[len(batch)-1].Sequence
	return nil
}

// takeBack removes what was written of a frame that did not fit.
func (l *Log) takeBack(at int64, why error) error {
	if !errors.Is(why, syscall.ENOSPC) && !errors.Is(why, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrUncertain, why)
	}
	if err := errors.Join(l.file.Truncate(at), l.file.Sync()); err != nil {
		return fmt.Errorf("%w: %w; %w", ErrUncertain, why, err)
	}
	return fmt.Errorf("%w: %w; make room on the file system of %s", errNoRoom, why, l.dir)
}

// apply makes a record that is on disk count. The caller holds l.mu.
func (l *Log) apply(r record, at, length int64) {
	if r.kind == kindMark {
		l.garbage += length
		return
	}
	if old, ok := l.heads[r.key]; ok {
		l.live -= old.length
		l.garbage += old.length
		delete(l.heads, r.key)
	}
	if r.kind == kindDelete {
		l.garbage += length
		return
	}
	l.heads[r.key] = head{r.Version, at, length}
	l.live += length
}

// breakDown ends all writing: after a failed write or sync nobody knows what is
// on disk until the file is read anew, and an opening that another has followed
// has no say any more.
func (l *Log) breakDown(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !errors.Is(err, forestall.ErrStaleEpoch) {
		err = fmt.Errorf("%w; open the keyed state anew", err)
	}
	l.broken, l.queue = err, nil
	return err
}
