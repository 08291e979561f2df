package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
)

// The files of a model's directory.
const (
	TreesFile = "model.txt"
	CardFile  = "card.json"
)

// Model is an ensemble with its card, found to belong together.
type Model struct {
	*Ensemble
	Card Card
}

// Load reads the model in a directory: its trees from model.txt, its card from
// card.json. See [New] for what is checked.
func Load(dir string) (*Model, error) {
	m, err := LoadFS(os.DirFS(dir), ".")
	if err != nil {
		return nil, fmt.Errorf("load model %s: %w", dir, err)
	}
	return m, nil
}

// LoadFS is [Load] for a directory of a file system.
func LoadFS(fsys fs.FS, dir string) (*Model, error) {
	text, card, err := readPair(fsys, dir)
	if err != nil {
		return nil, err
	}
	m, err := New(text, card)
	if errors.Is(err, ErrFormat) {
		return nil, fmt.Errorf("%s: %w", TreesFile, err)
	}
	return m, err
}

// ReadPair reads the text of the trees and the card of a model's directory, as [Load]
// does, which also checks them against each other.
func ReadPair(dir string) (text []byte, card Card, err error) {
	if text, card, err = readPair(os.DirFS(dir), "."); err != nil {
		err = fmt.Errorf("load model %s: %w", dir, err)
	}
	return text, card, err
}

// readPair is [ReadPair] for a directory of a file system. Where the two do not belong
// together a [Save] was killed between them, and the card that it left is the one; or
// it came between the two that were read, which then are read again.
func readPair(fsys fs.FS, dir string) (text []byte, card Card, err error) {
	for range 4 {
		text, err = ReadFile(fsys, path.Join(dir, TreesFile))
		if errors.Is(err, ErrFormat) {
			return nil, card, fmt.Errorf("%s: %w", TreesFile, err)
		} else if err != nil {
			return nil, card, err
		}
		sum := Digest(text)
		card, err = readCard(fsys, dir, CardFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && card.TreesSHA256 == sum {
			break
		}
		if next, bad := readCard(fsys, dir, nextCardFile); bad == nil && next.TreesSHA256 == sum {
			return text, next, nil
		}
	}
	return text, card, err // where they differ New says how
}

func readCard(fsys fs.FS, dir, name string) (Card, error) {
	f, err := open(fsys, path.Join(dir, name), maxCardBytes, ErrCard)
	if errors.Is(err, ErrCard) {
		return Card{}, fmt.Errorf("%s: %w", name, err)
	} else if err != nil {
		return Card{}, err
	}
	defer func() { _ = f.Close() }() // only read
	card, err := ReadCard(f)
	if err == nil && card.TreesSHA256 == "" {
		err = fmt.Errorf("%w: trees_sha256 is empty", ErrCard)
	}
	if err != nil {
		return Card{}, fmt.Errorf("%s: %w", name, err)
	}
	return card, nil
}

// ReadFile is fs.ReadFile for the text of a model, of which it reads no more than
// it takes to see that it is larger than [MaxBytes].
func ReadFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := open(fsys, name, MaxBytes, ErrFormat)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

// open opens a file that is no larger than most. It asks what it is before, for to
// open a pipe waits for who writes it.
func open(fsys fs.FS, name string, most int64, wrong error) (fs.File, error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) != 0:
		return nil, fmt.Errorf("%w: it is a pipe, a socket or a device, not a file", wrong)
	case info.Size() > most:
		return nil, fmt.Errorf("%w: it is larger than %d bytes", wrong, most)
	}
	return fsys.Open(name)
}

// New builds a model from the text of its trees and its card. It checks both by
// themselves, the trees' SHA-256 unless the card names none, and the features'
// names; then an independent evaluator scores probe rows, and the model is
// refused with [ErrSecondOpinion] where the two disagree by more than 1e-9.
func New(text []byte, card Card) (*Model, error) {
	if err := card.Validate(); err != nil {
		return nil, err
	}
	sum := Digest(text)
	if card.TreesSHA256 != "" && sum != card.TreesSHA256 {
		return nil, fmt.Errorf("%w: the SHA-256 of the trees is %s, the card names %s", ErrMismatch, sum, card.TreesSHA256)
	}
	card.TreesSHA256 = sum
	if card.Calibration.Method == "" {
		card.Calibration.Method = None
	}
	e, err := parse(text)
	if err != nil {
		return nil, err
	}
	if err := sameNames(e.features, card.Features); err != nil {
		return nil, err
	}
	if card.Kind != "" && e.sigmoid == 0 && card.Calibration.Method == None {
		return nil, fmt.Errorf("%w: objective %s: %w", ErrMismatch, e.objective, ErrNoProbability)
	}
	if err := secondOpinion(text, e); err != nil {
		return nil, err
	}
	return &Model{e, card}, nil
}

func sameNames(trees, card []string) error {
	if len(trees) != len(card) {
		return fmt.Errorf("%w: the trees have %d features, the card has %d", ErrMismatch, len(trees), len(card))
	}
	for i := range trees {
		if trees[i] != card[i] {
			return fmt.Errorf("%w: feature %d is %q in the trees and %q in the card", ErrMismatch, i, trees[i], card[i])
		}
	}
	return nil
}

// Digest returns the SHA-256 of a model's text as its card holds it.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Probability returns the calibrated probability of one row, in [0,1]. A
// regression without a calibration has none: [ErrNoProbability].
func (m *Model) Probability(row []float64) (float64, error) {
	if !m.hasProbability() {
		return 0, ErrNoProbability
	}
	raw, err := m.Raw(row)
	if err != nil {
		return 0, err
	}
	return m.probability(raw)
}

// ProbabilityOf returns the calibrated probability of a raw score, as
// [Model.Probability] does of a row's.
func (m *Model) ProbabilityOf(raw float64) (float64, error) {
	if !m.hasProbability() {
		return 0, ErrNoProbability
	}
	return m.probability(raw)
}

// Probabilities writes the calibrated probability of each row to dst, as
// [Model.Probability] gives it. rows holds len(dst) rows one after the other.
func (m *Model) Probabilities(rows, dst []float64) error {
	if !m.hasProbability() {
		return ErrNoProbability
	}
	if err := m.RawBatch(rows, dst); err != nil {
		return err
	}
	for i, raw := range dst {
		p, err := m.probability(raw)
		if err != nil {
			return err
		}
		dst[i] = p
	}
	return nil
}

func (m *Model) hasProbability() bool {
	return m.sigmoid != 0 || m.Card.Calibration.Method != None
}

func (m *Model) probability(raw float64) (float64, error) {
	p := m.Card.Calibration.apply(raw, m.sigmoid)
	if math.IsNaN(p) {
		return 0, fmt.Errorf("the probability of raw score %v is not a number", raw)
	}
	return p, nil
}
