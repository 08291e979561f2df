package recording

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Recent opens the samples of a recorder's directory that were scraped at since
// or later, and at most about limit of them, the newest: from is the time before
// which nothing is to be read. Files that are older are not opened, however many
// there are. A recorder may go on writing in the directory.
//
// Errors are those of [Read]; [ErrEmpty] if nothing is recent.
func Recent(dir string, since time.Time, limit int64) (r *Recording, from time.Time, err error) {
	const tries = 5
	for try := 1; ; try++ {
		r, from, err = recent(dir, since, limit)
		if !errors.Is(err, fs.ErrNotExist) || try == tries { // a journal was packed meanwhile
			return r, from, err
		}
	}
}

func recent(dir string, since time.Time, limit int64) (*Recording, time.Time, error) {
	files, err := listStored(dir)
	if err != nil {
		return nil, since, err
	}
	r := &Recording{path: dir, content: Samples}
	from := since
	held := int64(0)
	// The files of one ID stand together and are read as one: a journal and its
	// segments may both be there.
	for end := len(files); end > 0; {
		begin := end - 1
		for begin > 0 && files[begin-1].id == files[end-1].id {
			begin--
		}
		one := &Recording{path: dir, content: Samples}
		for _, f := range files[begin:end] {
			if !strings.HasPrefix(filepath.Base(f.path), string(Samples)+"-") {
				continue
			}
			if err := one.add(f.path, false); err != nil {
				return nil, since, err
			}
		}
		if err := one.settled(); err != nil {
			return nil, since, err
		}
		last, samples := time.Time{}, int64(0)
		for _, s := range one.sources {
			end, n := s.(sized).size()
			samples += n
			if end.After(last) {
				last = end
			}
		}
		if len(one.sources) > 0 {
			if last.Before(since) {
				break
			}
			if held += samples; held > limit && len(r.sources) > 0 {
				from = last.Add(time.Millisecond)
				break
			}
			r.sources = append(r.sources, one.sources...)
		}
		end = begin
	}
	if len(r.sources) == 0 {
		return nil, since, ErrEmpty
	}
	slices.SortStableFunc(r.sources, func(a, b source) int {
		return cmp.Or(a.begins().Compare(b.begins()), strings.Compare(a.name(), b.name()))
	})
	return r, from, nil
}

// sized is a source that knows when it ends and about how many samples it has.
type sized interface {
	size() (end time.Time, samples int64)
}

var (
	_ sized = segmentSource{}
	_ sized = journalSource{}
)

func (s segmentSource) size() (time.Time, int64) {
	return s.s.To, s.s.Rows * int64(len(s.s.Metrics))
}

func (j journalSource) size() (time.Time, int64) {
	return time.UnixMilli(j.batch.scrapes[len(j.batch.scrapes)-1].ms).UTC(), int64(len(j.batch.cells))
}
