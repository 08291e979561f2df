package train

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// maxRecord bounds the text of one row.
const maxRecord = 16 << 20

// chunkBytes is how much text is read at a time.
const chunkBytes = 1 << 20

// chunk is the text of whole records, the last of which may lack its line end.
type chunk struct {
	text []byte
	line int // of its first byte
}

// splitter cuts a text into chunks between records. A line end within quotes
// does not end a record.
type splitter struct {
	in   io.Reader
	buf  []byte // of the last chunk
	tail []byte // the end of buf, read and not yet returned
	line int    // of the first byte of tail
	done bool   // in is at its end
}

// next returns the next chunk, which is valid until the next call, or io.EOF.
func (s *splitter) next() (chunk, error) {
	if s.buf == nil {
		s.buf = make([]byte, 0, chunkBytes)
	}
	text := append(s.buf[:0], s.tail...) // moved to the front
	for !s.done {
		var err error
		if text, err = s.fill(text); err != nil {
			return chunk{}, fmt.Errorf("after line %d: %w", s.line, err)
		}
		if end := lastRecord(text); end > 0 && !s.done {
			return s.cut(text, end), nil
		}
		if s.done {
			break
		}
		if len(text) > maxRecord {
			return chunk{}, fmt.Errorf("line %d: the row is longer than %d bytes; is a quote never closed?", s.line, maxRecord)
		}
		grown := make([]byte, len(text), 2*cap(text))
		copy(grown, text)
		text = grown
	}
	if len(text) == 0 {
		return chunk{}, io.EOF
	}
	return s.cut(text, len(text)), nil
}

// fill reads until text has no more room or the input ends.
func (s *splitter) fill(text []byte) ([]byte, error) {
	for len(text) < cap(text) {
		n, err := s.in.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if errors.Is(err, io.EOF) {
			s.done = true
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return text, nil
}

func (s *splitter) cut(text []byte, end int) chunk {
	s.buf = text
	c := chunk{text: text[:end], line: s.line}
	s.tail = text[end:]
	s.line += bytes.Count(c.text, []byte{'\n'})
	return c
}

// lastRecord returns the length of the whole records at the start of text.
func lastRecord(text []byte) int {
	if bytes.IndexByte(text, '"') < 0 {
		return bytes.LastIndexByte(text, '\n') + 1
	}
	end := 0
	for end < len(text) {
		n, _ := recordLen(text[end:])
		if text[end+n-1] != '\n' || insideQuotes(text[end:end+n]) {
			break
		}
		end += n
	}
	return end
}

// recordLen returns the length of the first record of text, its line end
// included, and how many lines it takes.
func recordLen(text []byte) (n, lines int) {
	for open := false; ; {
		at := bytes.IndexByte(text[n:], '\n')
		if at < 0 {
			return len(text), lines + 1
		}
		open = open != insideQuotes(text[n:n+at])
		n += at + 1
		lines++
		if !open {
			return n, lines
		}
	}
}

// insideQuotes reports whether a quote that opens in text is not closed in it.
func insideQuotes(text []byte) bool { return bytes.Count(text, []byte{'"'})%2 == 1 }

// recordParser reads the cells of a record that are wanted.
type recordParser struct {
	columns []string
	target  []int // per column where its value goes; -1: nowhere
}

// cellError is an error about a cell; its text continues "line 7".
type cellError struct {
	column int // from 0
	name   string
	reason string
}

func (e *cellError) Error() string {
	return fmt.Sprintf(", column %d (%s): %s", e.column+1, e.name, e.reason)
}

// blank reports a line without content. In a table of one column it is a
// missing cell.
func (p *recordParser) blank(rec []byte) bool {
	return len(rec) <= 2 && len(p.columns) != 1 && len(bytes.TrimRight(rec, "\r\n")) == 0
}

func (p *recordParser) record(rec []byte, dst []float64) error {
	rec = trimEnd(rec)
	for column, target := range p.target {
		if len(rec) > 0 && rec[0] != '"' && target >= 0 {
			// The common cell: a short decimal number.
			if v, n, ok := shortNumber(rec); ok {
				dst[target] = v
				if n == len(rec) {
					return p.width(column + 1)
				}
				rec = rec[n+1:]
				continue
			}
		}
		cell, rest, more, err := nextCell(rec)
		if err != nil {
			return &cellError{column, p.columns[column], err.Error()}
		}
		if target >= 0 {
			if dst[target], err = parseNumber(cell); err != nil {
				return &cellError{column, p.columns[column], err.Error()}
			}
		}
		if !more {
			return p.width(column + 1)
		}
		rec = rest
	}
	return p.width(len(p.columns) + 1 + bytes.Count(rec, []byte{','}))
}

func (p *recordParser) width(cells int) error {
	if cells == len(p.columns) {
		return nil
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

// missing is how an absent value is held.
var missing = math.NaN()
