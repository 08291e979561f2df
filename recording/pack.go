package recording

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// packAll makes segments of the journals that are no longer written, then keeps
// to the limits.
func (r *Recorder) packAll() { r.packState(errors.Join(r.packJournals(), r.keep())) }

// packJournals packs every journal that it can.
func (r *Recorder) packJournals() (err error) {
	files, err := listStored(r.cfg.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		content, id, ok := parseJournal(filepath.Base(f.path))
		if !ok || r.open(f.path) {
			continue
		}
		if e := r.pack(f.path, content, id); e != nil {
			err = errors.Join(err, fmt.Errorf("pack %s: %w", f.path, e))
		}
	}
	return err
}

// packState logs when packing begins and ceases to fail, once each.
func (r *Recorder) packState(err error) {
	switch {
	case err != nil && !r.unpacked:
		r.cfg.Logger.Warn("recorded telemetry cannot be packed, or kept to its limits; it stays in its journals, which are tried again at each turn", "dir", r.cfg.Dir, "error", err)
	case err == nil && r.unpacked:
		r.cfg.Logger.Info("recorded telemetry is packed again", "dir", r.cfg.Dir)
	}
	r.unpacked = err != nil
}

// open tells whether a journal is still written.
func (r *Recorder) open(path string) bool {
	for _, s := range r.streams {
		if s.file.Name() == path {
			return true
		}
	}
	return false
}

// pack makes the segments of a journal and removes it. Where a crash comes
// between, the next packing makes the same files again.
func (r *Recorder) pack(path string, content Content, id string) error {
	b, err := readJournal(path)
	if err != nil {
		return err
	}
	if b.damaged > 0 {
		r.cfg.Logger.Warn("lines of recorded telemetry were damaged, by a crash or the disk; the others are kept", "journal", path, "lines", b.damaged)
	}
	for _, kind := range b.kinds() {
		if err := b.write(filepath.Join(r.cfg.Dir, segmentName(content, kind, id)), content, kind); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// leapStands is for how long files must have been written after the clock leapt
// by more than that, until it is believed.
const leapStands = 24 * time.Hour

// believed returns the time that files are old by. A clock that has leapt ahead
// is wrong for a while, as mostly after a start, or right after a time without
// power; what would be removed by a wrong one cannot be had again. So a time of
// which the files know less than a day is not believed yet: they are old by the
// last one before the leap.
func believed(files []stored, now time.Time) time.Time {
	var times []time.Time
	for _, f := range files {
		if !f.changed.After(now) {
			times = append(times, f.changed)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	after := now // the oldest time since the leap
	for _, before := range slices.Backward(times) {
		if after.Sub(before) > leapStands {
			if now.Sub(after) < leapStands {
				return before
			}
			break
		}
		after = before
	}
	return now
}

// keep removes what is too old and, the oldest first, what is too much. A
// quarter of the size is left for journals and the segments made from them, so
// that the limit holds at every moment.
func (r *Recorder) keep() error {
	files, err := listStored(r.cfg.Dir)
	if err != nil {
		return err
	}
	var total int64
	for _, f := range files {
		total += f.size
	}
	limit, oldest := r.cfg.MaxSize-r.cfg.MaxSize/4, believed(files, r.cfg.Now()).Add(-r.cfg.MaxAge)
	for _, f := range files {
		if total <= limit && !f.changed.Before(oldest) || r.open(f.path) {
			continue
		}
		if err := os.Remove(f.path); err != nil {
			return err
		}
		r.cfg.Logger.Debug("recorded telemetry removed", "file", f.path, "size", bytesText(f.size))
		total -= f.size
	}
	r.mu.Lock()
	r.stats.Bytes = total
	r.mu.Unlock()
	return nil
}
