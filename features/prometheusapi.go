package features

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// errChunkTooLarge asks for a chunk with fewer steps.
var errChunkTooLarge = errors.New("the answer to one step is too large: narrow it with matchers, such as job=\"node\"")

const (
	maxRangeAnswer = 512 << 20 // bytes of one answer
	rangeAttempts  = 5
	rangeTimeout   = 2 * time.Minute
)

// ask runs one range query over n steps and gives each series to take.
func (r *rangeReader) ask(ctx context.Context, names []string, first, n int, take func(labels.Labels, []float64) error) error {
	selector := `{__name__=~"` + strings.Join(names, "|") + `"`
	if r.q.Match != "" {
		selector += "," + r.q.Match
	}
	form := url.Values{
		"query": {selector + "}"}, "start": {unixSeconds(r.time(first))}, "end": {unixSeconds(r.time(first + n - 1))},
		"step": {strconv.FormatFloat(r.q.Step.Seconds(), 'f', -1, 64)},
	}
	ctx, cancel := context.WithTimeout(ctx, rangeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.q.URL+"/api/v1/query_range", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "forestall")
	resp, err := r.q.Client.Do(req)
	if err != nil {
		return passingError{err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	d := rangeDecoder{json: json.NewDecoder(&limitedBody{resp.Body, maxRangeAnswer}), first: r.time(first).UnixMilli(), step: r.q.Step.Milliseconds(), n: n}
	return d.decode(take)
}

// passingError is a failure that may be over the next time.
type passingError struct{ error }

func (e passingError) Unwrap() error { return e.error }

func unixSeconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// refusal reads the error that the server gives.
func refusal(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // the status alone says enough
	var answer struct{ ErrorType, Error string }
	text := strings.Join(strings.Fields(string(b)), " ")
	if json.Unmarshal(b, &answer) == nil && answer.Error != "" {
		text = answer.ErrorType + ": " + answer.Error
	}
	page := strings.HasPrefix(text, "<") // a gate's, where the status says that
	if page {
		text = "the answer is a page"
	}
	err := fmt.Errorf("status %s: %.300s", resp.Status, text)
	switch {
	case resp.StatusCode == http.StatusRequestEntityTooLarge, strings.Contains(text, "too many samples"), strings.Contains(text, "maximum resolution"):
		return fmt.Errorf("%w: %w", errChunkTooLarge, err)
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w; check the token or password file", err)
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented:
		return passingError{err}
	case page:
		return fmt.Errorf("%w: is this a Prometheus server?", err)
	}
	return err
}

// limitedBody fails with errChunkTooLarge where an answer goes on too long.
type limitedBody struct {
	io.Reader
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errChunkTooLarge
	}
	n, err := b.Reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// rangeDecoder reads an answer series by series: memory does not grow with the
// number of series that take does not keep.
type rangeDecoder struct {
	json  *json.Decoder
	first int64 // ms, of step 0
	step  int64 // ms
	n     int
}

// decode walks {"status": .., "data": {"resultType": .., "result": [SERIES...]}}.
func (d *rangeDecoder) decode(take func(labels.Labels, []float64) error) error {
	answered := false
	err := d.object(func(key string) error {
		if key != "data" {
			return d.skip()
		}
		return d.object(func(key string) error {
			if key != "result" {
				return d.skip()
			}
			answered = true
			if err := d.delim('['); err != nil {
				return err
			}
			for d.json.More() {
				if err := d.series(take); err != nil {
					return err
				}
			}
			return d.delim(']')
		})
	})
	var syntax *json.SyntaxError
	var network net.Error
	switch {
	case err == nil && !answered:
		return errors.New("answer without data.result: is this a Prometheus server?")
	case errors.As(err, &syntax):
		return fmt.Errorf("answer, byte %d: %w: is this a Prometheus server?", d.json.InputOffset(), err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.As(err, &network):
		return passingError{fmt.Errorf("answer cut off after %d bytes: %w", d.json.InputOffset(), err)}
	}
	return err
}

func (d *rangeDecoder) object(field func(key string) error) error {
	if err := d.delim('{'); err != nil {
		return err
	}
	for d.json.More() {
		key, err := d.json.Token()
		if err != nil {
			return err
		}
		if err := field(key.(string)); err != nil { // an object's key is a string
			return err
		}
	}
	return d.delim('}')
}

func (d *rangeDecoder) delim(want json.Delim) error {
	got, err := d.json.Token()
	if err == nil && got != want {
		return fmt.Errorf("answer, byte %d: %v where %v should be: is this a Prometheus server?", d.json.InputOffset(), got, want)
	}
	return err
}

func (d *rangeDecoder) skip() error {
	var ignored json.RawMessage
	return d.json.Decode(&ignored)
}

func (d *rangeDecoder) series(take func(labels.Labels, []float64) error) error {
	var one struct {
		Metric map[string]string `json:"metric"`
		Values json.RawMessage   `json:"values"`
	}
	if err := d.json.Decode(&one); err != nil {
		return err
	}
	values := make([]float64, d.n)
	for i := range values {
		values[i] = absent
	}
	if err := d.points(one.Values, values); err != nil {
		return fmt.Errorf("answer, series %v: %w", one.Metric, err)
	}
	return take(labels.FromMap(one.Metric), values)
}

// points reads [[SECONDS,"VALUE"],...], which is valid JSON, into the steps.
func (d *rangeDecoder) points(text []byte, values []float64) error {
	whole := text
	bad := func() error { return fmt.Errorf("values %.60q: want [[TIME,\"VALUE\"],...]", whole) }
	text = bytes.TrimPrefix(bytes.TrimSpace(text), []byte{'['})
	for {
		text = bytes.TrimLeft(text, ", \t\r\n")
		if len(text) == 0 || text[0] == ']' {
			return nil
		}
		end := bytes.IndexByte(text, ']')
		if text[0] != '[' || end < 0 {
			return bad()
		}
		seconds, quoted, ok := bytes.Cut(text[1:end], []byte{','})
		quoted = bytes.TrimSpace(quoted)
		text = text[end+1:]
		if !ok || len(quoted) < 3 || quoted[0] != '"' || quoted[len(quoted)-1] != '"' {
			return bad()
		}
		at, err := strconv.ParseFloat(string(bytes.TrimSpace(seconds)), 64)
		if err != nil {
			return bad()
		}
		v, err := strconv.ParseFloat(string(quoted[1:len(quoted)-1]), 64)
		if err != nil {
			return bad()
		}
		offset := int64(math.Round(at*1000)) - d.first
		if i := offset / d.step; offset >= 0 && offset%d.step == 0 && i < int64(d.n) {
			if isAbsent(v) {
				v = math.NaN()
			}
			values[i] = v
		}
	}
}
