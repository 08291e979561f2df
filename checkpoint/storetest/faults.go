package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Faults is a transport, and a way to read files, that misbehaves at random
// while it is switched on. It may be used by many goroutines at once.
type Faults struct {
	next http.RoundTripper

	mu    sync.Mutex
	rng   *rand.Rand
	share float64 // of the requests that are hit; 0: off
	hits  map[string]int
	hit   []string // places in files whose last reading was hit
}

// NewFaults returns a transport that is switched off; the same seed gives the
// same decisions in the order in which requests come.
func NewFaults(next http.RoundTripper, seed uint64) *Faults {
	return &Faults{next: next, rng: rand.New(rand.NewPCG(seed, 0)), hits: make(map[string]int)}
}

// Set has that share of the requests fail in some way; 0 switches off.
func (f *Faults) Set(share float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.share = share
}

// Hits says how many requests failed in which way.
func (f *Faults) Hits() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int)
	for k, n := range f.hits {
		out[k] = n
	}
	return out
}

// kinds of misbehaviour. "stall" is rare: each costs a request's time limit.
var kinds = []struct {
	name   string
	weight int
}{
	{"refused", 20},        // the request never arrives
	{"lost reply", 20},     // it arrives and is carried out, the answer is lost
	{"unavailable", 15},    // 503
	{"cut answer", 15},     // the answer's body ends early
	{"corrupt answer", 15}, // a bit of it is flipped
	{"cut request", 5},     // the request's body ends early
	{"slow", 9},            // everything arrives, later
	{"stall", 1},           // nothing comes back
}

var errInjected = errors.New("injected fault")

// draw decides what happens to a request: "" is nothing. at places it.
func (f *Faults) draw() (kind string, at uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.share == 0 || f.rng.Float64() >= f.share {
		return "", 0
	}
	n := f.rng.IntN(100)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			f.hits[k.name]++
			return k.name, f.rng.Uint64()
		}
	}
	panic("the weights do not add up to 100")
}

// RoundTrip carries the request out, or does what was drawn instead.
func (f *Faults) RoundTrip(r *http.Request) (*http.Response, error) {
	kind, at := f.draw()
	switch kind {
	case "":
		return f.next.RoundTrip(r)
	case "refused":
		closeBody(r)
		return nil, fmt.Errorf("%w: connection refused", errInjected)
	case "unavailable":
		closeBody(r)
		return &http.Response{
			Status: "503 Service Unavailable", StatusCode: http.StatusServiceUnavailable, Request: r,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(nil)),
		}, nil
	case "stall":
		closeBody(r)
		<-r.Context().Done()
		return nil, r.Context().Err()
	case "cut request":
		return f.cutRequest(r, at)
	case "slow":
		select {
		case <-time.After(time.Duration(at % uint64(20*time.Millisecond))):
		case <-r.Context().Done():
			closeBody(r)
			return nil, r.Context().Err()
		}
	}
	resp, err := f.next.RoundTrip(r)
	if err != nil || kind == "slow" {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "lost reply":
		return nil, fmt.Errorf("%w: connection reset before the answer came", errInjected)
	case "cut answer":
		if len(body) > 0 {
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:at%uint64(len(body))]), cut{}))
			return resp, nil
		}
	case "corrupt answer":
		if len(body) > 0 {
			body[at%uint64(len(body))] ^= 1 << (at >> 32 % 8)
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// cutRequest sends the beginning of the body and then breaks the connection.
func (f *Faults) cutRequest(r *http.Request, at uint64) (*http.Response, error) {
	if r.Body == nil || r.ContentLength <= 0 {
		return f.next.RoundTrip(r)
	}
	part := r.Clone(r.Context())
	part.GetBody = nil
	part.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r.Body, int64(at%uint64(r.ContentLength))), cut{}), r.Body}
	return f.next.RoundTrip(part)
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// cut is where a connection broke.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
