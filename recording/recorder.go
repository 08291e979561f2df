package recording

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// Config says where a recorder writes and how much it keeps.
type Config struct {
	Dir     string        // made if it is not there; of this recorder alone
	MaxSize int64         // bytes that the directory may hold; the oldest go first
	MaxAge  time.Duration // older files are removed

	SegmentAge     time.Duration // a journal is packed after this time
	SegmentSamples int           // or once it holds so many samples; packing takes about 24 bytes of memory for each
	Sync           time.Duration // between writes to the disk: what a crash of the node can lose

	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
}

// MinSize is the least that MaxSize may be: below it there is no room for
// journals beside their segments.
const MinSize = 16 << 20

// maxPending bounds what waits for the disk, in bytes; scrapes beyond are
// dropped, so that a hung disk costs neither memory nor time.
const maxPending = 8 << 20

// DefaultConfig returns the configuration of a recorder that is given no other,
// all but the directory.
func DefaultConfig() Config {
	return Config{
		MaxSize: 1 << 30, MaxAge: 90 * 24 * time.Hour,
		SegmentAge: time.Hour, SegmentSamples: 1 << 20, Sync: 10 * time.Second,
	}
}

// Validate names the first field that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("recording: Dir is empty")
	case c.MaxSize < MinSize:
		return fmt.Errorf("recording: MaxSize is %d bytes; at least %d are needed", c.MaxSize, MinSize)
	case c.MaxAge <= 0 || c.SegmentAge <= 0 || c.Sync <= 0:
		return fmt.Errorf("recording: MaxAge %v, SegmentAge %v and Sync %v must be positive", c.MaxAge, c.SegmentAge, c.Sync)
	case c.SegmentSamples < 1 || c.SegmentSamples > 1<<26:
		return fmt.Errorf("recording: SegmentSamples is %d; it must be between 1 and %d", c.SegmentSamples, 1<<26)
	}
	return nil
}

// ErrInUse says that another recorder has the directory.
var ErrInUse = errors.New("the recording is in use by another engine")

// Recorder writes a recording. Record never waits for the disk: [Recorder.Run]
// writes what has been recorded, packs it and keeps to the limits. Record is
// safe for concurrent use.
type Recorder struct {
	cfg  Config
	lock *os.File

	mu      sync.Mutex
	pending map[Content]*lines
	stats   Stats
	wake    chan struct{}

	disk      sync.Mutex // of what follows: held while the disk is written
	streams   map[Content]*stream
	lastID    string
	failing   bool  // the last write went wrong
	unwritten error // why
	faults    faults
	unpacked  bool // the last packing did
}

// lines are scrapes that wait to be written.
type lines struct {
	text    []byte
	samples int
	refused bool // the disk did not take it; it is tried again at the next tick
}

// stream is an open journal.
type stream struct {
	file    *os.File
	begun   time.Time
	size    int64 // written, whole lines
	samples int
	torn    bool // there is more behind size, which is to be cut off before anything is written
}

// Stats is what a recorder has done since it was opened.
type Stats struct {
	Samples uint64 // taken to be written, latencies apart
	Dropped uint64 // scrapes that were not taken, because the disk did not keep up
	Bytes   int64  // the files held when the limits were last kept to
}

// Open takes the directory. It removes what a crash has left unfinished; what
// was not packed then, Run packs first. The error wraps [ErrInUse] if another
// recorder has it.
func Open(cfg Config) (*Recorder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cfg.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open recording %s: %w", cfg.Dir, ErrInUse)
	}
	r := &Recorder{cfg: cfg, lock: lock, pending: map[Content]*lines{}, streams: map[Content]*stream{}, wake: make(chan struct{}, 1)}
	if err := r.sweep(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open recording: %w", err)
	}
	return r, nil
}

// sweep removes temporary files.
func (r *Recorder) sweep() error {
	entries, err := os.ReadDir(r.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), temporary); ok && ours(name) {
			os.Remove(filepath.Join(r.cfg.Dir, e.Name()))
		}
	}
	return nil
}

// Record takes a scrape of c at t: its samples and how long it took, negative if
// that was not measured. A scrape without samples says that the component was
// asked and reported nothing. Of one component scrapes come in the order of
// time, as [features.Store] demands. Nothing is kept of the arguments.
func (r *Recorder) Record(c forestall.Component, t time.Time, samples []forestall.Sample, latency time.Duration) {
	r.append(Samples, len(samples), func(b []byte) []byte { return features.AppendScrape(b, c, t, samples, latency) })
}

// RecordVector takes a vector that was scored: the values of the named features.
func (r *Recorder) RecordVector(c forestall.Component, t time.Time, names []string, vector []float64) {
	samples := make([]forestall.Sample, len(names))
	for i, name := range names {
		samples[i] = forestall.Sample{Metric: name, Value: vector[i]}
	}
	r.append(Vectors, len(samples), func(b []byte) []byte { return features.AppendScrape(b, c, t, samples, -1) })
}

