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
	"path/filepath"
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
	text, err := ReadFile(fsys, path.Join(dir, TreesFile))
	if errors.Is(err, ErrFormat) {
		return nil, fmt.Errorf("%s: %w", TreesFile, err)
	} else if err != nil {
		return nil, err
	}
	f, err := open(fsys, path.Join(dir, CardFile), maxCardBytes, ErrCard)
	if errors.Is(err, ErrCard) {
		return nil, fmt.Errorf("%s: %w", CardFile, err)
	} else if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	card, err := ReadCard(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", CardFile, err)
	}
	if card.TreesSHA256 == "" {
		return nil, fmt.Errorf("%s: %w: trees_sha256 is empty", CardFile, ErrCard)
	}
	m, err := New(text, card)
	if errors.Is(err, ErrFormat) {
		return nil, fmt.Errorf("%s: %w", TreesFile, err)
	}
	return m, err
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

// Save writes a model's text and card to a directory, which it creates. It
// first checks them as [New] does, and puts the trees' SHA-256 in the card. A
// model that is there already stays until both files are written; each is then
// replaced whole, the card last, so that after a crash between the two Load
// refuses the pair by its SHA-256 and never mixes them.
func Save(dir string, text []byte, card Card) error {
	card.TreesSHA256 = ""
	m, err := New(text, card)
	if err != nil {
		return fmt.Errorf("save model %s: %w", dir, err)
	}
	encoded, err := m.Card.encode()
	if err != nil {
		return fmt.Errorf("save model %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	// A full disk is met before the old model is touched.
	trees, err := writeBeside(filepath.Join(dir, TreesFile), text)
	if err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	defer os.Remove(trees) // gone by then, where all went well
	about, err := writeBeside(filepath.Join(dir, CardFile), encoded)
	if err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	defer os.Remove(about)
	if err := rename(trees, filepath.Join(dir, TreesFile)); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	if err := rename(about, filepath.Join(dir, CardFile)); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	return nil
}

// ReplaceFile writes a file so that after a crash its name holds the old content
// or the new, whole.
func ReplaceFile(name string, content []byte) error {
	temporary, err := writeBeside(name, content)
	if err != nil {
		return err
	}
	defer os.Remove(temporary) // gone by then, where all went well
	return rename(temporary, name)
}

// writeBeside writes what is to become the content of a file into a new one
// beside it, durably, and returns its name. Where that fails nothing is left.
func writeBeside(name string, content []byte) (temporary string, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// rename gives a file its name, durably.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
