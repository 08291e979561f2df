package model

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// MaxBytes bounds the text of a model. 5,000 trees of 31 leaves take about 16 MB.
const MaxBytes = 256 << 20

// ReadEnsemble reads a model in LightGBM's text format, version v3 or v4, with
// one score per row: objective binary, cross_entropy or one of the regressions.
// Everything is checked before anything is built, and memory stays proportional
// to the text. What is not understood is refused, never ignored: linear leaves,
// several classes, averaged forests, unknown keys. Errors wrap [ErrFormat] and
// name the line and the tree.
func ReadEnsemble(r io.Reader) (*Ensemble, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	return parse(text)
}

func parse(text []byte) (*Ensemble, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrFormat, MaxBytes)
	}
	var b *builder
	_, err := readTrees(text, func(h header, t *Tree) error {
		if b == nil {
			b = newBuilder(h.features, h.objective, h.sigmoid)
		}
		return b.add(t)
	})
	if err != nil {
		return nil, err
	}
	return b.finish(), nil
}

// readTrees calls add with each tree of a text, of which there is at least one.
func readTrees(text []byte, add func(h header, t *Tree) error) (header, error) {
	p := &parser{rest: text}
	h, err := p.header()
	if err != nil {
		return h, fmt.Errorf("%w: line %d: %w", ErrFormat, p.lineOf(err, p.number), err)
	}
	n := 0
	for ; p.line != endOfTrees; n++ {
		start := p.number
		t, err := p.tree(n)
		if err != nil {
			return h, fmt.Errorf("%w: line %d: tree %d: %w", ErrFormat, p.lineOf(err, p.number), n, err)
		}
		if err := add(h, &t); err != nil {
			return h, fmt.Errorf("%w: line %d: tree %d: %w", ErrFormat, p.lineOf(err, start), n, err)
		}
	}
	if n != h.trees {
		return h, fmt.Errorf("%w: line %d: the text has %d trees, tree_sizes lists %d", ErrFormat, p.number, n, h.trees)
	}
	return h, nil
}

// ReadTrees reads the trees of a text that [ReadEnsemble] accepts, to add to
// them: [WriteEnsemble] writes them back with the same scores.
func ReadTrees(text []byte) ([]Tree, error) {
	if _, err := parse(text); err != nil {
		return nil, err
	}
	var trees []Tree
	_, err := readTrees(text, func(_ header, t *Tree) error {
		trees = append(trees, *t)
		return nil
	})
	return trees, err
}

const endOfTrees = "end of trees"

// parser walks over the lines of a model's text.
type parser struct {
	rest   []byte
	line   string         // the current one, without white space at its end
	number int            // of line, from 1
	lines  map[string]int // of the keys of the last block
}

// lineOf returns the line that an error is about: that of the key which its text
// begins with, else the given one.
func (p *parser) lineOf(err error, other int) int {
	key, _, _ := strings.Cut(err.Error(), " ")
	if n, ok := p.lines[strings.TrimSuffix(key, ":")]; ok {
		return n
	}
	return max(1, other)
}

// next moves to the next line that is not blank; false at the end of the text.
func (p *parser) next() bool {
	for len(p.rest) > 0 {
		line, rest, _ := bytes.Cut(p.rest, []byte{'\n'})
		p.rest = rest
		p.number++
		if line = bytes.TrimRight(line, " \t\r"); len(line) > 0 {
			p.line = string(line)
			return true
		}
	}
	p.line = ""
	return false
}

// block reads key=value lines until stop says that one belongs to what
// follows. The parser is then at that line.
func (p *parser) block(known string, stop func(line string) bool) (fields, error) {
	f := fields{}
	p.lines = map[string]int{}
	for p.next() {
		if stop(p.line) {
			return f, nil
		}
		key, value, _ := strings.Cut(p.line, "=")
		if !strings.Contains(known, " "+key+" ") {
			if len(bytes.TrimSpace(p.rest)) == 0 {
				return nil, fmt.Errorf("the text is cut off: it ends with %.40q, not with %q", p.line, endOfTrees)
			}
			return nil, fmt.Errorf("key %.40q is not known; the models read here are those of LightGBM 3 and 4 without extensions", key)
		}
		if _, ok := f[key]; ok {
			return nil, fmt.Errorf("key %s appears twice", key)
		}
		f[key], p.lines[key] = value, p.number
	}
	return nil, fmt.Errorf("the text is cut off: it ends before %q", endOfTrees)
}

// fields are the values of one block by key.
type fields map[string]string

func (f fields) number(key string) (int, error) {
	s, ok := f[key]
	if !ok {
		return 0, fmt.Errorf("no %s", key)
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%s is %.40q, not a whole number", key, s)
	}
	return n, nil
}

// list returns the words of a value. It refuses another number of them before
// it allocates.
func (f fields) list(key string, want int) ([]string, error) {
	s, ok := f[key]
	if !ok && want > 0 {
		return nil, fmt.Errorf("no %s", key)
	}
	n := 0
	if s != "" {
		n = strings.Count(s, " ") + 1
	}
	if n != want {
		return nil, fmt.Errorf("%s has %d values instead of %d", key, n, want)
	}
	if n == 0 {
		return nil, nil
	}
	return strings.Split(s, " "), nil
}

// optional is list for a key that may be absent or empty: it then returns nil.
func (f fields) optional(key string, want int) ([]string, error) {
	if f[key] == "" {
		return nil, nil
	}
	return f.list(key, want)
}

func floats(key string, words []string) ([]float64, error) {
	out := make([]float64, len(words))
	for i, s := range words {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s %d is %.40q, not a finite number", key, i, s)
		}
		out[i] = v
	}
	return out, nil
}

func integers(key string, words []string) ([]int, error) {
	out := make([]int, len(words))
	for i, s := range words {
		v, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s %d is %.40q, not a whole number", key, i, s)
		}
		out[i] = int(v)
	}
	return out, nil
}
