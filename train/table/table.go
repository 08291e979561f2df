// Package table reads the rows of tables: CSV, plain or compressed with gzip or
// zstd, and Parquet. A [Table] is a file of named columns; every value of a
// column that is read is a number or missing, which is NaN. One column can be
// read as text. A [Block] is some consecutive rows of it.
//
// Blocks are parsed by several goroutines at a time and come in the order of
// the file where that is asked for; errors are those of a single reader: the
// first in the file is reported, with the file, the line or row and the column.
// Memory does not grow with the file.
//
// The package does not know what columns mean: what is a label, a feature or a
// bin is its callers' business.
package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// missing is how an absent value is held.
var missing = math.NaN()

// Table is an open file. It is read once, from its first row to its last, by
// [Table.Read]. It is not safe for concurrent use.
type Table struct {
	path    string
	source  *source
	rows    rowFormat
	columns []string
	unnamed []string // of columns, those that the file gives no name
	target  []int    // per column of the file its place among the selected; -1: not selected
	width   int      // columns selected, and that of text
	text    int      // column of the file that is read as text; -1: none
	times   []*timeColumn
}

// rowFormat is how a kind of file holds its rows.
type rowFormat interface {
	// columns returns the names in the order of the file.
	columns() []string
	// where says where the names are, as the start of an error: ", line 1".
	where() string
	// use is told before the first piece which columns will be read, and which
	// as text, which may be one of them; its codes come last. -1: none. Of times
	// some may not be read.
	use(target []int, text int, times []*timeColumn) error
	// next finds the next rows of the file and sets p.rows, or returns io.EOF.
	// Calls do not overlap.
	next(p *piece) error
	// decode puts the values of a piece that next has found into b, of the rows
	// that were picked. It returns how many rows are right, and an error of the
	// one after them. Calls for different pieces may overlap.
	decode(p *piece, b *Block) (int, error)
	// done returns how many bytes of the file have been read, about.
	done() int64
	// locate names a row of a piece, as the continuation of the file's name.
	locate(p *piece, row int) string
	close()
}

// Open opens a table and reads the names of its columns. What kind of file it
// is, its first bytes tell. It must be a regular file.
func Open(path string) (*Table, error) {
	src, err := openSource(path, false)
	if err != nil {
		return nil, err
	}
	return open(src, path)
}

// OpenOnce is [Open] of a table that is read once and not hashed: CSV may come
// through a pipe, and "-" is standard input. The end of the context ends the wait
// for what a pipe does not hold yet.
func OpenOnce(ctx context.Context, path string) (*Table, error) {
	src, err := openSource(path, true)
	if err != nil {
		return nil, err
	}
	src.until(ctx)
	if path == "-" {
		path = "standard input"
	}
	return open(src, path)
}

