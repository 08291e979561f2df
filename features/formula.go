package features

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// formula computes a value from the slots of this reading and of the one
// before; NaN where something that it needs is missing.
type formula func(now, before []float64) float64

// maxFormula bounds a formula's text, and with it its depth.
const maxFormula = 1000

// parseFormula reads an arithmetic expression over the names of slots: numbers,
// + - * / ( ), where a division by zero gives NaN, and the functions
//
//	growth(NAME)    now minus before, NaN when that is negative: a counter restarted
//	change(NAME)    now minus before
//	first(A, B...)  the first that is not NaN
//	max(A, B...), min(A, B...)
//
// Errors name the position, counted from 1.
func parseFormula(text string, slots []string) (formula, error) {
	if len(text) > maxFormula {
		return nil, fmt.Errorf("%d characters, at most %d are read", len(text), maxFormula)
	}
	p := &formulaParser{text: text, slots: slots}
	p.next()
	f, err := p.sum()
	if err == nil && p.token != "" {
		err = fmt.Errorf("unexpected %q", p.token)
	}
	if err != nil {
		return nil, fmt.Errorf("%q, character %d: %w", text, p.at+1, err)
	}
	return f, nil
}

type formulaParser struct {
	text  string
	slots []string
	token string // the current one; "" at the end
	at    int    // where it begins
	end   int    // where it ends
}

// next moves on to the next token: a name, a number or one character.
func (p *formulaParser) next() {
	p.at = p.end
	for p.at < len(p.text) && strings.IndexByte(" \t", p.text[p.at]) >= 0 {
		p.at++
	}
	p.end = p.at
	for p.end < len(p.text) && isWord(p.text[p.end]) {
		p.end++
	}
	if p.end == p.at && p.at < len(p.text) {
		p.end++
	}
	p.token = p.text[p.at:p.end]
}

func isWord(c byte) bool {
	return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (p *formulaParser) expect(token string) error {
	if p.token != token {
		if p.token == "" {
			return fmt.Errorf("%q is missing", token)
		}
		return fmt.Errorf("unexpected %q, want %q", p.token, token)
	}
	p.next()
	return nil
}

func (p *formulaParser) sum() (formula, error) {
	return p.chain(p.product, map[string]func(a, b float64) float64{
		"+": func(a, b float64) float64 { return a + b },
		"-": func(a, b float64) float64 { return a - b },
	})
}

func (p *formulaParser) product() (formula, error) {
	return p.chain(p.operand, map[string]func(a, b float64) float64{
		"*": func(a, b float64) float64 { return a * b },
		"/": quotient,
	})
}

// chain reads operands joined by operators of one rank, from left to right.
func (p *formulaParser) chain(operand func() (formula, error), operators map[string]func(a, b float64) float64) (formula, error) {
	left, err := operand()
	for err == nil {
		apply := operators[p.token]
		if apply == nil {
			return left, nil
		}
		p.next()
		var right formula
		if right, err = operand(); err == nil {
			a := left
			left = func(now, before []float64) float64 { return apply(a(now, before), right(now, before)) }
		}
	}
	return nil, err
}

func (p *formulaParser) operand() (formula, error) {
	token := p.token
	switch {
	case token == "":
		return nil, errors.New("it ends where a value should stand")
	case token == "-":
		p.next()
		f, err := p.operand()
		if err != nil {
			return nil, err
		}
		return func(now, before []float64) float64 { return -f(now, before) }, nil
	case token == "(":
		p.next()
		f, err := p.sum()
		if err != nil {
			return nil, err
		}
		return f, p.expect(")")
	case !isWord(token[0]):
		return nil, fmt.Errorf("unexpected %q", token)
	}
	if v, err := strconv.ParseFloat(token, 64); err == nil && finite(v) {
		p.next()
		return func(_, _ []float64) float64 { return v }, nil
	}
	at := p.at
	p.next()
	if p.token == "(" {
		f, err := p.call(token)
		return f, err
	}
	slot := slices.Index(p.slots, token)
	if slot < 0 {
		p.at = at
		return nil, fmt.Errorf("%q is neither a metric nor a helper of this preset", token)
	}
	return func(now, _ []float64) float64 { return now[slot] }, nil
}

func (p *formulaParser) call(name string) (formula, error) {
	p.next()
	switch name {
	case "growth", "change":
		slot := slices.Index(p.slots, p.token)
		if slot < 0 {
			return nil, fmt.Errorf("%s takes the name of a metric or helper of this preset, not %q", name, p.token)
		}
		p.next()
		if name == "growth" {
			return func(now, before []float64) float64 { return growth(before[slot], now[slot]) }, p.expect(")")
		}
		return func(now, before []float64) float64 { return now[slot] - before[slot] }, p.expect(")")
	}
	joins := map[string]func(a, b float64) float64{
		"max":   func(a, b float64) float64 { return max(a, b) },
		"min":   func(a, b float64) float64 { return min(a, b) },
		"first": firstReported,
	}
	apply := joins[name]
	if apply == nil {
		return nil, fmt.Errorf("%s is not one of the functions growth, change, first, max, min", name)
	}
	f, err := p.chain(p.sum, map[string]func(a, b float64) float64{",": apply})
	if err != nil {
		return nil, err
	}
	return f, p.expect(")")
}

func firstReported(a, b float64) float64 {
	if math.IsNaN(a) {
		return b
	}
	return a
}

// growth is how much a counter grew between two reads; NaN when one is missing
// or the counter restarted.
func growth(before, now float64) float64 {
	if now < before {
		return math.NaN()
	}
	return now - before
}

// quotient is part of whole, NaN when there is no whole: the share of no time,
// of no swap, the latency of no I/O is not 0.
func quotient(part, whole float64) float64 {
	if whole == 0 {
		return math.NaN()
	}
	return part / whole
}
