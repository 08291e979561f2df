package predict

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

// memoryMagic begins a memory; the digit is the format's version. See
// docs/format/predictions.md.
const memoryMagic = "forestall-predictions 1 "

// maxMemoryBytes bounds what is read.
const maxMemoryBytes = 1 << 30

// ErrMemory is wrapped by every refusal of a memory that is read.
var ErrMemory = errors.New("unreadable record of predictions")

// Memory is what an engine knows of its predictions and must not forget with a
// restart: those whose outcome is not known yet, what came of the others, how
// often each threshold would have alarmed, and how the telemetry lay. Fields that
// are nil are left as they are.
//
// What was read of a model that is not at work yet is kept until [Memory.Adopt]
// finds its place.
type Memory struct {
	Accuracy *Accuracy
	Tallies  map[string]*Tally // by the digest of the model's card
	Drifts   map[string]*Drift // likewise
	Trials   map[forestall.Kind]*Trial
	Fleet    *Fleet
	Clock    Clock // goes on from the newest time that Accuracy was told
	Watch    *anomaly.Watch

	rest memoryState // read, without a place yet
}

// keptModels bounds what is kept of models that are not at work.
const keptModels = 16

type memoryState struct {
	Accuracy *accuracyState                `json:"accuracy,omitempty"`
	Tallies  map[string]tallyState         `json:"tallies,omitempty"`
	Drifts   map[string]driftState         `json:"drifts,omitempty"`
	Trials   map[forestall.Kind]trialState `json:"trials,omitempty"`
	Fleet    *fleetState                   `json:"fleet,omitempty"`
	Usual    *anomaly.State                `json:"usual,omitempty"`
}

type accuracyState struct {
	Tracks map[forestall.Component]*track `json:"tracks"`
	Cells  []*cell                        `json:"cells"`
	Leads  []time.Duration                `json:"leads_ns"`
	Newest time.Time                      `json:"newest"`
}

// Encode returns the memory as its file holds it.
func (m *Memory) Encode() ([]byte, error) {
	s := memoryState{
		Tallies: maps.Clone(m.rest.Tallies), Drifts: maps.Clone(m.rest.Drifts), Trials: maps.Clone(m.rest.Trials),
	}
	if m.Accuracy != nil {
		s.Accuracy = m.Accuracy.state()
	}
	if m.Fleet != nil {
		s.Fleet = m.Fleet.state()
	}
	if m.Watch != nil {
		usual := m.Watch.State()
		s.Usual = &usual
	}
	put(&s.Tallies, m.Tallies, (*Tally).state)
	put(&s.Drifts, m.Drifts, (*Drift).state)
	put(&s.Trials, m.Trials, (*Trial).state)
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode predictions: %w", err)
	}
	return sealed(body), nil
}

func put[K comparable, V, S any](to *map[K]S, from map[K]V, state func(V) S) {
	for k, v := range from {
		if *to == nil {
			*to = map[K]S{}
		}
		(*to)[k] = state(v)
	}
}

// sealed puts the header before a body.
func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return slices.Concat([]byte(memoryMagic), []byte(hex.EncodeToString(sum[:])), []byte{'\n'}, body)
}

// Read takes up what [Memory.Encode] wrote. After an error, which wraps
// [ErrMemory], nothing has changed.
func (m *Memory) Read(r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, maxMemoryBytes+1))
	if err != nil {
		return fmt.Errorf("read predictions: %w", err)
	}
	s, err := decodeMemory(text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMemory, err)
	}
	if m.Accuracy != nil && s.Accuracy != nil {
		m.Accuracy.adopt(s.Accuracy)
		m.Clock = Clock{newest: s.Accuracy.Newest}
	}
	if m.Fleet != nil && s.Fleet != nil {
		m.Fleet.adopt(s.Fleet)
	}
	if m.Watch != nil && s.Usual != nil {
		if err := m.Watch.Adopt(*s.Usual); err != nil {
			return fmt.Errorf("%w: %w", ErrMemory, err)
		}
	}
	m.rest = s
	m.rest.Accuracy, m.rest.Fleet, m.rest.Usual = nil, nil, nil
	m.Adopt()
	return nil
}

