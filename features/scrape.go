package features

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// ErrScrape is wrapped by every error of [Scraper.Scrape]. It says that a
// target could not be read, nothing about the hardware behind it.
var ErrScrape = errors.New("scrape")

// ScrapeConfig says what to scrape and how.
type ScrapeConfig struct {
	URL      string            // http or https, with the path: http://n3:9400/metrics
	Node     string            // the node behind the target; "" takes it from labels
	Labels   map[string]string // of the target; a series that lacks one has it from here
	Mapping  *Mapping          // from Preset or Mappings.Get
	Timeout  time.Duration     // of one scrape; 0 = 5 s
	MaxBytes int64             // of the decompressed page; 0 = 8 MiB, at most MaxPageBytes
	Forget   time.Duration     // how long a component is kept that the page does not describe; 0: for ever
	Newest   Newest            // that sums of counters go on from; nil: nothing is known
	LastXIDs *LastXIDs         // of GPUs, as they were read before; nil: nothing is known
	Buffers  *sync.Pool        // of *bytes.Buffer that pages are read into; nil: one of its own

	// Clock times the scrape; nil = time.Now.
	Clock func() time.Time
}

// Scraper reads one exposition target through a mapping. It remembers the
// components that it has seen and the counters of the scrape before, from which
// it derives shares of time. It is not safe for concurrent use.
type Scraper struct {
	*collector
	cfg    ScrapeConfig
	client *http.Client
	known  known
	twice  twice // of this scrape
}

// twice counts the values of series that a page has twice and that are not the same.
// The first is taken, as Prometheus does.
type twice struct {
	n    int
	name string // of the first such series
}

func (t twice) check() error {
	switch t.n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("1 value of a series that the page has twice, %s, is another than the first one and is not taken", t.name)
	}
	return fmt.Errorf("%d values of series that the page has twice, such as %s, are others than the first ones and are not taken", t.n, t.name)
}

// NewScraper checks cfg; errors name the field and what it accepts. The client
// carries TLS and authentication; its own timeout should be zero.
func NewScraper(cfg ScrapeConfig, client *http.Client) (*Scraper, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("scrape target: url %q: want http://HOST:PORT/PATH or https://", cfg.URL)
	}
	if cfg.Mapping == nil {
		return nil, fmt.Errorf("scrape target %s: no mapping is given", cfg.URL)
	}
	if cfg.Node != "" || cfg.Mapping.kind == forestall.KindNode && cfg.Labels == nil {
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
	if cfg.Buffers == nil {
		cfg.Buffers = &sync.Pool{}
	}
	s := &Scraper{
		collector: newCollector(cfg.Mapping, cfg.Node, cfg.Labels, cfg.URL, maxTargetComponents),
		cfg:       cfg, client: client,
	}
	s.forget, s.newest, s.xids = cfg.Forget, cfg.Newest, cfg.LastXIDs
	return s, nil
}

// Labels returns the target's labels. Do not modify them.
func (s *Scraper) Labels() map[string]string { return s.cfg.Labels }