func open(src *source, path string) (_ *Table, err error) {
	t := &Table{path: path, source: src}
	if t.rows, err = openFormat(src); err != nil {
		src.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.columns = t.rows.columns()
	for i, name := range t.columns {
		if name == "" { // as that of the numbers that pandas puts in front of the rows
			t.columns[i] = fmt.Sprintf("column_%d", i+1)
			t.unnamed = append(t.unnamed, t.columns[i])
		}
	}
	return t, t.Select(nil)
}

// openFormat tells by the first bytes what a file is.
func openFormat(src *source) (rowFormat, error) {
	if src.pipe {
		return openCSV(src)
	}
	var magic [4]byte
	if _, err := src.file.ReadAt(magic[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(magic[:]) == parquetMagic {
		return openParquet(src)
	}
	return openCSV(src)
}

// Close closes the file, of which nothing but reading was asked.
func (t *Table) Close() {
	t.rows.close()
	t.source.close()
}

// Path returns the name of the file.
func (t *Table) Path() string { return t.path }

// Columns returns the names of the columns in the file's order. The second one
// is column_2 if the file has no name for it, and so on.
func (t *Table) Columns() []string { return slices.Clone(t.columns) }

// Unnamed returns those of Columns that the file has no name for.
func (t *Table) Unnamed() []string { return slices.Clone(t.unnamed) }

// Metadata returns what the file says under a key about its content, which only
// Parquet has room for.
func (t *Table) Metadata(key string) (value string, ok bool) {
	p, ok := t.rows.(*parquetFile)
	if !ok {
		return "", false
	}
	for _, kv := range p.meta.KeyValueMetadata {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

// Rows returns how many rows the file says that it has, and whether it says so,
// which only Parquet does.
func (t *Table) Rows() (rows int64, ok bool) {
	p, ok := t.rows.(*parquetFile)
	if !ok {
		return 0, false
	}
	return p.rows, true
}

// Errorf returns an error about the columns, which names the file and where in
// it they are named.
func (t *Table) Errorf(format string, args ...any) error {
	return fmt.Errorf("%s%s: %w", t.path, t.rows.where(), fmt.Errorf(format, args...))
}

// Missing returns the error that a column is not there.
func (t *Table) Missing(column string) error {
	hint := ""
	if len(t.columns) == 1 {
		if i := strings.IndexAny(t.columns[0], ";\t|"); i >= 0 {
			hint = fmt.Sprintf(". Are its cells separated by %q? Write commas", t.columns[0][i])
		}
	}
	if slices.ContainsFunc(t.columns, func(name string) bool { return strings.ContainsRune(name, '\r') }) {
		hint = ". Do its lines end with carriage returns alone? Write line feeds"
	}
	return t.Errorf("column %.200q is missing; the file has %s%s", column, quoted(t.columns), hint)
}

// Select says which columns [Table.Read] reads, in which order. Other columns
// are skipped whatever they hold. A name that the file lacks or has twice is an
// error, and so is a column that holds no numbers by its type.
func (t *Table) Select(names []string) error { return t.SelectText(names, "") }

// SelectText is [Table.Select] with one column more, which [Block.Text] reads as
// text; it may be among the others as well, and "" is none. Of a Parquet file it
// may hold text or whatever can be read as numbers.
func (t *Table) SelectText(names []string, text string) error {
	target := make([]int, len(t.columns))
	for i := range target {
		target[i] = -1
	}
	find := t.finder()
	for i, name := range names {
		at, err := find(name)
		if err != nil {
			return err
		}
		if target[at] >= 0 {
			return t.Errorf("column %q is asked for twice", name)
		}
		target[at] = i
	}
	width, textAt := len(names), -1
	if text != "" {
		var err error
		if textAt, err = find(text); err != nil {
			return err
		}
		width++
	}
	if err := t.rows.use(target, textAt, t.times); err != nil {
		return t.Errorf("%w", err)
	}
	t.target, t.width, t.text = target, width, textAt
	return nil
}

// finder returns what finds a column of the file by its name.
func (t *Table) finder() func(name string) (int, error) {
	places := make(map[string]int, len(t.columns)) // of the first column of a name
	again := map[string]int{}                      // of the second
	for i, name := range t.columns {
		if _, ok := places[name]; !ok {
			places[name] = i
		} else if _, ok := again[name]; !ok {
			again[name] = i
		}
	}
	return func(name string) (int, error) {
		at, ok := places[name]
		if !ok {
			return 0, t.Missing(name)
		}
		if second, ok := again[name]; ok {
			return 0, t.Errorf("column %q appears twice, as column %d and column %d", name, at+1, second+1)
		}
		return at, nil
	}
}

// Hash has [Table.Read] hash the file on its way, so that [Table.Digest] need
// not read it again. It is called before Read.
func (t *Table) Hash() error {
	if err := t.source.hash(); err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	return nil
}

// Digest returns the SHA-256 of the file's bytes as they are stored, in hex. It
// is called after Read.
func (t *Table) Digest() (string, error) {
	sum, err := t.source.digest()
	if err != nil {
		return "", fmt.Errorf("%s: %w", t.path, err)
	}
	return sum, nil
}

// quoted lists names for an error message, not more than a screen can take.
func quoted(names []string) string {
	const most = 30
	tail := ""
	if len(names) > most {
		tail = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	names = slices.Clone(names)
	for i, name := range names {
		if r := []rune(name); len(r) > 100 {
			names[i] = strconv.Quote(string(r[:100])) + "…"
		} else if strings.ContainsFunc(name, func(r rune) bool { return r == ',' || !strconv.IsPrint(r) || r == utf8.RuneError }) {
			names[i] = strconv.Quote(name)
		}
	}
	return strings.Join(names, ", ") + tail
}
