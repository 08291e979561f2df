package predict

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// memoryMagic begins a memory; the digit is the format's version. See
// docs/format/predictions.md.
const memoryMagic = "forestall-predictions 1 "

// maxMemoryBytes bounds what is read.
const maxMemoryBytes = 1 << 30

// ErrMemory is wrapped by every refusal of a memory that is read.
var ErrMemory = errors.New("unreadable record of predictions")

// Memory is what an engine knows of its predictions and must not forget with a
// restart: those whose outcome is not known yet, what came of the others, and
// how often each threshold would have alarmed. Fields that are nil are left as
// they are.
type Memory struct {
	Accuracy *Accuracy
	Tallies  map[forestall.Kind]*Tally
}

type memoryState struct {
	Accuracy *accuracyState                `json:"accuracy,omitempty"`
	Tallies  map[forestall.Kind]tallyState `json:"tallies,omitempty"`
}

type accuracyState struct {
	Tracks map[forestall.Component]*track `json:"tracks"`
	Cells  []*cell                        `json:"cells"`
	Leads  []time.Duration                `json:"leads_ns"`
	Newest time.Time                      `json:"newest"`
}

// Encode returns the memory as its file holds it.
func (m Memory) Encode() ([]byte, error) {
	var s memoryState
	if m.Accuracy != nil {
		s.Accuracy = m.Accuracy.state()
	}
	s.Tallies = map[forestall.Kind]tallyState{}
	for kind, t := range m.Tallies {
		s.Tallies[kind] = t.state()
	}
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode predictions: %w", err)
	}
	return sealed(body), nil
}

// sealed puts the header before a body.
func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return slices.Concat([]byte(memoryMagic), []byte(hex.EncodeToString(sum[:])), []byte{'\n'}, body)
}

// Read takes up what [Memory.Encode] wrote. After an error, which wraps
// [ErrMemory], nothing has changed.
func (m Memory) Read(r io.Reader) error {
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
	}
	for kind, t := range m.Tallies {
		t.adopt(s.Tallies[kind])
	}
	return nil
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
	for kind, t := range s.Tallies {
		if err := t.check(); err != nil {
			return s, fmt.Errorf("tally of %s: %w", kind, err)
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