// Scrape reads the page once and returns, for each component seen there,
// one sample of every metric of its kind, stamped now: NaN for what the page
// does not report, also when the whole component is gone from it. The latency
// is that of the request and the page, parsing excluded. A page on which none of
// the mapping's pulses has moved gives no samples; [Scraper.Repeated] says whose it is.
//
// A target that can't be reached, is too slow, answers anything but a page of
// the preset's metrics, or has collected nothing new for three of its intervals
// (2 minutes at least, 10 at most) gives an error that wraps [ErrScrape], no samples, and an
// event for [Scraper.Events].
func (s *Scraper) Scrape(ctx context.Context, now time.Time) ([][]forestall.Sample, time.Duration, error) {
	page, ok := s.cfg.Buffers.Get().(*bytes.Buffer)
	if !ok {
		page = &bytes.Buffer{}
	}
	defer s.cfg.Buffers.Put(page)
	page.Reset()
	start := s.cfg.Clock()
	contentType, err := s.get(ctx, page)
	latency := s.cfg.Clock().Sub(start)
	if err == nil {
		err = s.take(page.Bytes(), contentType, now)
	}
	if err == nil && s.repeated {
		err = s.pace.check(now)
	}
	if err != nil {
		s.repeated = false
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

// Refused says which values of the newest page were not taken, because of their own
// stamps or because their series had another one before; nil if all were.
func (s *Scraper) Refused() error {
	stamps, twice := s.stamps.check(), s.twice.check()
	if stamps != nil && twice != nil {
		return fmt.Errorf("%w; %w", stamps, twice)
	}
	return cmp.Or(stamps, twice)
}

// accept offers every format that Parse reads. The text format comes first: it
// is the cheapest to read, and OpenMetrics and protobuf say nothing that a
// mapping asks for.
const accept = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.6," +
	"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.4,*/*;q=0.1"

// get fetches the page, at most MaxBytes of it after decompression.
func (s *Scraper) get(ctx context.Context, page *bytes.Buffer) (contentType string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, fmt.Errorf("no answer within %s", s.cfg.Timeout))
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "forestall")
	resp, err := s.client.Do(req)
	if err != nil {
		if e := new(url.Error); errors.As(err, &e) {
			err = e.Err // without the URL, which the caller adds
		}
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", resp.Status)
	}
	body := io.Reader(resp.Body)
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		gz, err := gzip.NewReader(body)
		if err != nil {
			return "", fmt.Errorf("page: %w", err)
		}
		body = gz
	}
	if _, err = page.ReadFrom(io.LimitReader(body, s.cfg.MaxBytes+1)); err != nil {
		return "", fmt.Errorf("page: %w", err)
	}
	if int64(page.Len()) > s.cfg.MaxBytes {
		return "", fmt.Errorf("page: %w: over the limit of %d bytes", ErrTooLarge, s.cfg.MaxBytes)
	}
	return resp.Header.Get("Content-Type"), nil
}

// take reads a page into the components' readings. After an error the readings
// before it still stand.
func (s *Scraper) take(page []byte, contentType string, now time.Time) error {
	text := isText(page, contentType)
	s.begin()
	s.repeated, s.twice = false, twice{}
	if text && s.known.read(page, s.add) && s.end(now) == nil {
		return nil
	}
	series, err := s.parse(page, contentType, now)
	if errors.Is(err, errNotNoted) {
		series, err = s.parse(page, contentType, now)
	}
	if err == nil {
		if err = s.end(now); err == nil {
			s.known.end(page, text)
			return nil
		}
		if err = s.stamps.check(); err == nil {
			err = fmt.Errorf("%w: it has %d series and none that preset %s knows", ErrExposition, series, s.mapping.name)
		}
	}
	s.abort()
	s.known.forget() // it may lead to components that are not kept
	return err
}

// errNotNoted is that of a page that must be parsed again: what it has of a series
// first was not noted.
var errNotNoted = errors.New("a series is there twice")

func (s *Scraper) parse(page []byte, contentType string, now time.Time) (series int, err error) {
	s.abort()
	s.begin()
	s.twice = twice{}
	s.known.begin()
	err = Parse(page, contentType, func(one Series) error {
		series++
		return s.visit(one, now)
	})
	return series, err
}

func (s *Scraper) visit(one Series, now time.Time) (err error) {
	k, ok := s.known.find(one.raw)
	if !ok && s.mapping.knows(one.Name) {
		if k.what, err = s.route(one.Name, one.Labels()); err != nil {
			return err
		}
	}
	s.known.keep(k)
	if k.what.to == nil {
		return nil
	}
	if err := s.oneNode(k.what); err != nil {
		return err
	}
	if !s.stamps.admit(one.Time, now) {
		return nil
	}
	first, again := s.known.again(k, one.Value)
	switch {
	case !again:
		s.add(k.what, one.Value)
	case isAbsent(first):
		return errNotNoted
	case first != one.Value && (first == first || one.Value == one.Value):
		if s.twice.n++; s.twice.n == 1 {
			s.twice.name = one.Name
		}
	}
	return nil
}
