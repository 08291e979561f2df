package features

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/stratoswarm/forestall"
)

// HistoryHeader is the first line of a recorded history.
const HistoryHeader = "unix_ms,component,metric,value"

// Bounds on what [ReadHistory] accepts.
const (
	maxHistoryLine       = 4 << 10 // bytes
	maxHistoryGroup      = 4096    // samples of one scrape
	maxHistoryComponents = 1 << 20
	maxHistoryMetrics    = 1 << 16
)

// ErrHistory is wrapped by every error about the content of a history.
var ErrHistory = errors.New("recorded history")

// ReadHistory yields recorded scrapes in the order of time: each element holds
// the samples of one component at one time, and is the caller's to keep.
//
// The format is CSV without quotes, plain or gzipped (recognised by its magic
// bytes): the header [HistoryHeader], then one line per sample with the time in
// milliseconds since 1970, the component as [forestall.Component] prints, the
// metric and the value; an empty value is NaN, not reported. Lines are sorted
// by time, those of one scrape stand together, a metric occurs once in it.
//
// An error ends the sequence. It names the line and wraps [ErrHistory], unless
// reading r failed. Memory does not grow with the length of the history.
func ReadHistory(r io.Reader) iter.Seq2[[]forestall.Sample, error] {
	return func(yield func([]forestall.Sample, error) bool) {
		h := &historyReader{
			components: map[string]forestall.Component{},
			metrics:    map[string]string{},
			lastSeen:   map[forestall.Component]int64{},
			inGroup:    map[string]bool{},
		}
		if err := h.read(r, yield); err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// errStopped ends a read whose consumer wants no more.
var errStopped = errors.New("stopped")

type historyReader struct {
	line       int
	ms         int64
	component  forestall.Component
	group      []forestall.Sample
	inGroup    map[string]bool // metrics of group
	components map[string]forestall.Component
	metrics    map[string]string
	lastSeen   map[forestall.Component]int64 // ms of the component's newest group
}

func (h *historyReader) read(r io.Reader, yield func([]forestall.Sample, error) bool) error {
	plain, err := Plain(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHistory, err)
	}
	lines := bufio.NewScanner(plain)
	lines.Buffer(make([]byte, 0, maxHistoryLine), maxHistoryLine)
	for lines.Scan() {
		h.line++
		if h.line == 1 {
			if got := lines.Text(); got != HistoryHeader {
				return h.errorf("header is %.60q, want %q", got, HistoryHeader)
			}
			continue
		}
		if err := h.take(lines.Bytes(), yield); err != nil {
			return err
		}
	}
	h.line++
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return h.errorf("longer than %d bytes", maxHistoryLine)
	} else if err != nil {
		return fmt.Errorf("read history after line %d: %w", h.line-1, err)
	}
	if h.line == 1 {
		return h.errorf("empty, want the header %q", HistoryHeader)
	}
	return h.flush(yield)
}

// take reads one line and yields the group that it ends, if it does.
func (h *historyReader) take(line []byte, yield func([]forestall.Sample, error) bool) error {
	s, err := h.parse(line)
	if err != nil {
		return err
	}
	if ms := s.Time.UnixMilli(); len(h.group) == 0 || ms != h.ms || s.Component != h.component {
		if err := h.flush(yield); err != nil {
			return err
		}
		if err := h.begin(ms, s.Component); err != nil {
			return err
		}
	}
	if h.inGroup[s.Metric] {
		return h.errorf("%s of %s occurs twice at %d", s.Metric, s.Component, h.ms)
	}
	if len(h.group) == maxHistoryGroup {
		return h.errorf("more than %d samples of %s at %d", maxHistoryGroup, s.Component, h.ms)
	}
	h.inGroup[s.Metric] = true
	h.group = append(h.group, s)
	return nil
}

// parse reads one line.
func (h *historyReader) parse(line []byte) (s forestall.Sample, err error) {
	var field [4][]byte
	rest := line
	for i := range field {
		var more bool
		field[i], rest, more = bytes.Cut(rest, []byte{','})
		if more != (i < len(field)-1) {
			return s, h.errorf("%d fields, want 4: %s", bytes.Count(line, []byte{','})+1, HistoryHeader)
		}
	}
	ms, err := strconv.ParseInt(string(field[0]), 10, 64)
	if err != nil || ms < 0 || ms >= maxUnixMilli {
		return s, h.errorf("time %.40q: want milliseconds since 1970", field[0])
	}
	s.Time = time.UnixMilli(ms).UTC()
	if s.Component, err = h.parseComponent(field[1]); err != nil {
		return s, err
	}
	if s.Metric, err = h.parseMetric(field[2]); err != nil {
		return s, err
	}
	s.Value, err = h.parseValue(field[3])
	return s, err
}

// begin opens the group of c at ms.
func (h *historyReader) begin(ms int64, c forestall.Component) error {
	if ms < h.ms {
		return h.errorf("time %d after %d: sort the lines by time", ms, h.ms)
	}
	if last, ok := h.lastSeen[c]; ok && last == ms {
		return h.errorf("%s at %d occurs in two places: keep the lines of one scrape together", c, ms)
	}
	h.ms, h.component = ms, c
	h.lastSeen[c] = ms
	clear(h.inGroup)
	return nil
}