func (r *Recorder) append(content Content, samples int, write func([]byte) []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pending[content]
	if p == nil {
		p = &lines{}
		r.pending[content] = p
	}
	if len(p.text) > maxPending {
		r.stats.Dropped++
		return
	}
	p.text = write(p.text)
	p.samples += samples
	r.stats.Samples += uint64(samples)
	if len(p.text) > maxPending/16 && !p.refused {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// Stats returns what has been done.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Run writes until ctx ends. A full or failing disk is logged once and does not
// end it: recording goes on when the disk does.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(r.cfg.Sync)
	defer tick.Stop()
	r.locked(r.packAll)
	for {
		select {
		case <-ctx.Done():
			r.locked(func() {
				r.flush()
				for content, s := range r.streams {
					s.file.Close()
					delete(r.streams, content)
				}
			})
			return nil
		case <-tick.C:
		case <-r.wake:
		}
		r.locked(func() {
			r.flush()
			r.rotate()
		})
	}
}

func (r *Recorder) locked(do func()) {
	r.disk.Lock()
	defer r.disk.Unlock()
	do()
}

// Flush writes what has been recorded until now, so that it can be read. It waits
// for a packing that is under way.
func (r *Recorder) Flush() (err error) {
	r.locked(func() {
		r.flush()
		err = r.unwritten
	})
	return err
}

// Close gives the directory back. It is called after Run.
func (r *Recorder) Close() error { return r.lock.Close() }

// flush writes and syncs what is pending.
func (r *Recorder) flush() {
	r.unwritten = errors.Join(r.write(Samples), r.write(Vectors))
	r.state(r.unwritten)
}

func (r *Recorder) write(content Content) error {
	r.mu.Lock()
	p := r.pending[content]
	if p == nil || len(p.text) == 0 {
		r.mu.Unlock()
		return nil
	}
	delete(r.pending, content)
	r.mu.Unlock()

	s, err := r.stream(content)
	if err == nil && s.torn {
		err = r.mend(s)
	}
	if err == nil {
		err = r.faults.append(s.file, p.text)
	}
	if err == nil {
		s.size += int64(len(p.text))
		s.samples += p.samples
		return nil
	}
	if s != nil {
		// What was written in part is written again: it must not be there twice. A
		// journal of which it cannot be cut off takes nothing more, and is not
		// packed, until it can; after a crash what is pending is gone, and what
		// was written counts.
		s.torn = true
		_ = r.mend(s) // tried again before the next writing
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if later := r.pending[content]; later != nil {
		p.text, p.samples = append(p.text, later.text...), p.samples+later.samples
	}
	p.refused = true
	r.pending[content] = p
	return err
}

// mend cuts off what was written in part.
func (r *Recorder) mend(s *stream) error {
	if err := r.faults.truncate(s.file, s.size); err != nil {
		return fmt.Errorf("cut off what was written in part: %w", err)
	}
	s.torn = false
	return nil
}

// faults stands between the recorder and its journals, so that tests can make
// them fail. The zero value does not.
type faults struct {
	afterWrite, beforeTruncate func() error
}

func (f faults) append(file *os.File, text []byte) error {
	if _, err := file.Write(text); err != nil {
		return err
	}
	if f.afterWrite != nil {
		if err := f.afterWrite(); err != nil {
			return err
		}
	}
	return file.Sync()
}

func (f faults) truncate(file *os.File, size int64) error {
	if f.beforeTruncate != nil {
		if err := f.beforeTruncate(); err != nil {
			return err
		}
	}
	return file.Truncate(size)
}

// stream returns the open journal of a content, a new one if there is none.
func (r *Recorder) stream(content Content) (*stream, error) {
	if s := r.streams[content]; s != nil {
		return s, nil
	}
	now := r.cfg.Now()
	id := newID(now)
	for id <= r.lastID {
		now = now.Add(time.Millisecond)
		id = newID(now)
	}
	path := filepath.Join(r.cfg.Dir, journalName(content, id))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if os.IsExist(err) { // the clock was set back
		r.lastID = id
		return r.stream(content)
	}
	if err != nil {
		return nil, err
	}
	r.lastID = id
	s := &stream{file: f, begun: r.cfg.Now()}
	r.streams[content] = s
	return s, syncDir(r.cfg.Dir)
}

// rotate packs the journals that are old or large enough.
func (r *Recorder) rotate() {
	due := false
	for content, s := range r.streams {
		age := r.cfg.Now().Sub(s.begun)
		if age < 0 {
			s.begun = r.cfg.Now() // the clock was set back
		}
		if s.torn && r.mend(s) != nil {
			continue // what waits would be there twice
		}
		if age >= r.cfg.SegmentAge || s.samples >= r.cfg.SegmentSamples || s.size >= r.cfg.MaxSize/16 {
			s.file.Close()
			delete(r.streams, content)
			due = true
		}
	}
	if due {
		r.packAll()
	}
}

// state logs when writing begins and ceases to fail, once each.
func (r *Recorder) state(err error) {
	switch {
	case err != nil && !r.failing:
		r.cfg.Logger.Warn("cannot record telemetry; it is kept in memory for a while and then dropped", "dir", r.cfg.Dir, "error", err)
		r.failing = true
	case err == nil && r.failing:
		r.cfg.Logger.Info("telemetry is recorded again", "dir", r.cfg.Dir, "dropped_scrapes", r.Stats().Dropped)
		r.failing = false
	}
}
