package features

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// ErrScrape is wrapped by every error of [Scraper.Scrape]. It says that a
// target could not be read, nothing about the hardware behind it.
var ErrScrape = errors.New("scrape")

// Bounds on what one target may describe.
const (
	maxTargetComponents = 1024
	maxPendingEvents    = 256
)

// ScrapeConfig says what to scrape and how.
type ScrapeConfig struct {
	URL      string        // http or https, with the path: http://n3:9400/metrics
	Node     string        // the node behind the target; "" takes it from the page (dcgm only)
	Preset   string        // one of Presets
	Timeout  time.Duration // of one scrape; 0 = 5 s
	MaxBytes int64         // of the decompressed page; 0 = 8 MiB, at most MaxPageBytes

	// Clock times the scrape; nil = time.Now.
	Clock func() time.Time
}

// Scraper reads one exposition target through a preset. It remembers the
// components that it has seen and the counters of the scrape before, from which
// it derives shares of time. It is not safe for concurrent use.
type Scraper struct {
	cfg     ScrapeConfig
	client  *http.Client
	mapping *Mapping

	seen   []forestall.Component // in order of Compare
	state  map[forestall.Component]*reading
	events []forestall.Event
}

// reading is what a target said about one component.
type reading struct {
	now, before []float64 // the mapping's slots; NaN = missing
	xid         float64   // in this page; NaN = none given
	xidBefore   float64   // last one given
}

// NewScraper checks cfg; errors name the field and what it accepts. The client
// carries TLS and authentication; its own timeout should be zero.
func NewScraper(cfg ScrapeConfig, client *http.Client) (*Scraper, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("scrape target: url %q: want http://HOST:PORT/PATH or https://", cfg.URL)
	}
	mapping, err := Preset(cfg.Preset)
	if err != nil {
		return nil, fmt.Errorf("scrape target %s: %w", cfg.URL, err)
	}
	if cfg.Node != "" || mapping.kind == forestall.KindNode {
		if err := forestall.CheckName(cfg.Node); err != nil {
			return nil, fmt.Errorf("scrape target %s: node: %w", cfg.URL, err)
		}
	}
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("scrape target %s: timeout %s: want a positive one", cfg.URL, cfg.Timeout)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.MaxBytes < 0 || cfg.MaxBytes > MaxPageBytes {
		return nil, fmt.Errorf("scrape target %s: max bytes %d: want 1 to %d", cfg.URL, cfg.MaxBytes, MaxPageBytes)
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 8 << 20
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &Scraper{cfg: cfg, client: client, mapping: mapping, state: map[forestall.Component]*reading{}}, nil
}

// Scrape reads the page once and returns, for each component ever seen there,
// one sample of every metric of its kind, stamped now: NaN for what the page
// does not report, also when the whole component is gone from it. The latency
// is that of the request and the page, parsing excluded.
//
// A target that can't be reached, is too slow or answers anything but a page of
// the preset's metrics gives an error that wraps [ErrScrape], no samples, and an
// event for [Scraper.Events].
func (s *Scraper) Scrape(ctx context.Context, now time.Time) ([][]forestall.Sample, time.Duration, error) {
	start := s.cfg.Clock()
	page, contentType, err := s.get(ctx)
	latency := s.cfg.Clock().Sub(start)
	if err == nil {
		err = s.take(page, contentType, now)
	}
	if err != nil {
		err = fmt.Errorf("%w %s: %w", ErrScrape, s.cfg.URL, err)
		if ctx.Err() == nil {
			var node forestall.Component
			if s.cfg.Node != "" {
				node = forestall.Node(s.cfg.Node)
			}
			s.event(forestall.Event{Component: node, Kind: forestall.EventScrapeError, Time: now, Detail: err.Error()})
		}
		return nil, latency, err
	}
	return s.samples(now), latency, nil
}

// Events drains what happened since the last call: a GPU's last XID taking
// another value between two scrapes, and failed scrapes, which belong to the
// target's node (no component when that is not configured). The newest 256 are
// kept.
func (s *Scraper) Events() []forestall.Event {
	events := s.events
	s.events = nil
	return events
}

func (s *Scraper) event(e forestall.Event) {
	if len(s.events) == maxPendingEvents {
		s.events = slices.Delete(s.events, 0, 1)
	}
	s.events = append(s.events, e)
}