func (h *historyReader) flush(yield func([]forestall.Sample, error) bool) error {
	if len(h.group) == 0 {
		return nil
	}
	group := h.group
	h.group = make([]forestall.Sample, 0, len(group))
	if !yield(group, nil) {
		return errStopped
	}
	return nil
}

func (h *historyReader) parseComponent(b []byte) (forestall.Component, error) {
	if c, ok := h.components[string(b)]; ok {
		return c, nil
	}
	c, err := forestall.ParseComponent(string(b))
	if err != nil {
		return c, h.errorf("%w", err)
	}
	if len(h.components) == maxHistoryComponents {
		return c, h.errorf("more than %d components", maxHistoryComponents)
	}
	h.components[string(b)] = c
	return c, nil
}

func (h *historyReader) parseMetric(b []byte) (string, error) {
	if m, ok := h.metrics[string(b)]; ok {
		return m, nil
	}
	m := string(b)
	if !validMetricName(m) {
		return "", h.errorf("metric %.40q: use lower-case letters, digits and '_', beginning with a letter", m)
	}
	if len(h.metrics) == maxHistoryMetrics {
		return "", h.errorf("more than %d metrics", maxHistoryMetrics)
	}
	h.metrics[m] = m
	return m, nil
}

func (h *historyReader) parseValue(b []byte) (float64, error) {
	if len(b) == 0 {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || !finite(v) {
		return 0, h.errorf("value %.40q: want a finite number, or nothing for one that was not reported", b)
	}
	return v, nil
}

func (h *historyReader) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %w", ErrHistory, h.line, fmt.Errorf(format, args...))
}

// Plain returns r, decompressed when it begins with gzip's magic bytes.
func Plain(r io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, _ := br.Peek(2) // an error comes again from Read
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return br, nil
	}
	gz, err := gzip.NewReader(br)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return gz, nil
}

// HistoryWriter records scrapes in the format that [ReadHistory] reads,
// gzipped. It is not safe for concurrent use.
type HistoryWriter struct {
	gz      *gzip.Writer
	line    []byte
	started bool
	last    int64 // ms
}

// NewHistoryWriter returns a writer onto w, which must outlive it.
func NewHistoryWriter(w io.Writer) *HistoryWriter {
	return &HistoryWriter{gz: gzip.NewWriter(w)}
}

// Write records one scrape of one component and, as a sample named
// [MetricScrapeLatency], its latency; a negative latency is left out. Scrapes
// must come in the order of time and once per component and millisecond; only
// the former is checked here. An infinite value is written as not reported.
func (h *HistoryWriter) Write(samples []forestall.Sample, latency time.Duration) error {
	if len(samples) == 0 {
		return nil
	}
	c, t := samples[0].Component, samples[0].Time
	ms := t.UnixMilli()
	if h.started && ms < h.last {
		return fmt.Errorf("record %s: %w: %s", c, ErrOutOfOrder, t)
	}
	if !h.started {
		h.line = append(append(h.line[:0], HistoryHeader...), '\n')
		h.started = true
	}
	h.last = ms
	for i := range samples {
		if samples[i].Component != c || !samples[i].Time.Equal(t) {
			return fmt.Errorf("record %s: %w", c, ErrMixedBatch)
		}
	}
	h.line = AppendScrape(h.line, c, t, samples, latency)
	_, err := h.gz.Write(h.line)
	h.line = h.line[:0]
	if err != nil {
		return fmt.Errorf("record %s: %w", c, err)
	}
	return nil
}

// AppendScrape appends the lines of one scrape of c at t to b and returns it:
// the samples, whose own components and times are not looked at, and the latency
// as [HistoryWriter.Write] records it. A scrape without a sample is held by the
// line of its latency, which is then there though it was not measured.
func AppendScrape(b []byte, c forestall.Component, t time.Time, samples []forestall.Sample, latency time.Duration) []byte {
	start := len(b)
	b = append(append(strconv.AppendInt(b, t.UnixMilli(), 10), ','), c.String()...)
	prefix := b[start:len(b):len(b)]
	b = b[:start]
	line := func(metric string, v float64) {
		b = append(append(append(append(b, prefix...), ','), metric...), ',')
		if finite(v) {
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
		}
		b = append(b, '\n')
	}
	timed := false
	for i := range samples {
		line(samples[i].Metric, samples[i].Value)
		timed = timed || samples[i].Metric == MetricScrapeLatency
	}
	if !timed && (latency >= 0 || len(samples) == 0) {
		line(MetricScrapeLatency, latencySeconds(latency))
	}
	return b
}

// Close ends the history; an empty one holds the header alone. It does not
// close the underlying writer.
func (h *HistoryWriter) Close() error {
	if !h.started {
		if _, err := h.gz.Write([]byte(HistoryHeader + "\n")); err != nil {
			return fmt.Errorf("record history: %w", err)
		}
	}
	if err := h.gz.Close(); err != nil {
		return fmt.Errorf("record history: %w", err)
	}
	return nil
}
