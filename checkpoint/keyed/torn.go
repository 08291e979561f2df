package keyed

import (
	"encoding/binary"
	"fmt"
)

// A write that a crash cut off leaves a frame that is not whole, at the end of
// the log. So does rot, but that may be anywhere, and what it hit was
// acknowledged. A frame is only begun when the one before is synced: a whole
// one behind the damage means that this one was whole, too.
//
// Such a frame may begin at any byte, because a torn frame's length says
// nothing. Hashing what each byte might begin would take a time cubic in what
// is left; so what is hashed are only frames whose records fit into them to the
// byte, with the numbers that a later write of this log would have.

// cutTail takes away what a crash left of the frame at at; end is the file's.
func (l *Log) cutTail(at, end int64, why error) error {
	later, found, err := l.wholeFrame(at+1, end)
	if err != nil {
		return err
	}
	if found {
		return fmt.Errorf("%w: %s at byte %d: %w, and what was written later, at byte %d, is whole; "+
			"copy the directory from where the state is kept a second time or, if all from byte %d on can be missed, cut it off there",
			ErrCorrupt, l.file.path, at, why, later, at)
	}
	l.logger.Warn("the end of the log is not whole and is taken away: what a crash left of a write that was not acknowledged or, if the file has lost its end otherwise, of writes that were", "file", l.file.path, "at", at, "bytes", end-at, "because", why)
	if err := l.file.Truncate(at); err != nil {
		return err
	}
	l.file.size, l.synced = at, l.last
	return l.file.Sync()
}

// step is how much of the log is looked through at a time.
const step = 1 << 20

// wholeFrame looks for a whole frame that begins at from or later.
func (l *Log) wholeFrame(from, end int64) (at int64, found bool, err error) {
	var buf, frame []byte
	for ; from+2*headerLen < end; from += step {
		if buf, err = l.file.piece(buf, from, min(end-from, step+openingLen)); err != nil {
			return 0, false, err
		}
		for i := range min(len(buf), step) {
			at := from + int64(i)
			n := frameLen(buf[i:])
			if n <= headerLen || n > end-at || n > headerLen+maxFrame || !l.plausible(buf[i+headerLen:], n-headerLen) {
				continue
			}
			if fits, err := l.fits(at+headerLen, at+n); err != nil {
				return 0, false, err
			} else if !fits {
				continue
			}
			if frame, err = l.file.piece(frame, at, n); err != nil {
				return 0, false, err
			}
			if _, _, err := unseal(frame, maxFrame); err == nil {
				return at, true, nil
			}
		}
	}
	return 0, false, nil
}

// openingLen is what plausible looks at, with the header of the frame.
const openingLen = headerLen + recordOpening

// recordOpening is the most that a record has before its key: header, kind,
// epoch, sequence and the key's length.
const recordOpening = headerLen + 1 + 3*binary.MaxVarintLen64

// fits reports whether the records from at on have lengths that end together at
// end.
func (l *Log) fits(at, end int64) (bool, error) {
	buf := make([]byte, 0, recordOpening)
	for at < end {
		var err error
		if buf, err = l.file.piece(buf, at, min(end-at, recordOpening)); err != nil {
			return false, err
		}
		if !l.plausible(buf, end-at) {
			return false, nil
		}
		at += frameLen(buf)
	}
	return true, nil
}

// plausible reports whether b may begin a record that a later write has left,
// where room bytes are left for it. It hashes nothing.
func (l *Log) plausible(b []byte, room int64) bool {
	if len(b) < headerLen+1 {
		return false
	}
	n := frameLen(b)
	if n <= headerLen || n > room || n > headerLen+maxBody {
		return false
	}
	b = b[headerLen:min(int64(len(b)), n)]
	k := kind(b[0])
	if k < kindPut || k > kindMark {
		return false
	}
	var numbers [3]uint64 // epoch, sequence, length of the key
	b = b[1:]
	for i := range numbers {
		v, width := binary.Uvarint(b)
		if width <= 0 {
			return false
		}
		numbers[i], b = v, b[width:]
	}
	epoch, sequence, key := numbers[0], numbers[1], numbers[2]
	return epoch <= uint64(l.fence.epoch) && (sequence > l.last || k == kindMark && sequence == l.last) &&
		key <= MaxKey && (key == 0) == (k == kindMark)
}
