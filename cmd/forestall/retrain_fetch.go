package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/recording"
)

// fetchTries is how often a file is asked for before its node counts as gone.
const fetchTries = 5

// unfinished ends the name of a file that is being fetched.
const unfinished = ".part"

// fetcher brings the nodes' recordings into one directory, with a directory for
// each node.
type fetcher struct {
	g     *globals
	api   *api.Client
	dir   string
	limit int64                                      // bytes that the directory may hold
	pause func(ctx context.Context, d time.Duration) // before another try
	bar   fetchProgress
}

// fetched is what came of it.
type fetched struct {
	nodes   int      // of which everything is there
	missing []string // nodes of which something is missing, and why
	bytes   int64    // received
	held    int64    // in the directory
}

// fetch brings what the nodes have recorded of a kind since a time. What is there
// from an earlier run is not fetched again, what is older is removed, and what
// broke off goes on where it did. A node that does not answer is named; that none
// does is an error.
func (f *fetcher) fetch(kind forestall.Kind, since time.Time) (got fetched, err error) {
	nodes, err := f.api.Recordings(f.g.ctx, kind, since)
	if err != nil {
		return got, err
	}
	for _, n := range nodes {
		for _, file := range n.Files {
			got.held += file.Size
		}
	}
	if got.held > f.limit {
		return got, fmt.Errorf("the recordings of %d nodes since %s take %s, more than --fetch-limit %s: raise it, or ask for fewer --days",
			len(nodes), timeText(since), textBytes(got.held), textBytes(f.limit))
	}
	f.bar = newFetchProgress(f.g, got.held)
	defer f.bar.end()
	for _, n := range nodes {
		if forestall.CheckName(n.Node) != nil {
			continue
		}
		err := errors.New(n.Error)
		if n.Error == "" {
			err = f.node(n, kind, since, &got)
		}
		if f.g.ctx.Err() != nil {
			return got, f.g.ctx.Err()
		}
		if err == nil {
			got.nodes++
		} else {
			got.missing = append(got.missing, fmt.Sprintf("%s (%v)", n.Node, err))
		}
	}
	if got.nodes == 0 {
		return got, fmt.Errorf("no node's recording could be fetched whole: %s; --telemetry with a copy of the nodes' data_dir/telemetry does without", strings.Join(got.missing, "; "))
	}
	return got, nil
}

// node brings the files of one node.
func (f *fetcher) node(n api.NodeRecording, kind forestall.Kind, since time.Time, got *fetched) error {
	dir := filepath.Join(f.dir, n.Node)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for again := false; ; again = true {
		wanted := map[string]bool{}
		err := error(nil)
		for _, file := range n.Files {
			if !recording.IsFile(file.Name) {
				continue
			}
			wanted[file.Name], wanted[file.Name+unfinished] = true, true
			if err = f.file(dir, n.Node, file, got); err != nil {
				break
			}
		}
		if err == nil || again || !errors.Is(err, api.ErrNotFound) {
			return errors.Join(err, f.sweep(dir, wanted, err == nil))
		}
		// A journal was packed meanwhile: its segments are there instead.
		nodes, e := f.api.Recordings(f.g.ctx, kind, since)
		if e != nil {
			return e
		}
		for _, other := range nodes {
			if other.Node == n.Node {
				n = other
			}
		}
	}
}

// sweep removes files of a recording that are wanted no more: those before the
// span, and journals that were packed.
func (f *fetcher) sweep(dir string, wanted map[string]bool, whole bool) error {
	if !whole {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if !wanted[name] && recording.IsFile(strings.TrimSuffix(name, unfinished)) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// file brings one file, unless it is there. A journal grows, and is always
// fetched.
func (f *fetcher) file(dir, node string, file api.RecordingFile, got *fetched) error {
	path := filepath.Join(dir, file.Name)
	segment := strings.HasSuffix(file.Name, ".parquet")
	if info, err := os.Stat(path); segment && err == nil && info.Size() == file.Size {
		f.bar.add(file.Size)
		return nil
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if !segment {
		flags |= os.O_TRUNC
	}
	out, err := os.OpenFile(path+unfinished, flags, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	at, err := out.Seek(0, io.SeekEnd)
	if err == nil && at > file.Size { // of another file of that name
		at, err = 0, out.Truncate(0)
	}
	if err != nil {
		return err
	}
	f.bar.add(at)
	for try := 1; at < file.Size; try++ {
		w := &countingWriter{w: out, told: f.bar.add}
		err = f.api.Recording(f.g.ctx, w, node, file.Name, at, file.Size-at)
		at, got.bytes = at+w.n, got.bytes+w.n
		switch {
		case err == nil:
		case f.g.ctx.Err() != nil || errors.Is(err, api.ErrNotFound) || w.failed || try >= fetchTries && w.n == 0:
			return err
		default:
			if w.n > 0 {
				try = 0 // it goes on, if by pieces
			}
			f.pause(f.g.ctx, time.Duration(min(max(try, 1), 4))*time.Second)
		}
	}
	if segment {
		err = out.Sync()
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(path+unfinished, path)
}

// countingWriter knows how much was written and whether that failed.
type countingWriter struct {
	w      io.Writer
	n      int64
	failed bool
	told   func(int64)
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.failed = err != nil
	c.told(int64(n))
	return n, err
}

// fetchProgress tells how far the fetching is, as importProgress does.
type fetchProgress struct {
	g           *globals
	terminal    bool
	told        time.Time
	done, total int64
	open        bool
}

func newFetchProgress(g *globals, total int64) fetchProgress {
	return fetchProgress{g: g, terminal: terminal(g.err) != nil, told: g.now(), total: total}
}

func (p *fetchProgress) add(n int64) {
	p.done += n
	every := 30 * time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	if p.total == 0 || p.g.now().Sub(p.told) < every {
		return
	}
	p.told = p.g.now()
	line := fmt.Sprintf("%3.0f %%  fetched %s of %s", 100*min(1, float64(p.done)/float64(p.total)), textBytes(p.done), textBytes(p.total))
	if p.terminal {
		fmt.Fprintf(p.g.err, "\r%s\x1b[K", line)
		p.open = true
		return
	}
	fmt.Fprintln(p.g.err, line)
}

func (p *fetchProgress) end() {
	if p.open {
		fmt.Fprintln(p.g.err)
		p.open = false
	}
}

// sleepOr waits, or until ctx ends.
func sleepOr(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// fetchTelemetry has --telemetry name what the nodes have recorded: in --fetch,
// which is kept, or in a directory of this run. It returns what is to be said of
// it.
func (c *retrainCmd) fetchTelemetry(g *globals, kind forestall.Kind, own string) (said string, err error) {
	if c.Fetch == "" {
		c.Fetch = own
	}
	if err := os.MkdirAll(c.Fetch, 0o755); err != nil {
		return "", err
	}
	f := &fetcher{g: g, api: c.client(), dir: c.Fetch, limit: c.FetchLimit << 30, pause: sleepOr}
	got, err := f.fetch(kind, g.now().Add(-time.Duration(c.Days*24*float64(time.Hour))))
	if err != nil {
		return "", err
	}
	c.Telemetry = c.Fetch
	fmt.Fprintf(g.err, "forestall: the recordings of %s are in %s: %s, of which %s were fetched now\n", textCount(got.nodes, "node"), c.Fetch, textBytes(got.held), textBytes(got.bytes))
	if len(got.missing) == 0 {
		return "", nil
	}
	said = "without what is missing of " + strings.Join(got.missing, "; ")
	fmt.Fprintf(g.err, "forestall: %s\n", said)
	return said, nil
}
