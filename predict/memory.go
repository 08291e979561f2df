package predict

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

// memoryMagic begins a memory; the digit is the format's version. See
// docs/format/predictions.md.
const (
	memoryMagic  = "forestall-predictions 2 "
	memoryMagic1 = "forestall-predictions 1 " // JSON alone; it is read
)

// maxMemoryBytes bounds what is read, and so what is written: of a million
// components, each with 60 predictions that wait.
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
	Tracks map[forestall.Component]*track `json:"tracks,omitempty"` // of version 1
	Cells  []*cell                        `json:"cells"`
	Leads  []time.Duration                `json:"leads_ns"`
	Newest time.Time                      `json:"newest"`
}

// MemoryImage is a [Memory] at one moment.
type MemoryImage struct {
	state  memoryState // without tracks of the accuracy
	tracks trackWriter
}

// Image takes the memory as it is now, to be encoded while it goes on.
func (m *Memory) Image() *MemoryImage {
	image := &MemoryImage{state: memoryState{
		Tallies: maps.Clone(m.rest.Tallies), Drifts: maps.Clone(m.rest.Drifts), Trials: maps.Clone(m.rest.Trials),
	}}
	s := &image.state
	if m.Accuracy != nil {
		s.Accuracy = m.Accuracy.image(&image.tracks)
	} else {
		image.tracks.tracksOf(nil)
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
	return image
}

// Encode returns the memory as its file holds it. It is called once.
func (i *MemoryImage) Encode() ([]byte, error) {
	kinds := slices.Sorted(maps.Keys(i.state.Trials))
	i.tracks.uint(uint64(len(kinds)))
	for _, kind := range kinds {
		t := i.state.Trials[kind]
		i.tracks.text(kind.String())
		i.tracks.uint(uint64(len(t.Tracks)))
		for _, c := range slices.SortedFunc(maps.Keys(t.Tracks), forestall.Component.Compare) {
			i.tracks.pairs(c, t.Tracks[c])
		}
		t.Tracks = nil
		i.state.Trials[kind] = t
	}
	text, err := json.Marshal(i.state)
	if err != nil {
		return nil, fmt.Errorf("encode predictions: %w", err)
	}
	body, err := packed(slices.Concat(binary.AppendUvarint(nil, uint64(len(text))), text, i.tracks.bytes()))
	if err != nil {
		return nil, fmt.Errorf("encode predictions: %w", err)
	}
	return sealed(memoryMagic, body), nil
}

// Encode returns the memory as its file holds it.
func (m *Memory) Encode() ([]byte, error) { return m.Image().Encode() }

// packed compresses a body.
func packed(body []byte) ([]byte, error) {
	if len(body) > maxMemoryBytes {
		return nil, fmt.Errorf("%d bytes are more than the %d that are read", len(body), maxMemoryBytes)
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return z.EncodeAll(body, nil), nil
}

func unpacked(body []byte) ([]byte, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxMemoryBytes))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.DecodeAll(body, nil)
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
func sealed(magic string, body []byte) []byte {
	sum := sha256.Sum256(body)
	return slices.Concat([]byte(magic), []byte(hex.EncodeToString(sum[:])), []byte{'\n'}, body)
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
	sum, now := bytes.CutPrefix(header, []byte(memoryMagic))
	old := false
	if !now {
		sum, old = bytes.CutPrefix(header, []byte(memoryMagic1))
	}
	if !ok || !now && !old {
		return s, fmt.Errorf("it begins with %.24q, not with %q", header, memoryMagic)
	}
	if got := sha256.Sum256(body); hex.EncodeToString(got[:]) != string(sum) {
		return s, errors.New("its checksum does not match")
	}
	var tracks []byte
	if now {
		if body, err = unpacked(body); err != nil {
			return s, err
		}
		n, width := binary.Uvarint(body)
		if width <= 0 || n > uint64(len(body)-width) {
			return s, errTracks
		}
		body, tracks = body[width:width+int(n)], body[width+int(n):]
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if now {
		if err := s.readTracks(tracks); err != nil {
			return s, err
		}
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

// readTracks adds what the second part of a file holds.
func (s *memoryState) readTracks(b []byte) error {
	r := &trackReader{b: b}
	r.models()
	tracks := r.tracksOf()
	if s.Accuracy != nil {
		s.Accuracy.Tracks = tracks
	}
	for range r.count() {
		kind, err := forestall.ParseKind(r.text())
		pairs := r.pairsOf()
		if t, ok := s.Trials[kind]; err == nil && ok {
			t.Tracks = pairs
			s.Trials[kind] = t
		}
	}
	if r.err == nil && len(r.b) > 0 {
		return fmt.Errorf("%d bytes follow the end", len(r.b))
	}
	return r.err
}

// image returns all but the tracks, which it writes.
func (a *Accuracy) image(w *trackWriter) *accuracyState {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.tracksOf(a.tracks)
	s := &accuracyState{Leads: slices.Clone(a.times), Newest: a.newest}
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
