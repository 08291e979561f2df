package features

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/stratoswarm/forestall"
)

// ErrRemoteWrite is wrapped by every error about the content of a remote write.
var ErrRemoteWrite = errors.New("remote write")

// Bounds on what remote writes may hold.
const (
	maxRemoteTargets = 100_000
	maxRemoteOfOne   = 16_384          // components that one target describes
	maxRemoteAhead   = 5 * time.Minute // of this clock
	maxRemotePending = 2_000_000       // values that wait for the rest of their scrapes
)

// RemoteWriteConfig says how remote writes become scrapes.
type RemoteWriteConfig struct {
	Mappings []*Mapping
	MaxBytes int64         // of a request as it comes; 0 = 16 MiB. Decompressed at most 32 MiB are read
	Settle   time.Duration // how long the rest of a scrape is waited for; 0 = 10 s
	Forget   time.Duration // how long a component is kept that its target does not describe; 0: for ever
	Newest   Newest        // that sums of counters go on from; nil: nothing is known
	LastXIDs *LastXIDs     // of GPUs, as they were read before; nil: nothing is known
	Log      *slog.Logger  // nil = none
	Now      func() time.Time
}

// RemoteWriter receives Prometheus remote writes (1.0 and 2.0) and puts scrapes
// together from them: a sender spreads the samples of one scrape, which share
// their time, over several requests. It is safe for concurrent use.
//
// A staleness marker says that a series vanished, so its metric is missing. A
// target whose up is not 1 did not answer, which says nothing about what it
// describes. A scrape that has fewer values than the one before, without such
// markers, is waited for longer, up to [RestartAfter]. Samples of a time that has been put together already, or from the
// future, are counted and dropped. Where a target's have all been too late for
// [RestartAfter], its clock was set back, and they are taken again.
type RemoteWriter struct {
	cfg   RemoteWriteConfig
	names map[string][]int // mappings that know a series, by its name

	mu      sync.Mutex
	targets map[targetKey]*remoteTarget
	early   map[earlyKey]*remoteScrape // what is known of scrapes of targets that may not be
	pending int                        // values held
	stats   RemoteWriteStats
}

// RemoteWriteStats counts what a [RemoteWriter] has received.
type RemoteWriteStats struct {
	Samples    uint64 // of series that a mapping knows
	OutOfOrder uint64 // dropped: their scrape had been put together
	Future     uint64 // dropped: more than 5 minutes ahead
	Invalid    uint64 // dropped: their labels do not name a component
}

// remoteTarget is one target of the sender's.
type remoteTarget struct {
	key     targetKey
	collect *collector
	scrapes map[int64]*remoteScrape // by time in ms
	flushed int64                   // ms, of the newest scrape put together; -1: none, by the sender's present clock
	every   [2]time.Duration        // the newest two intervals between scrapes; 0: not known
	full    int                     // values of the newest scrape put together
	lagged  time.Time               // when one of its samples was too late last
	late    time.Time               // since when all samples have come too late; zero: they have not
	heard   time.Time
}

type remoteScrape struct {
	began    time.Time // when its first sample came
	values   []remoteValue
	at       map[remoteSeries]int // where a series' value is
	up       float64              // absent where unknown
	duration float64
}

type remoteValue struct {
	route route
	value float64
}

// remoteSeries tells series of one target apart.
type remoteSeries struct {
	name   string
	labels uint64 // their hash
}

// put files a value of a series. A request that is sent again, as after a time
// limit, brings a series' value again, which is one still.
func (s *remoteScrape) put(series remoteSeries, v remoteValue) (added bool) {
	if i, ok := s.at[series]; ok {
		s.values[i] = v
		return false
	}
	if s.at == nil {
		s.at = map[remoteSeries]int{}
	}
	s.at[series] = len(s.values)
	s.values = append(s.values, v)
	return true
}

// RemoteScrape is a scrape that was put together. One that brought nothing new, as
// of a [Scraper], has no samples and says of which components it is; where its
// source has stopped collecting, it has an error in their place.
type RemoteScrape struct {
	Scrape
	Target   string // job and instance
	Time     time.Time
	Repeated []forestall.Component
	Err      error
	Patience time.Duration // how old it may become before something is wrong
}

