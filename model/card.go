package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// CardFormat is the version of the card's JSON that this package writes, and
// the only one it reads.
const CardFormat = 1

// maxCardBytes bounds a card's text.
const maxCardBytes = 16 << 20

// Card says what an ensemble is about. It travels with the trees, as card.json
// beside model.txt; docs/format/model.md describes its fields.
type Card struct {
	Format       int                `json:"format"`
	Name         string             `json:"name"`
	Version      string             `json:"version"`                        // shown as Risk.Model
	Kind         string             `json:"kind,omitempty"`                 // of component it judges: node, gpu, agent, service
	Schema       string             `json:"schema,omitempty"`               // version of the feature schema it was trained under
	Features     []string           `json:"features"`                       // those of the trees, in their order
	Windows      []Duration         `json:"windows,omitempty"`              // of the features, rising
	Horizon      Duration           `json:"horizon,omitempty"`              // the probability is of a failure within (lead, lead+horizon]; 0 only without a kind: not said
	Lead         Duration           `json:"lead,omitempty"`                 // what comes sooner is too late to act on
	Calibration  Calibration        `json:"calibration"`                    //
	Thresholds   *Thresholds        `json:"thresholds,omitempty"`           // nil: the application's own
	Training     Training           `json:"training"`                       //
	Trials       *Trials            `json:"trials,omitempty"`               // nil: the parameters were not judged on held-out rows
	Reliability  *Reliability       `json:"reliability,omitempty"`          // nil: the probabilities were not judged on held-out rows
	Recalibrated *Recalibration     `json:"recalibrated,omitempty"`         // nil: the calibration is as it was fitted; else it has been corrected by this
	Distribution *Distribution      `json:"distribution,omitempty"`         // nil: drift cannot be seen
	Unlike       *Unlike            `json:"unlike,omitempty"`               // nil: what is unlike ordinary operation cannot be seen
	Metrics      map[string]float64 `json:"metrics,omitempty"`              // on held-out data, by name
	Monotone     map[string]int     `json:"monotone_constraints,omitempty"` // feature to +1 or -1
	TreesSHA256  string             `json:"trees_sha256"`                   // of model.txt, hex
}

// Training says where a model comes from.
type Training struct {
	From       time.Time `json:"from,omitzero"`         // the training data's first moment
	To         time.Time `json:"to,omitzero"`           // and its last
	DataSHA256 string    `json:"data_sha256,omitempty"` // hex
	Notes      string    `json:"notes,omitempty"`       // in words; "hand-made" when nothing was trained
}

// HandMade reports whether nothing was trained.
func (t Training) HandMade() bool { return strings.HasPrefix(t.Notes, "hand-made") }

// Thresholds are the probabilities from which a component is suspect and
// failing.
type Thresholds struct {
	Suspect float64 `json:"suspect"`
	Failing float64 `json:"failing"`
}

// Duration is a time.Duration that is written as "1m0s".
type Duration time.Duration

// String returns the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration takes.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration %.40q: write it as 30s or 1h30m", b)
	}
	*d = Duration(v)
	return nil
}

// ReadCard reads a card. Unknown fields and other formats are errors, which
// wrap [ErrCard].
func ReadCard(r io.Reader) (Card, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxCardBytes+1))
	if err != nil {
		return Card{}, fmt.Errorf("read card: %w", err)
	}
	if len(text) > maxCardBytes {
		return Card{}, fmt.Errorf("%w: it is larger than %d bytes", ErrCard, maxCardBytes)
	}
	var f struct{ Format int }
	if err := json.Unmarshal(text, &f); err != nil {
		return Card{}, fmt.Errorf("%w: %w", ErrCard, err)
	}
	if f.Format != CardFormat {
		return Card{}, fmt.Errorf("%w: format is %d; format %d is read", ErrCard, f.Format, CardFormat)
	}
	var c Card
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Card{}, fmt.Errorf("%w: %w", ErrCard, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Card{}, fmt.Errorf("%w: something follows the card", ErrCard)
	}
	if err := c.Validate(); err != nil {
		return Card{}, err
	}
	return c, nil
}

// Validate reports what is wrong with the card by itself; the error wraps
// [ErrCard] and names the field.
func (c *Card) Validate() error {
	bad := func(field, format string, args ...any) error {
		return fmt.Errorf("%w: %s %s", ErrCard, field, fmt.Sprintf(format, args...))
	}
	switch {
	case c.Format != CardFormat:
		return bad("format", "is %d, not %d", c.Format, CardFormat)
	case c.Name == "":
		return bad("name", "is empty")
	case c.Version == "":
		return bad("version", "is empty")
	case len(c.Features) == 0:
		return bad("features", "is empty")
	case c.Horizon < 0 || c.Horizon == 0 && c.Kind != "":
		return bad("horizon", "is %v; it must be positive", c.Horizon)
	case c.Lead < 0:
		return bad("lead", "is %v; it must not be negative", c.Lead)
	}
	for i, w := range c.Windows {
		if w <= 0 || i > 0 && w <= c.Windows[i-1] {
			return bad("windows", "%v must be positive and rise", c.Windows)
		}
	}
	if t := c.Thresholds; t != nil && !(0 < t.Suspect && t.Suspect < t.Failing && t.Failing <= 1) {
		return bad("thresholds", "suspect %v and failing %v must satisfy 0 < suspect < failing <= 1", t.Suspect, t.Failing)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Monotone)) {
		if v := c.Monotone[name]; v != 1 && v != -1 {
			return bad("monotone_constraints", "of %.60q is %d, not 1 or -1", name, v)
		}
		if !slices.Contains(c.Features, name) {
			return bad("monotone_constraints", "names %.60q, which is not among the features", name)
		}
	}
	for _, h := range []string{c.TreesSHA256, c.Training.DataSHA256} {
		if h != "" && (len(h) != 64 || strings.Trim(h, "0123456789abcdef") != "") {
			return bad("sha256", "%.80q is not 64 lower-case hex digits", h)
		}
	}
	if err := c.Calibration.Validate(); err != nil {
		return bad("calibration", "%v", err)
	}
	if t := c.Trials; t != nil {
		if err := t.Validate(); err != nil {
			return bad("trials", "%v", err)
		}
	}
	if d := c.Distribution; d != nil {
		if err := d.Validate(len(c.Features)); err != nil {
			return bad("distribution", "%v", err)
		}
	}
	if u := c.Unlike; u != nil {
		if err := u.Validate(c.Features); err != nil {
			return bad("unlike", "%v", err)
		}
	}
	if r := c.Recalibrated; r != nil {
		if err := r.Validate(); err != nil {
			return bad("recalibrated", "%v", err)
		}
	}
	if r := c.Reliability; r != nil {
		if err := r.Validate(); err != nil {
			return bad("reliability", "%v", err)
		}
	}
	return nil
}

// Digest returns the SHA-256 of the card, in hex. As the card holds the trees'
// digest, it names a model: what it was trained on, its trees, its calibration
// and its thresholds. It is that of the card's canonical text, whatever blanks
// its file has.
func (c *Card) Digest() (string, error) {
	text, err := c.encode()
	if err != nil {
		return "", err
	}
	return Digest(text), nil
}

// encode returns the card as its file holds it.
func (c *Card) encode() ([]byte, error) {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCard, err)
	}
	return append(text, '\n'), nil
}

// Sigmoid returns 1/(1+e^-x).
func Sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
