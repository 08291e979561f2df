package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall/detect"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
)

// How soon a last XID that has changed is on disk, and how often the times of those
// that have not are.
const (
	xidsChanged = 2 * time.Second
	xidsAtRest  = 5 * time.Minute
)

// lastXIDs keeps in a file what targets gave as the last XIDs of GPUs, so that one
// that comes while the engine is down is news.
type lastXIDs struct {
	features.LastXIDs
	file  string
	saved time.Time // zero: there is nothing to save
	dirty bool
	err   error // of the newest attempt
	now   func() time.Time
	log   *slog.Logger
}

// openLastXIDs reads the file. One that cannot be read is put aside: what is on pages
// then counts as old.
func openLastXIDs(dataDir string, now func() time.Time, log *slog.Logger) (*lastXIDs, error) {
	l := &lastXIDs{file: filepath.Join(dataDir, "xids"), now: now, log: log}
	b, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	if err := l.Decode(b); err != nil {
		aside := l.file + ".unreadable"
		if err := os.Rename(l.file, aside); err != nil {
			return nil, err
		}
		log.Error("the last XIDs that were read before are not known: those that came since are not told from older ones", "file", aside, "error", err)
		return l, nil
	}
	l.saved = now()
	return l, nil
}

// Run saves what has changed, and all at the end.
func (l *lastXIDs) Run(ctx context.Context) error {
	every(ctx, xidsChanged, func() { l.save(false) })
	l.save(true)
	return nil
}

func (l *lastXIDs) save(all bool) {
	now := l.now()
	l.dirty = l.Changed() || l.dirty
	if !l.dirty && (l.saved.IsZero() || !all && now.Sub(l.saved) < xidsAtRest) {
		return
	}
	err := model.ReplaceFile(l.file, l.Encode(now))
	switch {
	case err == nil:
		l.saved, l.dirty = now, false
	case l.err == nil:
		l.log.Error("the last XIDs of GPUs are not saved; those that come while this engine is down will not be told from older ones", "file", l.file, "error", err)
	}
	l.err = err
}

// note names the GPUs that had an XID of those that need a reset when they were read
// for the first time. It may be as old as the driver's start, also where the GPU
// works, and is no failure therefore.
func (l *lastXIDs) note() string {
	var lines []string
	for c, codes := range l.Aged() {
		for _, code := range codes {
			if x, ok := detect.LookupXID(code); ok && x.Fatal {
				lines = append(lines, fmt.Sprintf("%s (%s)", c, x))
			}
		}
	}
	if len(lines) == 0 {
		return ""
	}
	slices.Sort(lines)
	const most = 8
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most], fmt.Sprintf("%d more", more))
	}
	return "XIDs that were there when their GPUs were read for the first time, may be as old as the driver's start and count as no failures: " + strings.Join(lines, ", ")
}
