package table

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// recordParser reads the cells of a record that are wanted.
type recordParser struct {
	columns []string
	target  []int      // per column where its value goes; -1: nowhere
	text    int        // column that is read as text, which target leaves out; -1: none
	number  int        // where its value as a number goes; -1: nowhere
	code    int        // where its code goes
	times   []timeCell // per column; nil: none holds times
}

// timeCell is where the value of a time goes, which target leaves out. Of a column
// that holds none it is zero.
type timeCell struct {
	column *timeColumn
	to     int
}

func newRecordParser(columns []string, target []int, text int, times []*timeColumn) recordParser {
	p := recordParser{columns: columns, target: slices.Clone(target), text: text, number: -1}
	for _, t := range target {
		p.code = max(p.code, t+1)
	}
	if text >= 0 {
		p.number, p.target[text] = target[text], -1
	}
	for _, c := range times {
		if p.times == nil {
			p.times = make([]timeCell, len(columns))
		}
		if target[c.place] >= 0 {
			p.times[c.place], p.target[c.place] = timeCell{c, target[c.place]}, -1
		}
	}
	return p
}

// cellError is an error about a cell; its text continues "line 7".
type cellError struct {
	column int // from 0
	name   string
	err    error
}

func (e *cellError) Error() string {
	return fmt.Sprintf(", column %d (%s): %v", e.column+1, e.name, e.err)
}

func (e *cellError) Unwrap() error { return e.err }

// record reads the record text[:end], which may hold its line end, and puts the
// value of the cell with target t into dst[t*stride]. slack bytes can be read
// behind end. words takes the cell that is text.
func (p *recordParser) record(text []byte, end int, dst []float64, stride int, words *words) error {
	end = len(trimEnd(text[:end]))
	at := 0
	for column, target := range p.target {
		if target >= 0 {
			// The common cells: a short decimal number, and nothing.
			v, n := missing, 0
			if text[at] != ',' && at < end {
				v, n = number(text[at:])
			}
			if next := at + n; next < end && text[next] == ',' {
				dst[target*stride] = v
				at = next + 1
				continue
			} else if next == end {
				dst[target*stride] = v
				return p.width(column+1, text[:end])
			}
		}
		cell, rest, more, err := nextCell(text[at:end])
		if err != nil {
			return &cellError{column, p.columns[column], err}
		}
		if column == p.text {
			dst[p.code*stride] = words.code(cell)
			target = p.number
		}
		parse := parseNumber
		if p.times != nil && p.times[column].column != nil {
			target, parse = p.times[column].to, p.times[column].column.parse
		}
		if target >= 0 {
			if dst[target*stride], err = parse(cell); err != nil {
				if not := (*NotNumber)(nil); errors.As(err, &not) {
					not.Column = p.columns[column]
				}
				return &cellError{column, p.columns[column], err}
			}
		}
		if !more {
			return p.width(column+1, text[:end])
		}
		at = end - len(rest)
	}
	return p.width(len(p.columns)+1+bytes.Count(text[at:end], []byte{','}), text[:end])
}

// width reports another number of cells in a record than columns.
func (p *recordParser) width(cells int, rec []byte) error {
	if cells == len(p.columns) {
		return nil
	}
	if n := lineEnds(rec); n > 0 {
		return fmt.Errorf(": the row has %d cells in %d lines, the header has %d; is a quote never closed?", cells, n+1, len(p.columns))
	}
	return fmt.Errorf(": the row has %d cells, the header has %d", cells, len(p.columns))
}

func trimEnd(rec []byte) []byte {
	if n := len(rec); n > 0 && rec[n-1] == '\n' {
		rec = rec[:n-1]
	}
	if n := len(rec); n > 0 && rec[n-1] == '\r' {
		rec = rec[:n-1]
	}
	return rec
}

// nextCell cuts the first cell off rec; more says that a comma follows it.
func nextCell(rec []byte) (cell, rest []byte, more bool, err error) {
	if len(rec) == 0 || rec[0] != '"' {
		at := bytes.IndexByte(rec, ',')
		if at < 0 {
			return rec, nil, false, nil
		}
		return rec[:at], rec[at+1:], true, nil
	}
	var text []byte
	for body := rec[1:]; ; {
		at := bytes.IndexByte(body, '"')
		if at < 0 {
			return nil, nil, false, errors.New("a quote is opened and never closed")
		}
		text = append(text, body[:at]...)
		body = body[at+1:]
		switch {
		case len(body) == 0:
			return text, nil, false, nil
		case body[0] == ',':
			return text, body[1:], true, nil
		case body[0] != '"':
			return nil, nil, false, errors.New("something follows a closing quote")
		}
		text = append(text, '"')
		body = body[1:]
	}
}

// splitCells cuts a whole record into its cells, without the space around them.
func splitCells(rec []byte) ([]string, error) {
	rec = trimEnd(rec)
	var cells []string
	for {
		cell, rest, more, err := nextCell(rec)
		if err != nil {
			return nil, fmt.Errorf(", column %d: %w", len(cells)+1, err)
		}
		cells = append(cells, strings.TrimSpace(string(cell)))
		if !more {
			return cells, nil
		}
		rec = rest
	}
}