// Adopt gives what was read and had no place then to those that have come since.
func (m *Memory) Adopt() {
	take(m.rest.Tallies, m.Tallies, (*Tally).adopt)
	take(m.rest.Drifts, m.Drifts, (*Drift).adopt)
	take(m.rest.Trials, m.Trials, (*Trial).adopt)
	for len(m.rest.Tallies) > keptModels {
		delete(m.rest.Tallies, slices.Min(slices.Collect(maps.Keys(m.rest.Tallies))))
	}
	for len(m.rest.Drifts) > keptModels {
		delete(m.rest.Drifts, slices.Min(slices.Collect(maps.Keys(m.rest.Drifts))))
	}
}

func take[K comparable, V, S any](from map[K]S, to map[K]V, adopt func(V, S)) {
	for k, v := range to {
		if s, ok := from[k]; ok {
			adopt(v, s)
			delete(from, k)
		}
	}
}

func decodeMemory(text []byte) (s memoryState, err error) {
	if len(text) > maxMemoryBytes {
		return s, fmt.Errorf("it is larger than %d bytes", maxMemoryBytes)
	}
	header, body, ok := bytes.Cut(text, []byte{'\n'})
	sum, magic := bytes.CutPrefix(header, []byte(memoryMagic))
	if !ok || !magic {
		return s, fmt.Errorf("it begins with %.24q, not with %q", header, memoryMagic)
	}
	if got := sha256.Sum256(body); hex.EncodeToString(got[:]) != string(sum) {
		return s, errors.New("its checksum does not match")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if s.Accuracy != nil {
		if err := s.Accuracy.check(); err != nil {
			return s, err
		}
	}
	if s.Fleet != nil {
		if err := s.Fleet.check(); err != nil {
			return s, err
		}
	}
	if s.Usual != nil {
		if err := s.Usual.Check(); err != nil {
			return s, fmt.Errorf("what is usual: %w", err)
		}
	}
	for digest, t := range s.Tallies {
		if err := t.check(); err != nil {
			return s, fmt.Errorf("tally of model %.12s: %w", digest, err)
		}
	}
	for _, t := range s.Trials {
		if err := t.check(); err != nil {
			return s, err
		}
	}
	for _, d := range s.Drifts {
		if err := d.check(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (a *Accuracy) state() *accuracyState {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &accuracyState{Tracks: map[forestall.Component]*track{}, Leads: slices.Clone(a.times), Newest: a.newest}
	for c, t := range a.tracks {
		copied := *t
		copied.Pending = slices.Clone(t.Pending)
		s.Tracks[c] = &copied
	}
	for _, c := range a.cells {
		copied := *c
		s.Cells = append(s.Cells, &copied)
	}
	slices.SortFunc(s.Cells, (*cell).compare)
	return s
}

func (s *accuracyState) check() error {
	for c, t := range s.Tracks {
		if t == nil {
			return fmt.Errorf("nothing is said of %s", c)
		}
		for _, p := range t.Pending {
			if !(p.Probability >= 0 && p.Probability <= 1) {
				return fmt.Errorf("%s: %v is no probability", c, p.Probability)
			}
		}
	}
	for _, c := range s.Cells {
		if c == nil || min(c.Of.TP, c.Of.FP, c.Of.TN, c.Of.FN, c.Failures, c.Caught, c.FalseAlarms) < 0 {
			return errors.New("a count is missing or negative")
		}
	}
	return nil
}

func (a *Accuracy) adopt(s *accuracyState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tracks, a.times, a.newest = s.Tracks, s.Leads, s.Newest
	if a.tracks == nil {
		a.tracks = map[forestall.Component]*track{}
	}
	a.cells = map[cellKey]*cell{}
	for _, c := range s.Cells {
		a.cells[cellKey{c.Day, c.Kind, c.Model}] = c
	}
	for _, lead := range a.times {
		a.lead.Observe(lead.Seconds())
	}
}