// NewRemoteWriter checks cfg.
func NewRemoteWriter(cfg RemoteWriteConfig) (*RemoteWriter, error) {
	switch {
	case len(cfg.Mappings) == 0:
		return nil, fmt.Errorf("%w: no mapping is given", ErrRemoteWrite)
	case cfg.Settle < 0 || cfg.MaxBytes < 0:
		return nil, fmt.Errorf("%w: settle %s and max bytes %d: want positive ones", ErrRemoteWrite, cfg.Settle, cfg.MaxBytes)
	}
	if cfg.Settle == 0 {
		cfg.Settle = 10 * time.Second
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 16 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := &RemoteWriter{cfg: cfg, names: map[string][]int{"up": nil, "scrape_duration_seconds": nil}, targets: map[targetKey]*remoteTarget{}}
	for i, m := range cfg.Mappings {
		for _, name := range m.Series() {
			w.names[name] = append(w.names[name], i)
		}
	}
	return w, nil
}

// Handler serves the protocol, at whatever path it is mounted.
func (w *RemoteWriter) Handler() http.Handler {
	h := remote.NewWriteHandler(w, remote.MessageTypes{remote.WriteV1MessageType, remote.WriteV2MessageType}, remote.WithWriteHandlerLogger(w.cfg.Log))
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.ContentLength > w.cfg.MaxBytes {
			http.Error(rw, fmt.Sprintf("request of %d bytes, at most %d are read", r.ContentLength, w.cfg.MaxBytes), http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = http.MaxBytesReader(rw, r.Body, w.cfg.MaxBytes)
		h.ServeHTTP(rw, r)
	})
}

// Store takes one decompressed request; it is called by the handler.
func (w *RemoteWriter) Store(req *http.Request, kind remote.WriteMessageType) (*remote.WriteResponse, error) {
	answer := remote.NewWriteResponse()
	fail := func(status int, err error) (*remote.WriteResponse, error) {
		answer.SetStatusCode(status)
		return answer, fmt.Errorf("%w: %w", ErrRemoteWrite, err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return fail(http.StatusBadRequest, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending > maxRemotePending {
		answer.SetExtraHeader("Retry-After", "5")
		return fail(http.StatusServiceUnavailable, fmt.Errorf("%d values wait for the rest of their scrapes", w.pending))
	}
	take := w.takeV1
	if kind == remote.WriteV2MessageType {
		take = w.takeV2
	}
	samples, err := take(body, w.cfg.Now())
	answer.Samples = samples // those of unknown series too: they are done with
	if err != nil {
		return fail(http.StatusBadRequest, err)
	}
	return answer, nil
}

func (w *RemoteWriter) takeV1(body []byte, now time.Time) (int, error) {
	var req prompb.WriteRequest
	if err := req.Unmarshal(body); err != nil {
		return 0, err
	}
	samples := 0
	var b labels.ScratchBuilder
	for i := range req.Timeseries {
		one := &req.Timeseries[i]
		samples += len(one.Samples)
		name := ""
		for _, l := range one.Labels {
			if l.Name == model.MetricNameLabel {
				name = l.Value
			}
		}
		if _, ok := w.names[name]; !ok {
			continue
		}
		l := one.ToLabels(&b, nil)
		for _, s := range one.Samples {
			w.take(name, l, s.Timestamp, s.Value, now)
		}
	}
	return samples, nil
}

func (w *RemoteWriter) takeV2(body []byte, now time.Time) (int, error) {
	var req writev2.Request
	if err := req.Unmarshal(body); err != nil {
		return 0, err
	}
	samples := 0
	b := labels.NewScratchBuilder(16)
	for i := range req.Timeseries {
		one := &req.Timeseries[i]
		samples += len(one.Samples)
		name := nameV2(one.LabelsRefs, req.Symbols)
		if _, ok := w.names[name]; !ok {
			continue
		}
		l, err := one.ToLabels(&b, req.Symbols)
		if err != nil {
			return samples, err
		}
		for _, s := range one.Samples {
			w.take(name, l, s.Timestamp, s.Value, now)
		}
	}
	return samples, nil
}

// nameV2 returns the name among a series' labels, "" if there is none.
func nameV2(refs []uint32, symbols []string) string {
	for i := 0; i+1 < len(refs); i += 2 {
		if n := uint64(len(symbols)); uint64(refs[i]) < n && uint64(refs[i+1]) < n && symbols[refs[i]] == model.MetricNameLabel {
			return symbols[refs[i+1]]
		}
	}
	return ""
}

// take files one sample under its targets and its time.
func (w *RemoteWriter) take(name string, l labels.Labels, ms int64, value float64, now time.Time) {
	if ms < 0 || ms >= maxUnixMilli || time.UnixMilli(ms).Sub(now) > maxRemoteAhead {
		w.stats.Future++
		return
	}
	if name == "up" || name == "scrape_duration_seconds" {
		for i := range w.cfg.Mappings {
			// Of a target without a series of ours nothing is to be told.
			if w.targets[keyOf(i, l)] == nil {
				continue
			}
			if s := w.scrape(i, l, ms, now); s != nil {
				s.tell(name, value)
			}
		}
		w.keepEarly(name, l, ms, value, now)
		return
	}
	for _, i := range w.names[name] {
		s := w.scrape(i, l, ms, now)
		if s == nil {
			continue
		}
		t := w.targets[keyOf(i, l)]
		r, err := t.collect.route(name, l)
		if err != nil {
			if w.stats.Invalid++; w.stats.Invalid == 1 {
				w.cfg.Log.Warn("a sample of a remote write names no component; further ones are only counted", "error", err)
			}
			continue
		}
		if r.to == nil {
			continue
		}
		w.stats.Samples++
		if s.put(remoteSeries{name, l.Hash()}, remoteValue{r, value}) {
			w.pending++
		}
	}
}

// maxEarly bounds what is kept of targets that are not known yet.
const maxEarly = 100_000

// earlyKey names a scrape of a target that may become known.
type earlyKey struct {
	job, instance string
	ms            int64
}

// keepEarly keeps what Prometheus says about a scrape for a target whose series
// come later in the same request, or in the next.
func (w *RemoteWriter) keepEarly(name string, l labels.Labels, ms int64, value float64, now time.Time) {
	key := earlyKey{l.Get("job"), l.Get("instance"), ms}
	s := w.early[key]
	if s == nil {
		if len(w.early) >= maxEarly {
			return
		}
		if w.early == nil {
			w.early = map[earlyKey]*remoteScrape{}
		}
		s = &remoteScrape{began: now, up: absent, duration: absent}
		w.early[key] = s
	}
	s.tell(name, value)
}

// tell takes what Prometheus itself says about a scrape.
func (s *remoteScrape) tell(name string, value float64) {
	if name == "up" {
		s.up = value
	} else {
		s.duration = value
	}
}

func keyOf(mapping int, l labels.Labels) targetKey {
	return targetKey{mapping, l.Get("job"), l.Get("instance")}
}

// scrape returns where samples of a target at ms are filed, nil for those that
// come too late.
func (w *RemoteWriter) scrape(mapping int, l labels.Labels, ms int64, now time.Time) *remoteScrape {
	key := keyOf(mapping, l)
	t := w.targets[key]
	if t == nil {
		if len(w.targets) == maxRemoteTargets {
			w.stats.Invalid++
			return nil
		}
		t = &remoteTarget{
			key: key, scrapes: map[int64]*remoteScrape{}, flushed: -1,
			collect: newCollector(w.cfg.Mappings[mapping], "", nil, key.instance, maxRemoteOfOne),
		}
		t.collect.forget, t.collect.newest, t.collect.xids = w.cfg.Forget, w.cfg.Newest, w.cfg.LastXIDs
		w.targets[key] = t
	}
	switch {
	case ms > t.flushed:
		t.late = time.Time{}
	case t.late.IsZero():
		t.late = now
		fallthrough
	case now.Sub(t.late) < RestartAfter:
		w.stats.OutOfOrder++
		t.lagged = now
		return nil
	default:
		// Nothing newer has come for so long: the sender's clock was set back.
		t.flushed, t.late = -1, time.Time{}
	}
	t.heard = now
	s := t.scrapes[ms]
	if s == nil {
		s = &remoteScrape{began: now, up: absent, duration: absent}
		if e := w.early[earlyKey{key.job, key.instance, ms}]; e != nil {
			s.up, s.duration = e.up, e.duration
		}
		t.scrapes[ms] = s
	}
	return s
}

// Flush returns the scrapes whose settling time is over, each target's in the
// order of time, and the events that they tell of.
func (w *RemoteWriter) Flush(now time.Time) ([]RemoteScrape, []forestall.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.early, func(_ earlyKey, s *remoteScrape) bool { return now.Sub(s.began) >= w.cfg.Settle })
	var out []RemoteScrape
	var events []forestall.Event
	for _, t := range w.sorted() {
		for _, ms := range slices.Sorted(maps.Keys(t.scrapes)) {
			s := t.scrapes[ms]
			if age := now.Sub(s.began); age < w.cfg.Settle || age < RestartAfter && w.lacks(t, s) {
				break // what follows is newer
			}
			delete(t.scrapes, ms)
			w.pending -= len(s.values)
			if t.flushed > 0 {
				t.every = [2]time.Duration{time.Duration(ms-t.flushed) * time.Millisecond, t.every[0]}
			}
			t.flushed = ms
			t.complete(s, now)
			first := len(out)
			out = t.flush(s, time.UnixMilli(ms).UTC(), out)
			for i := range out[first:] {
				out[first+i].Patience = t.patience(w.cfg.Settle)
			}
		}
		events = append(events, t.collect.Events()...)
	}
	return out, events
}

// sendDelay is for how long a sender collects samples by default (Prometheus:
// batch_send_deadline).
const sendDelay = 5 * time.Second

// patience is how old the target's newest scrape may become while nothing is wrong:
// three of the sender's intervals, of the newest two the shorter one, and what it takes
// until a scrape is here and put together.
func (t *remoteTarget) patience(settle time.Duration) time.Duration {
	interval := t.every[0]
	if t.every[1] > 0 {
		interval = min(interval, t.every[1])
	}
	return min(sendDelay+settle+3*interval, mostPatience)
}

// lacks reports whether a scrape has fewer values than the one before. A series that
// ends has a staleness marker, so the rest is late, as where one of a sender's shards
// lags: it is waited for, up to [RestartAfter]. Where much waits already, it is not.
func (w *RemoteWriter) lacks(t *remoteTarget, s *remoteScrape) bool {
	return len(s.values) < t.full && (isAbsent(s.up) || s.up == 1) && w.pending < maxRemotePending/2
}

// complete notes how much a scrape of the target has. One of which samples came too
// late shortly before has had more.
func (t *remoteTarget) complete(s *remoteScrape, now time.Time) {
	if !isAbsent(s.up) && s.up != 1 {
		return
	}
	n := 0
	for _, v := range s.values {
		if !promvalue.IsStaleNaN(v.value) {
			n++
		}
	}
	if n >= t.full || t.lagged.IsZero() || now.Sub(t.lagged) >= RestartAfter {
		t.full = n
	}
}

// RemoteForgotten is a component that a target has not described for so long that
// it is no more.
type RemoteForgotten struct {
	Target    string
	Component forestall.Component
}

// Forgotten drains the components that are no more.
func (w *RemoteWriter) Forgotten() (gone []RemoteForgotten) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.sorted() {
		for _, c := range t.collect.Forgotten() {
			gone = append(gone, RemoteForgotten{t.key.String(), c})
		}
	}
	return gone
}

func (w *RemoteWriter) sorted() []*remoteTarget {
	return slices.SortedFunc(maps.Values(w.targets), func(a, b *remoteTarget) int { return a.key.compare(b.key) })
}

// flush appends the scrape's groups to out.
func (t *remoteTarget) flush(s *remoteScrape, at time.Time, out []RemoteScrape) []RemoteScrape {
	if len(s.values) == 0 || !isAbsent(s.up) && s.up != 1 {
		return out
	}
	t.collect.begin()
	for _, v := range s.values {
		t.collect.add(v.route, v.value)
	}
	if err := t.collect.end(at); err != nil {
		return out // there are values: it cannot fail
	}
	if t.collect.repeated {
		one := RemoteScrape{Target: t.key.String(), Time: at, Err: t.collect.pace.check(at)}
		if one.Err == nil {
			one.Repeated = t.collect.Repeated()
		}
		return append(out, one)
	}
	latency := notMeasured
	if s.duration >= 0 {
		latency = time.Duration(s.duration * float64(time.Second))
	}
	for _, group := range t.collect.samples(at) {
		out = append(out, RemoteScrape{Scrape: Scrape{group, latency}, Target: t.key.String(), Time: at})
	}
	return out
}

// Heard reports when the target last sent something that was not too late; the
// zero time if never.
func (w *RemoteWriter) Heard(target string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var last time.Time
	for key, t := range w.targets {
		if key.String() == target && t.heard.After(last) {
			last = t.heard
		}
	}
	return last
}

// Expire forgets the targets that have not been heard since before and returns
// their names.
func (w *RemoteWriter) Expire(before time.Time) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := map[string]time.Time{} // a target may be of several mappings
	for key, t := range w.targets {
		if name := key.String(); t.heard.After(last[name]) {
			last[name] = t.heard
		}
	}
	var names []string
	for _, t := range w.sorted() {
		if name := t.key.String(); last[name].Before(before) {
			for _, s := range t.scrapes {
				w.pending -= len(s.values)
			}
			delete(w.targets, t.key)
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Stats returns what has been received.
func (w *RemoteWriter) Stats() RemoteWriteStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}