// get fetches the page, at most MaxBytes of it after decompression.
func (s *Scraper) get(ctx context.Context) (page []byte, contentType string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, fmt.Errorf("no answer within %s", s.cfg.Timeout))
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.9,*/*;q=0.1")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "forestall")
	resp, err := s.client.Do(req)
	if err != nil {
		if e := new(url.Error); errors.As(err, &e) {
			err = e.Err // without the URL, which the caller adds
		}
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("status %s", resp.Status)
	}
	body := io.Reader(resp.Body)
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		gz, err := gzip.NewReader(body)
		if err != nil {
			return nil, "", fmt.Errorf("page: %w", err)
		}
		body = gz
	}
	page, err = io.ReadAll(io.LimitReader(body, s.cfg.MaxBytes+1))
	if err != nil {
		return nil, "", fmt.Errorf("page: %w", err)
	}
	if int64(len(page)) > s.cfg.MaxBytes {
		return nil, "", fmt.Errorf("page: %w: over the limit of %d bytes", ErrTooLarge, s.cfg.MaxBytes)
	}
	return page, resp.Header.Get("Content-Type"), nil
}

// take parses a page into the components' readings. After an error the
// readings before it still stand.
func (s *Scraper) take(page []byte, contentType string, now time.Time) error {
	fresh := map[forestall.Component]*reading{}
	series := 0
	err := Parse(page, contentType, func(one Series) error {
		series++
		return s.visit(one, fresh)
	})
	if err != nil {
		return err
	}
	if len(fresh) == 0 {
		return fmt.Errorf("%w: it has %d series and none that preset %s knows", ErrExposition, series, s.mapping.name)
	}
	if !s.remember(fresh) {
		return fmt.Errorf("%w: %w: it has described more than %d components", ErrExposition, ErrTooLarge, maxTargetComponents)
	}
	s.replace(fresh, now)
	return nil
}

func (s *Scraper) visit(one Series, fresh map[forestall.Component]*reading) error {
	rules := s.mapping.rules[one.Name]
	if len(rules) == 0 && (one.Name != s.mapping.xid || s.mapping.xid == "") {
		return nil
	}
	l := one.Labels()
	c, err := s.mapping.locate(l, s.cfg.Node)
	if err != nil {
		return fmt.Errorf("%w: series %s: %w", ErrExposition, one.Name, err)
	}
	if c.IsZero() {
		return nil
	}
	r := fresh[c]
	if r == nil {
		if len(fresh) == maxTargetComponents {
			return fmt.Errorf("%w: %w: it describes more than %d components", ErrExposition, ErrTooLarge, maxTargetComponents)
		}
		r = &reading{now: nans(len(s.mapping.slots)), xid: math.NaN()}
		fresh[c] = r
	}
	if one.Name == s.mapping.xid {
		r.xid = reported(one.Value)
	}
	for i := range rules {
		if rules[i].where == nil || rules[i].where(l) {
			rules[i].take(r.now, one.Value)
		}
	}
	return nil
}

// remember makes room for components not seen before, unless that would be too
// many.
func (s *Scraper) remember(fresh map[forestall.Component]*reading) bool {
	for c := range fresh {
		if s.state[c] != nil {
			continue
		}
		if len(s.seen) == maxTargetComponents {
			return false
		}
		s.state[c] = &reading{now: nans(len(s.mapping.slots)), xidBefore: math.NaN()}
		at, _ := slices.BinarySearchFunc(s.seen, c, forestall.Component.Compare)
		s.seen = slices.Insert(s.seen, at, c)
	}
	return true
}

// replace makes fresh the newest readings, derives what needs two, and notes
// new XIDs.
func (s *Scraper) replace(fresh map[forestall.Component]*reading, now time.Time) {
	for _, c := range s.seen {
		r, f := s.state[c], fresh[c]
		r.before = r.now
		if f == nil {
			r.now = nans(len(s.mapping.slots))
			continue
		}
		r.now = f.now
		s.mapping.derive(r.now, r.before)
		s.noteXID(c, r, f.xid, now)
	}
}

// noteXID reports an XID that took another value. The first one seen may be
// from long ago: the exporter keeps it until the driver is reloaded.
func (s *Scraper) noteXID(c forestall.Component, r *reading, xid float64, now time.Time) {
	if math.IsNaN(xid) {
		return
	}
	if !math.IsNaN(r.xidBefore) && xid != r.xidBefore && xid != 0 {
		s.event(forestall.Event{Component: c, Kind: forestall.EventXID, Time: now, Code: int(xid), Detail: "last XID that " + s.cfg.URL + " reports"})
	}
	r.xidBefore = xid
}

func (s *Scraper) samples(now time.Time) [][]forestall.Sample {
	out := make([][]forestall.Sample, len(s.seen))
	for i, c := range s.seen {
		values := s.state[c].now
		group := make([]forestall.Sample, s.mapping.nOut)
		for slot := range group {
			group[slot] = forestall.Sample{Component: c, Metric: s.mapping.slots[slot], Time: now, Value: values[slot]}
		}
		out[i] = group
	}
	return out
}
