package recording

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// Part is what is wanted of a recording.
type Part struct {
	Since   map[forestall.Kind]time.Time      // from when on, by kind; other kinds are not read
	Metrics func(forestall.Kind, string) bool // which are read; nil: all
	Limit   int64                             // samples at most, about: the newest
}

// oldest is the earliest time from which anything is wanted.
func (p Part) oldest() (oldest time.Time) {
	for _, at := range p.Since {
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// Recent opens the newest samples of a recorder's directory: from is the time
// before which nothing is to be read, later than what was asked for only where
// that is more than the limit. Files that are older are not opened, however many
// there are, and columns that are not wanted are not read; a scrape of which no
// metric is wanted still counts as one. A recorder may go on writing in the
// directory. What is read is not held: a reading takes the memory of the files
// whose times overlap.
//
// Errors are those of [Read]; [ErrEmpty] if nothing is recent.
func Recent(dir string, part Part) (r *Recording, from time.Time, err error) {
	const tries = 5
	for try := 1; ; try++ {
		r, from, err = recent(dir, part)
		if !errors.Is(err, fs.ErrNotExist) || try == tries { // a journal was packed meanwhile
			return r, from, err
		}
	}
}

func recent(dir string, part Part) (*Recording, time.Time, error) {
	since := part.oldest()
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
		var wanted []source
		for _, s := range one.sources {
			s, end, n := s.(partial).part(part)
			if end.After(last) {
				last = end
			}
			if s != nil {
				samples += n
				wanted = append(wanted, s)
			}
		}
		if len(one.sources) > 0 {
			if last.Before(since) {
				break
			}
			if held += samples; held > part.Limit && len(r.sources) > 0 {
				from = last.Add(time.Millisecond)
				break
			}
			r.sources = append(r.sources, wanted...)
		}
		end = begin
	}
	if len(r.sources) == 0 {
		return nil, since, ErrEmpty
	}
	r.order()
	return r, from, nil
}

// partial is a source of which a part can be read.
type partial interface {
	// part returns the source of what is wanted, nil if it has nothing of it, when
	// the whole source ends, and about how many samples are wanted.
	part(Part) (s source, end time.Time, samples int64)
}

var (
	_ partial = segmentSource{}
	_ partial = journalSource{}
)

func (s segmentSource) part(p Part) (source, time.Time, int64) {
	since, ok := p.Since[s.s.Kind]
	if !ok || s.s.To.Before(since) {
		return nil, s.s.To, 0
	}
	one := *s.s
	if p.Metrics != nil {
		one.Metrics = nil
		for _, m := range s.s.Metrics {
			if p.Metrics(one.Kind, m) {
				one.Metrics = append(one.Metrics, m)
			}
		}
		if len(one.Metrics) == 0 { // that there was a scrape is to be told all the same
			one.Metrics = s.s.Metrics[:min(1, len(s.s.Metrics))]
		}
	}
	return segmentSource{&one}, one.To, one.Rows * int64(len(one.Metrics))
}

func (j journalSource) part(p Part) (source, time.Time, int64) {
	want := j.want
	j.only = p.Metrics
	j.want = func(k forestall.Kind) bool { _, ok := p.Since[k]; return ok && want(k) }
	end := time.UnixMilli(j.batch.scrapes[len(j.batch.scrapes)-1].ms).UTC()
	for _, s := range j.batch.scrapes {
		if j.want(j.batch.components[s.component].Kind) {
			return j, end, int64(len(j.batch.cells))
		}
	}
	return nil, end, 0
}
