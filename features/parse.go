package features

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// Bounds on what [Parse] accepts.
const (
	MaxPageBytes = 32 << 20
	MaxSeries    = 500_000
)

// Errors of [Parse], apart from those of its visitor.
var (
	ErrExposition = errors.New("exposition page") // malformed, or not one at all
	ErrTooLarge   = errors.New("too large")       // more bytes or series than allowed
)

// Series is one sample line of an exposition page. It is valid during the
// visit only.
type Series struct {
	Name  string    // of the metric
	Value float64   // NaN and infinities as the page has them
	Time  time.Time // zero when the page gives none, as is usual

	parser textparse.Parser
	raw    []byte // tells series of a page apart
}

// Labels decodes the labels, the metric's name (as __name__) included. It
// allocates: ask only for series that matter.
func (s Series) Labels() labels.Labels {
	var l labels.Labels
	s.parser.Labels(&l)
	return l
}

// Parse calls visit for each float series of a Prometheus exposition page, in
// the page's order, and stops at the first error. contentType is the HTTP
// header's: the text format (also when it is empty), OpenMetrics, or delimited
// protobuf. Native histograms are skipped. The page is neither kept nor changed.
//
// A malformed page gives an error that wraps [ErrExposition] and names the
// line, or the byte for protobuf; series before it have been visited. Pages
// over [MaxPageBytes] or [MaxSeries] give [ErrTooLarge].
func Parse(page []byte, contentType string, visit func(series Series) error) error {
	if len(page) > MaxPageBytes {
		return fmt.Errorf("%w: %w: %d bytes, at most %d are read", ErrExposition, ErrTooLarge, len(page), MaxPageBytes)
	}
	media, err := mediaType(page, contentType)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExposition, err)
	}
	// The parsers return slices of their input and the text parser appends a
	// byte to it: with this copy, capacities give offsets into the page.
	buf := append(make([]byte, 0, len(page)+1), page...)
	parser, err := newParser(buf, contentType, media)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExposition, err)
	}
	s := Series{parser: parser}
	offset := 0  // of the newest series
	family := "" // that names the series of a protobuf page
	for n := 0; ; {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			if at := endsEarly(page, offset); media == mediaText && at >= 0 {
				return fmt.Errorf("%w: line %d (byte %d): it is a NUL, and what follows would not be read", ErrExposition, 1+bytes.Count(page[:at], []byte{'\n'}), at)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrExposition, place(page, contentType, media, offset), err)
		}
		if entry == textparse.EntryType && media == mediaProtobuf {
			name, kind := parser.Type()
			switch kind {
			case model.MetricTypeHistogram, model.MetricTypeGaugeHistogram, model.MetricTypeSummary:
				family = ""
			default:
				family = string(name)
			}
		}
		if entry != textparse.EntrySeries {
			continue
		}
		if n++; n > MaxSeries {
			return fmt.Errorf("%w: %w: more than %d series", ErrExposition, ErrTooLarge, MaxSeries)
		}
		raw, ms, value := parser.Series()
		s.Value, s.Time, s.raw = value, time.Time{}, raw
		if ms != nil {
			s.Time = time.UnixMilli(*ms).UTC()
		}
		if media == mediaProtobuf {
			if s.Name = family; family == "" { // of a histogram or summary: its series have several
				s.Name = s.Labels().Get(model.MetricNameLabel)
			}
		} else {
			offset = cap(buf) - cap(raw)
			s.setName(raw)
		}
		if err := visit(s); err != nil {
			return err
		}
	}
}

// endsEarly returns where behind the last series a line of a text page begins with a
// NUL, which the parser takes for the page's end; -1: nowhere.
func endsEarly(page []byte, last int) int {
	for from := last; ; from++ {
		next := bytes.IndexByte(page[from:], 0)
		if next < 0 {
			return -1
		}
		from += next
		if before := bytes.TrimRight(page[:from], " \t"); len(before) == 0 || before[len(before)-1] == '\n' {
			return from
		}
	}
}

// setName takes the name from a text series: what stands before the brace, or
// a quoted string within. Neighbours mostly share it.
func (s *Series) setName(raw []byte) {
	name, _, _ := bytes.Cut(raw, []byte{'{'})
	name = bytes.TrimRight(name, " \t")
	switch {
	case len(name) == 0:
		s.Name = s.Labels().Get(model.MetricNameLabel)
	case s.Name != string(name):
		s.Name = string(name)
	}
}

const (
	mediaText        = "text/plain"
	mediaOpenMetrics = "application/openmetrics-text"
	mediaProtobuf    = "application/vnd.google.protobuf"
)

// mediaType decides how to read a page, or says why it can't be one.
func mediaType(page []byte, contentType string) (string, error) {
	media := mediaText
	if contentType != "" {
		var err error
		if media, _, err = mime.ParseMediaType(contentType); err != nil {
			return "", fmt.Errorf("content type %q: %w", contentType, err)
		}
	}
	start := bytes.TrimLeft(page[:min(len(page), 512)], " \t\r\n")
	if media == "text/html" || media == mediaText && bytes.HasPrefix(start, []byte{'<'}) {
		return "", errors.New("the target answered HTML, not metrics: check the path, which is usually /metrics")
	}
	switch media {
	case mediaText, mediaOpenMetrics, mediaProtobuf:
		return media, nil
	}
	return "", fmt.Errorf("content type %q is not one of %s", media, strings.Join([]string{mediaText, mediaOpenMetrics, mediaProtobuf}, ", "))
}

func newParser(page []byte, contentType, media string) (textparse.Parser, error) {
	if contentType == "" {
		contentType = media
	}
	return textparse.New(page, contentType, labels.NewSymbolTable(), textparse.ParserOptions{IgnoreNativeHistograms: true})
}

// place names where a page is malformed, given the offset of the newest good
// series. Text lines parse alone, so the first one that doesn't is the culprit;
// when all do, what is wrong is the end.
func place(page []byte, contentType, media string, offset int) string {
	if media == mediaProtobuf {
		return fmt.Sprintf("%d bytes", len(page))
	}
	line := 1 + bytes.Count(page[:offset], []byte{'\n'})
	for rest := page[offset:]; len(rest) > 0; line++ {
		text, tail, _ := bytes.Cut(rest, []byte{'\n'})
		if !parses(text, contentType, media) {
			return fmt.Sprintf("line %d (byte %d)", line, len(page)-len(rest))
		}
		rest = tail
	}
	return fmt.Sprintf("line %d (end of page)", 1+bytes.Count(page, []byte{'\n'}))
}

func parses(line []byte, contentType, media string) bool {
	alone := append(bytes.Clone(line), '\n')
	if media == mediaOpenMetrics && string(line) != "# EOF" {
		alone = append(alone, "# EOF\n"...)
	}
	parser, err := newParser(alone, contentType, media)
	if err != nil {
		return false
	}
	for {
		if _, err := parser.Next(); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// reported returns v, or NaN for what stands for no value: infinities.
func reported(v float64) float64 {
	if !finite(v) {
		return math.NaN()
	}
	return v
}
