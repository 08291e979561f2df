package worker

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// Entry is one line of a journal, "unix_nanos epoch pid step": at that time the
// process was alive and had done so many steps.
type Entry struct {
	Time  time.Time
	Epoch forestall.Epoch
	PID   int
	Step  uint64
}

func (e Entry) String() string {
	return fmt.Sprintf("%d %d %d %d", e.Time.UnixNano(), e.Epoch, e.PID, e.Step)
}

func parseEntry(line string) (Entry, error) {
	var nanos int64
	var epoch, step uint64
	var pid int
	fields := strings.Fields(line)
	if len(fields) != 4 {
		return Entry{}, fmt.Errorf("%d fields, want 4: unix_nanos epoch pid step", len(fields))
	}
	nanos, err := strconv.ParseInt(fields[0], 10, 64)
	if err == nil {
		epoch, err = strconv.ParseUint(fields[1], 10, 64)
	}
	if err == nil {
		pid, err = strconv.Atoi(fields[2])
	}
	if err == nil {
		step, err = strconv.ParseUint(fields[3], 10, 64)
	}
	if err != nil {
		return Entry{}, err
	}
	return Entry{time.Unix(0, nanos).UTC(), forestall.Epoch(epoch), pid, step}, nil
}

// journal appends entries durably.
type journal struct{ f *os.File }

func openJournal(path string) (*journal, error) {
	if path == "" {
		return &journal{}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	return &journal{f}, nil
}

// add writes one entry; once it returns nil the entry is on disk.
func (j *journal) add(e Entry) error {
	if j.f == nil {
		return nil
	}
	_, err := j.f.WriteString(e.String() + "\n") // one write: lines of several processes don't mix
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// ReadJournal returns the entries of one journal file in the order written. A
// last line without its end, from a crash, is left out; any other malformed
// line is an error.
func ReadJournal(path string) ([]Entry, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	whole := b[:bytes.LastIndexByte(b, '\n')+1]
	var entries []Entry
	n := 0
	for line := range strings.Lines(string(whole)) {
		n++
		e, err := parseEntry(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// ReadJournals returns the entries of one workload's journals on several
// nodes, by time. A file that doesn't exist has none.
func ReadJournals(paths ...string) ([]Entry, error) {
	var all []Entry
	for _, path := range paths {
		entries, err := ReadJournal(path)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		all = append(all, entries...)
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// Life is one process as its entries show it. It may have lived a little
// longer than from its first entry to its last, by the time between two.
type Life struct {
	Epoch       forestall.Epoch
	PID         int
	First, Last Entry
}

// Lives returns the processes behind the entries of one workload's journals,
// by epoch, then by first entry.
func Lives(journals ...[]Entry) []Life {
	type id struct {
		epoch forestall.Epoch
		pid   int
	}
	seen := make(map[id]*Life)
	for _, e := range slices.Concat(journals...) {
		k := id{e.Epoch, e.PID}
		l := seen[k]
		if l == nil {
			seen[k] = &Life{e.Epoch, e.PID, e, e}
			continue
		}
		if e.Time.Before(l.First.Time) {
			l.First = e
		}
		if !e.Time.Before(l.Last.Time) {
			l.Last = e
		}
	}
	var lives []Life
	for _, l := range seen {
		lives = append(lives, *l)
	}
	slices.SortFunc(lives, func(a, b Life) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), a.First.Time.Compare(b.First.Time), cmp.Compare(a.PID, b.PID))
	})
	return lives
}

// Overlap is a breach of the promise: two processes of one workload that lived
// at the same time, or that had the same epoch.
type Overlap struct {
	A, B Life
	For  time.Duration // both were alive; 0 if they only share an epoch
}

func (o Overlap) String() string {
	return fmt.Sprintf("epoch %d (pid %d) and epoch %d (pid %d) were alive at once for %v", o.A.Epoch, o.A.PID, o.B.Epoch, o.B.PID, o.For)
}

// Overlaps returns every overlap in the journals of one workload. Entries of
// different hosts are compared by their clocks.
func Overlaps(journals ...[]Entry) []Overlap {
	lives := Lives(journals...)
	var found []Overlap
	for i, a := range lives {
		for _, b := range lives[i+1:] {
			from, to := a.First.Time, a.Last.Time
			if b.First.Time.After(from) {
				from = b.First.Time
			}
			if b.Last.Time.Before(to) {
				to = b.Last.Time
			}
			if !to.Before(from) || a.Epoch == b.Epoch {
				found = append(found, Overlap{a, b, max(0, to.Sub(from))})
			}
		}
	}
	return found
}

// Loss is what became of the work between one run and the next.
type Loss struct {
	From, To Life
	Redone   uint64        // steps that From had done and To did again
	Skipped  uint64        // steps that no run has done: To's state came from nowhere
	Gap      time.Duration // from the last entry of one to the first of the other
}

// Lost returns one Loss for each run of a workload that followed another, by
// epoch, those included in which nothing was lost.
func Lost(journals ...[]Entry) []Loss {
	lives := Lives(journals...)
	var losses []Loss
	for i := 1; i < len(lives); i++ {
		from, to := lives[i-1], lives[i]
		l := Loss{From: from, To: to, Gap: to.First.Time.Sub(from.Last.Time)}
		if a, b := from.Last.Step, to.First.Step; a >= b {
			l.Redone = a - b
		} else {
			l.Skipped = b - a
		}
		losses = append(losses, l)
	}
	return losses
}
