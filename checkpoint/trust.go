package checkpoint

import (
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// trust says of which files the times tell every write. Where it is not known that
// they do, everything is read.
type trust struct {
	stamps bool          // the source's file system moves them for every write to a clean page
	dev    uint64        // that of the source; what is mounted below it is not known
	quiet  time.Duration // how long a file must have rested for its ident to be trusted at the next scan
}

// trustIn looks at a state directory and at how long the kernel keeps pages dirty.
func trustIn(source string) trust {
	fi, err := os.Stat(source)
	if err != nil || !stampsWrites(source) {
		return trust{}
	}
	quiet, ends := dirtyTime()
	return trust{stamps: ends, dev: identOf(fi).dev, quiet: quiet}
}

// ident returns the ident of a file by which the next scan may leave it unread,
// zero when it may not.
func (t trust) ident(fi fs.FileInfo, now time.Time) ident {
	if id := identOf(fi); t.of(id) && id.ctime < now.Add(-t.quiet).UnixNano() {
		return id
	}
	return ident{}
}

// of reports whether the times of that file tell.
func (t trust) of(id ident) bool { return t.stamps && id.dev == t.dev }

// quiet is how long a file must have rested at least: longer than the kernel keeps
// a page dirty by default (30 s and 5 s), because writes through a mapping to a
// page that is dirty already move no ctime, and longer than any clock tick.
const quiet = time.Minute

// quietFor returns how long a file must rest where the kernel writes pages that
// were dirty for expire at the next look, and looks every writeback, both in
// hundredths of a second as Linux says them; false where it never looks, or does
// not say.
func quietFor(expire, writeback string) (time.Duration, bool) {
	var sum time.Duration
	for _, s := range []string{expire, writeback} {
		n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
		if err != nil {
			return 0, false
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	if strings.TrimSpace(writeback) == "0" {
		return 0, false
	}
	const spare = quiet - 35*time.Second
	return max(quiet, sum+spare), true
}

// tellUntrusted says once that a source is read whole at every checkpoint.
func (d *Dir) tellUntrusted(source string) {
	if t := trustIn(source); t.stamps {
		return
	}
	if _, told := d.untrusted.LoadOrStore(source, true); !told {
		d.opt.Logger.Info("every file is read at every checkpoint: it is not known that this file system, or the kernel's settings for writing back, show each write in a file's times", "source", source)
	}
}
