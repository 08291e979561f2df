package keyed

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

const (
	lockName   = "LOCK"
	logPrefix  = "keyed-"
	logSuffix  = ".log"
	tempSuffix = ".tmp"
)

// OpenLog opens the space in dir, which it makes, for the run with that epoch,
// and ends what any older or equal run had opened. Everything on disk is
// verified: an end of the log that is not whole, as a crash leaves of a write that
// was not acknowledged, is taken away, and the logger told; other damage, and a
// log that has vanished, wrap [ErrCorrupt]. An epoch below the one that
// opened the space before wraps [forestall.ErrStaleEpoch].
func OpenLog(dir string, epoch forestall.Epoch, logger *slog.Logger) (*Log, error) {
	l, err := openLog(dir, epoch, logger)
	if err != nil {
		return nil, fmt.Errorf("open keyed state %s: %w", dir, err)
	}
	return l, nil
}

func openLog(dir string, epoch forestall.Epoch, logger *slog.Logger) (_ *Log, err error) {
	if _, err := durable.MakeDirs(durable.OS{}, dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{dir: dir, logger: logger, heads: make(map[string]head), refused: make(map[uint64]error)}
	if l.lock, err = os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.lock.Close())
			if l.file != nil {
				err = errors.Join(err, l.file.Close())
			}
		}
	}()
	unlock, err := lockFile(l.lock)
	if err != nil {
		return nil, err
	}
	defer unlock()
	number, err := newestLog(dir)
	if err != nil {
		return nil, err
	}
	if number == 0 {
		number = 1
		if err := begin(dir); err != nil {
			return nil, err
		}
	}
	if l.fence, err = raise(dir, epoch); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(logPath(dir, number), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	l.file = &segment{File: f, path: f.Name(), number: number}
	return l, l.load()
}

// begin makes the first log of a space, before its fence, so that a fence without
// a log tells that one has vanished.
func begin(dir string) error {
	f, err := readFence(dir)
	if err != nil {
		return err
	}
	if f.opening > 0 {
		return fmt.Errorf("%w: %s has vanished, and with it what was written: the space was opened before (%s, opening %d); put the log back from where the directory is kept a second time or, "+
			"if nothing was written yet or all can be missed and no earlier run is alive, remove %[3]s",
			ErrCorrupt, filepath.Join(dir, logPrefix+"*"+logSuffix), filepath.Join(dir, fenceName), f.opening)
	}
	return replace(logPath(dir, 1), logHead())
}

func logHead() []byte { return append([]byte(logMagic), logVersion, 0, 0, 0) }

func logPath(dir string, number uint64) string {
	return filepath.Join(dir, logPrefix+strconv.FormatUint(number, 10)+logSuffix)
}

// newestLog returns the highest number of a log file, having removed what
// compactions that were cut off have left; 0: there is none.
func newestLog(dir string) (newest uint64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var old []uint64
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tempSuffix) {
			os.Remove(filepath.Join(dir, e.Name()))
			continue
		}
		middle, ok := strings.CutPrefix(e.Name(), logPrefix)
		middle, isLog := strings.CutSuffix(middle, logSuffix)
		n, err := strconv.ParseUint(middle, 10, 64)
		if !ok || !isLog || err != nil || n == 0 {
			continue
		}
		old = append(old, n)
		newest = max(newest, n)
	}
	for _, n := range old {
		if n != newest {
			os.Remove(logPath(dir, n))
		}
	}
	return newest, nil
}

// load reads and verifies the file.
func (l *Log) load() error {
	fi, err := l.file.Stat()
	if err != nil {
		return err
	}
	end := fi.Size()
	head, err := l.file.piece(nil, 0, min(end, logHeader))
	if err != nil {
		return err
	}
	if !bytes.Equal(head, logHead()) {
		return fmt.Errorf("%w: %s is not a log of version %d", ErrCorrupt, l.file.path, logVersion)
	}
	var buf []byte
	at := int64(logHeader)
	for at < end {
		if buf, err = l.file.piece(buf, at, min(end-at, headerLen)); err != nil {
			return err
		}
		if n := frameLen(buf); n <= end-at {
			if buf, err = l.file.piece(buf, at, n); err != nil {
				return err
			}
		}
		body, _, err := unseal(buf, maxFrame)
		if err != nil {
			return l.cutTail(at, end, err)
		}
		if err := l.loadFrame(body, at+headerLen); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCorrupt, l.file.path, err)
		}
		l.garbage += headerLen
		at += int64(len(buf))
	}
	l.file.size, l.synced = at, l.last
	return nil
}

// piece reads n bytes at at, into buf when it has room.
func (s *segment) piece(buf []byte, at, n int64) ([]byte, error) {
	buf = slices.Grow(buf[:0], int(n))[:n]
	if _, err := s.ReadAt(buf, at); err != nil {
		return nil, fmt.Errorf("read %s at byte %d: %w", s.path, at, err)
	}
	return buf, nil
}

func (l *Log) loadFrame(body []byte, at int64) error {
	for len(body) > 0 {
		r, rest, err := parseRecord(body)
		if err != nil {
			return fmt.Errorf("record at byte %d: %w", at, err)
		}
		if r.Epoch > l.fence.epoch || r.Sequence < l.last || r.Sequence == l.last && r.kind != kindMark {
			return fmt.Errorf("record at byte %d: version %s follows sequence %d of epoch %s at most", at, r.Version, l.last, l.fence.epoch)
		}
		l.last = r.Sequence
		length := int64(len(body) - len(rest))
		l.apply(r, at, length)
		at += length
		body = rest
	}
	return nil
}

// Close waits for writes that are under way and releases the directory.
func (l *Log) Close() error {
	l.mu.Lock()
	was := l.closed
	l.closed = true
	l.mu.Unlock()
	if was {
		return nil
	}
	l.commit.Lock()
	defer l.commit.Unlock()
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	_ = l.flush(last) // whoever wrote it waits, and is told
	return errors.Join(l.file.close(), l.lock.Close())
}
