package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// csvFile is a table of comma-separated values as in RFC 4180 with one header line.
type csvFile struct {
	file   *source
	text   text
	split  splitter
	names  []string
	header int    // its line
	first  *chunk // what follows the header in its chunk; nil: has been read
	parse  recordParser
}

func openCSV(src *source) (rowFormat, error) {
	in, err := decompressed(src)
	if err != nil {
		return nil, err
	}
	t := &csvFile{file: src, text: in, split: splitter{in: in, line: 1}}
	if err := t.readHeader(); err != nil {
		in.close()
		return nil, err
	}
	return t, nil
}

func (t *csvFile) readHeader() error {
	c := &chunk{}
	for {
		err := t.split.next(c)
		if errors.Is(err, io.EOF) {
			return errors.New("the file is empty; its first line must name the columns")
		}
		if err != nil {
			return err
		}
		end := 0
		c.records(func(from, to, line int) bool {
			t.header = line
			t.names, err = headerNames(c.text[from:to])
			end = to
			return false
		})
		if end == 0 { // nothing but blank lines
			continue
		}
		if err != nil {
			return fmt.Errorf("line %d%w", t.header, err)
		}
		c.line += lineEnds(c.text[:end])
		c.text = c.text[end:]
		t.first = c
		return nil
	}
}

// headerNames returns the names that a record holds.
func headerNames(rec []byte) ([]string, error) {
	if bytes.IndexByte(rec, 0) >= 0 {
		return nil, errors.New(": it is no text; a table is CSV, plain or compressed with gzip or zstd, or Parquet")
	}
	return splitCells([]byte(strings.TrimPrefix(string(rec), "\ufeff")))
}

func (t *csvFile) columns() []string { return t.names }

func (t *csvFile) where() string { return fmt.Sprintf(": line %d", t.header) }

func (t *csvFile) use(target []int, text int, times []*timeColumn) error {
	t.parse = newRecordParser(t.names, target, text, times)
	return nil
}

func (t *csvFile) next(p *piece) error {
	if t.first != nil {
		p.chunk, t.first = *t.first, nil
	} else if err := t.split.next(&p.chunk); err != nil {
		return err
	}
	p.one = len(t.names) == 1
	p.rows = p.chunk.rows()
	return nil
}

func (t *csvFile) decode(p *piece, b *Block) (right int, wrong error) {
	row := 0
	keep := b.keep
	p.records(func(from, to, _ int) bool {
		if b.picked {
			if row++; len(keep) == 0 || row-1 != keep[0] {
				return len(keep) > 0
			}
			keep = keep[1:]
		}
		// The capacity goes beyond the text: the slack.
		wrong = t.parse.record(p.text[from:cap(p.text)], to-from, b.values[min(right, len(b.values)):], b.stride, &p.words)
		if wrong != nil {
			return false
		}
		right++
		return true
	})
	b.texts = p.words.texts
	return right, wrong
}

func (t *csvFile) locate(p *piece, row int) (at string) {
	p.records(func(_, _, line int) bool {
		at = fmt.Sprintf("line %d", line)
		row--
		return row >= 0
	})
	return at
}

func (t *csvFile) done() int64 { return t.file.done }

func (t *csvFile) close() { t.text.close() }
