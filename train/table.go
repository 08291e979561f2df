package train

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Table reads the rows of a CSV file from its first to its last: comma
// separated, one header line, plain or compressed with gzip or zstd (told by
// its first bytes, not by its name). Every cell that is read is a number or
// missing: empty, NA or nan. Memory does not grow with the file.
//
// A Table is not safe for concurrent use.
type Table struct {
	path    string
	source  *source
	split   splitter
	columns []string

	parse recordParser
	rest  []byte // of the current chunk
	line  int    // of the row that Next returned last
	next  int    // line of the first byte of rest
}

// OpenTable opens a table and reads its header.
func OpenTable(path string) (*Table, error) {
	src, err := openSource(path)
	if err != nil {
		return nil, err
	}
	t := &Table{path: path, source: src, split: splitter{in: src, line: 1}}
	if err := t.readHeader(); err != nil {
		src.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Close closes the file, of which nothing but reading was asked.
func (t *Table) Close() { t.source.close() }

// Columns returns the header's names in the file's order.
func (t *Table) Columns() []string { return slices.Clone(t.columns) }

// Line returns the line, from 1, at which the row starts that Next returned
// last.
func (t *Table) Line() int { return t.line }

// Select says which columns [Table.Next] reads, in which order. Other columns
// are skipped whatever they hold. A name that the header lacks or has twice is
// an error.
func (t *Table) Select(names []string) error {
	t.parse = recordParser{columns: t.columns, target: make([]int, len(t.columns))}
	for i := range t.parse.target {
		t.parse.target[i] = -1
	}
	for i, name := range names {
		at := slices.Index(t.columns, name)
		if at < 0 {
			return fmt.Errorf("%s: line 1: column %q is missing; the file has %s", t.path, name, quoted(t.columns))
		}
		if again := slices.Index(t.columns[at+1:], name); again >= 0 {
			return fmt.Errorf("%s: line 1: column %q appears twice, as column %d and column %d", t.path, name, at+1, at+again+2)
		}
		if t.parse.target[at] >= 0 {
			return fmt.Errorf("%s: column %q is asked for twice", t.path, name)
		}
		t.parse.target[at] = i
	}
	return nil
}

// Next reads the selected columns of the next row into dst, NaN where a cell is
// missing, and returns io.EOF after the last row. An error names the file, the
// line and the column.
func (t *Table) Next(dst []float64) error {
	rec, err := t.record()
	if err != nil {
		return err
	}
	if err := t.parse.record(rec, dst); err != nil {
		return t.locate(t.line, err)
	}
	return nil
}

// Skip passes over the next row without reading its cells.
func (t *Table) Skip() error {
	_, err := t.record()
	return err
}

// record returns the text of the next row that is not blank, its line end
// included.
func (t *Table) record() ([]byte, error) {
	for {
		for len(t.rest) == 0 {
			c, err := t.split.next()
			if err != nil {
				if errors.Is(err, io.EOF) {
					return nil, io.EOF
				}
				return nil, fmt.Errorf("%s: %w", t.path, err)
			}
			t.rest, t.next = c.text, c.line
		}
		n, lines := recordLen(t.rest)
		rec := t.rest[:n]
		t.rest = t.rest[n:]
		t.line = t.next
		t.next += lines
		if !t.parse.blank(rec) {
			return rec, nil
		}
	}
}

// locate puts the file and the line in front of an error of a record.
func (t *Table) locate(line int, err error) error {
	return fmt.Errorf("%s: line %d%w", t.path, line, err)
}

func (t *Table) readHeader() error {
	rec, err := t.record()
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty; its first line must name the columns")
	}
	if err != nil {
		return err
	}
	text := strings.TrimPrefix(string(rec), "\ufeff")
	cells, err := splitCells([]byte(text))
	if err != nil {
		return fmt.Errorf("line 1%w", err)
	}
	for i, cell := range cells {
		if cell == "" {
			return fmt.Errorf("line 1, column %d: the column has no name", i+1)
		}
	}
	t.columns = cells
	return t.Select(nil)
}

// quoted lists names for an error message, not more than a screen can take.
func quoted(names []string) string {
	const most = 30
	tail := ""
	if len(names) > most {
		tail = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	return strings.Join(names, ", ") + tail
}
