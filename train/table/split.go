package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxRecord bounds the text of one row.
const maxRecord = 16 << 20

// chunkBytes is how much text is read at a time: little enough for the
// second-level cache together with its values.
const chunkBytes = 256 << 10

// chunk is the text of whole records, the last of which may lack its line end.
// slack bytes can be read behind it.
type chunk struct {
	text   []byte
	line   int  // of its first byte, from 1
	quotes bool // there are some, so that a line end need not end a record
	one    bool // the table has one column, so that a blank line is a row
	buf    []byte
}

// splitter cuts a text into chunks between records. A line end within quotes
// does not end a record.
type splitter struct {
	in   io.Reader
	tail []byte // read and not yet returned
	line int    // of the first byte of tail
	done bool   // in is at its end
}

// next reads the next chunk into c, whose buffer it uses, or returns io.EOF.
func (s *splitter) next(c *chunk) error {
	if c.buf == nil {
		c.buf = make([]byte, chunkBytes+slack)
	}
	for room := chunkBytes; ; room *= 2 {
		for room < len(s.tail)+chunkBytes/2 {
			room *= 2
		}
		if room+slack > len(c.buf) {
			c.buf = make([]byte, room+slack)
		}
		n := copy(c.buf, s.tail)
		n, err := s.fill(c.buf[:room], n)
		if err != nil {
			return fmt.Errorf("after line %d: %w", s.line, err)
		}
		text := c.buf[:n]
		c.quotes = bytes.IndexByte(text, '"') >= 0
		end := n
		if !s.done {
			end = lastRecord(text, c.quotes)
		}
		if n == 0 {
			return io.EOF
		}
		s.tail = append(s.tail[:0], text[end:]...)
		if end > 0 {
			c.text, c.line = text[:end], s.line
			s.line += lineEnds(c.text)
			return nil
		}
		if n > maxRecord {
			return fmt.Errorf("line %d: the row is longer than %d bytes; is a quote never closed?", s.line, maxRecord)
		}
	}
}

// fill reads until buf, which holds n bytes, is full or the input ends.
func (s *splitter) fill(buf []byte, n int) (int, error) {
	for n < len(buf) && !s.done {
		k, err := s.in.Read(buf[n:])
		n += k
		if errors.Is(err, io.EOF) {
			s.done = true
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// lastRecord returns the length of the whole records at the start of text.
func lastRecord(text []byte, quotes bool) int {
	if !quotes {
		return bytes.LastIndexByte(text, '\n') + 1
	}
	end, open := 0, false
	for at := 0; ; {
		n := bytes.IndexByte(text[at:], '\n')
		if n < 0 {
			return end
		}
		open = open != insideQuotes(text[at:at+n])
		at += n + 1
		if !open {
			end = at
		}
	}
}

// recordLen returns the length of the first record of text, its line end
// included, and how many lines it takes.
func recordLen(text []byte, quotes bool) (n, lines int) {
	for open := false; ; {
		at := bytes.IndexByte(text[n:], '\n')
		if at < 0 {
			return len(text), lines + 1
		}
		open = quotes && open != insideQuotes(text[n:n+at])
		n += at + 1
		lines++
		if !open {
			return n, lines
		}
	}
}

// insideQuotes reports whether a quote that opens in text is not closed in it.
func insideQuotes(text []byte) bool { return bytes.Count(text, []byte{'"'})%2 == 1 }

// records calls visit with each record that is a row, its line end included,
// and the line it starts at, until visit returns false.
func (c *chunk) records(visit func(from, to, line int) bool) {
	for at, line := 0, c.line; at < len(c.text); {
		n, lines := recordLen(c.text[at:], c.quotes)
		if !c.blank(c.text[at:at+n]) && !visit(at, at+n, line) {
			return
		}
		at += n
		line += lines
	}
}

// blank reports a line without content. In a table of one column it is a
// missing cell.
func (c *chunk) blank(rec []byte) bool {
	return len(rec) <= 2 && !c.one && len(bytes.TrimRight(rec, "\r\n")) == 0
}

// rows counts the records that are rows.
func (c *chunk) rows() (n int) {
	c.records(func(int, int, int) bool { n++; return true })
	return n
}

func lineEnds(text []byte) int { return bytes.Count(text, []byte{'\n'}) }
