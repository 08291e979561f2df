package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

const (
	parquetMagic     = "PAR1" // at both ends of a file
	parquetEncrypted = "PARE"

	maxFooter = 64 << 20
)

// parquetFile is a Parquet file. Its columns of numbers at the top level can be
// read: booleans, 32 and 64 bit integers with or without a sign, floats and
// doubles; times of day are the numbers that they are stored as. The column
// of text may hold text, those of times text, timestamps or dates. Others are errors
// only when they are selected.
//
// The metadata is decoded by a library, the pages by this package: it reads them
// straight into columns of float64, a few thousand rows at a time, and takes
// nothing in a page for granted, so that a damaged one costs neither memory nor
// the process.
type parquetFile struct {
	file *source
	end  int64 // where the footer starts: pages lie in front
	meta format.FileMetaData
	cols []parquetColumn
	rows int64

	cursors []*cursor // of the selected columns, in their order, then of that of text
	held    atomic.Int64

	// What next will find.
	group int
	from  int // its first row in the group
	first int // of the group in the table
	block int // rows of a piece
}

// parquetColumn is a column at the top level.
type parquetColumn struct {
	name     string
	leaf     int // its place among the columns that hold values
	kind     format.Type
	optional bool
	unsigned bool
	tick     time.Duration // the unit of a timestamp or a date; 0: it is neither
	why      string        // it cannot be read as numbers; "": it can
	text     bool          // it can be read as text whatever why says
}

func openParquet(src *source) (rowFormat, error) {
	p := &parquetFile{file: src}
	if err := p.readFooter(); err != nil {
		return nil, err
	}
	if err := p.readSchema(); err != nil {
		return nil, fmt.Errorf("read the Parquet schema: %w", err)
	}
	return p, p.checkGroups()
}

// readFooter reads the metadata, which lies at the end of the file.
func (p *parquetFile) readFooter() error {
	const tail = 8 // length and magic
	if p.file.size < int64(len(parquetMagic))+tail {
		return errors.New("read Parquet: the file is cut off")
	}
	var last [tail]byte
	if _, err := p.file.file.ReadAt(last[:], p.file.size-tail); err != nil {
		return fmt.Errorf("read the Parquet footer: %w", unexpected(err))
	}
	switch string(last[4:]) {
	case parquetMagic:
	case parquetEncrypted:
		return errors.New("read Parquet: the file is encrypted, which is not supported")
	default:
		return errors.New("read Parquet: the file is cut off: it does not end with " + parquetMagic)
	}
	n := int64(binary.LittleEndian.Uint32(last[:]))
	p.end = p.file.size - tail - n
	if p.end < int64(len(parquetMagic)) || n > maxFooter {
		return fmt.Errorf("read Parquet: a footer of %d bytes in a file of %d; at most %d are read", n, p.file.size, maxFooter)
	}
	text := make([]byte, n)
	if _, err := p.file.file.ReadAt(text, p.end); err != nil {
		return fmt.Errorf("read the Parquet footer: %w", unexpected(err))
	}
	if _, err := decodeThrift(text, &p.meta); err != nil {
		return fmt.Errorf("read the Parquet footer: %w", err)
	}
	return nil
}

// readSchema finds the columns at the top level. The schema is a tree whose
// nodes follow each other depth first.
func (p *parquetFile) readSchema() error {
	schema := p.meta.Schema
	if len(schema) == 0 {
		return errors.New("it is empty")
	}
	at, leaf := 1, 0
	for range schema[0].NumChildren.V {
		if at >= len(schema) {
			return fmt.Errorf("%d of %d columns are there", len(p.cols), schema[0].NumChildren.V)
		}
		c := columnOf(&schema[at])
		c.leaf = leaf
		// Pass over the column's own tree.
		for open := int64(1); open > 0; open-- {
			if at >= len(schema) {
				return fmt.Errorf("column %q is not complete", c.name)
			}
			if schema[at].Type.Valid {
				leaf++
			} else {
				open += int64(max(0, schema[at].NumChildren.V))
			}
			at++
		}
		p.cols = append(p.cols, c)
	}
	for g := range p.meta.RowGroups {
		if n := len(p.meta.RowGroups[g].Columns); n != leaf {
			return fmt.Errorf("row group %d has %d columns, the schema has %d", g, n, leaf)
		}
	}
	return nil
}

// columnOf says how a column is read or why it cannot be.
func columnOf(e *format.SchemaElement) parquetColumn {
	c := parquetColumn{name: e.Name, kind: e.Type.V, optional: e.RepetitionType.V == format.Optional}
	old := deprecated.ConvertedType(-1)
	if e.ConvertedType.Valid {
		old = e.ConvertedType.V
	}
	_, decimal := e.LogicalType.Value.(*format.DecimalType)
	whole, _ := e.LogicalType.Value.(*format.IntType)
	c.unsigned = whole != nil && !whole.IsSigned || old >= deprecated.Uint8 && old <= deprecated.Uint64
	c.tick = tickOf(e, old)
	switch {
	case !e.Type.Valid:
		c.why = "is nested"
	case e.RepetitionType.V == format.Repeated:
		c.why = "is a list"
	case decimal || old == deprecated.Decimal:
		c.why = "is a decimal, which is not supported; write it as a double"
	case c.tick > 0:
		c.why = "holds timestamps or dates; they can be read as the times of rows, and a number is needed"
		c.text = c.kind != format.Int96
	case c.kind == format.ByteArray:
		c.why, c.text = "holds text or bytes; a number is needed", true
	case c.kind == format.FixedLenByteArray:
		c.why = "holds bytes of fixed length, which are not supported; write numbers, or text for a name"
	case c.kind < format.Boolean || c.kind > format.FixedLenByteArray:
		c.why = fmt.Sprintf("is of unknown type %d", c.kind)
	}
	return c
}

// tickOf returns the unit of a timestamp or a date, 0 of what is neither. INT96 is for
// timestamps only.
func tickOf(e *format.SchemaElement, old deprecated.ConvertedType) time.Duration {
	_, date := e.LogicalType.Value.(*format.DateType)
	stamp, _ := e.LogicalType.Value.(*format.TimestampType)
	switch e.Type.V {
	case format.Int96:
		return time.Nanosecond
	case format.Int32:
		if date || old == deprecated.Date {
			return 24 * time.Hour
		}
	case format.Int64:
		switch {
		case stamp != nil && stamp.Unit.Value != nil:
			return stamp.Unit.Value.Duration()
		case old == deprecated.TimestampMillis:
			return time.Millisecond
		case old == deprecated.TimestampMicros:
			return time.Microsecond
		}
	}
	return 0
}

// checkGroups counts the rows. What the file says of their number as a whole is
// not needed, and some writers leave it out.
func (p *parquetFile) checkGroups() error {
	for g := range p.meta.RowGroups {
		n := p.meta.RowGroups[g].NumRows
		if n < 0 || n > maxGroupRows {
			return fmt.Errorf("read Parquet: row group %d has %d rows; at most %d are read", g, n, maxGroupRows)
		}
		p.rows += n
	}
	return nil
}

func (p *parquetFile) columns() []string {
	names := make([]string, len(p.cols))
	for i, c := range p.cols {
		names[i] = c.name
	}
	return names
}

func (p *parquetFile) where() string { return "" }

func (p *parquetFile) use(target []int, text int, times []*timeColumn) error {
	width := 0
	for i, t := range target {
		if t < 0 {
			continue
		}
		if c := &p.cols[i]; c.why != "" && (!c.text && c.tick == 0 || timeAt(times, i) == nil) {
			return &NotNumber{c.name, fmt.Sprintf("column %q %s", c.name, c.why)}
		}
		width++
	}
	p.cursors = make([]*cursor, width)
	for i, t := range target {
		if t < 0 {
			continue
		}
		p.cursors[t] = newCursor(p, i)
		switch at := timeAt(times, i); {
		case at == nil:
		case p.cols[i].tick > 0:
			p.cursors[t].times = at
			at.texts.Store(true)
		case p.cols[i].text:
			p.cursors[t].times = at
		default:
			at.numbers.Store(true)
		}
	}
	if text >= 0 {
		if c := p.cols[text]; c.why != "" && !c.text {
			return fmt.Errorf("column %q %s", c.name, c.why)
		}
		c := newCursor(p, text)
		c.words = &words{}
		p.cursors = append(p.cursors, c)
		width++
	}
	p.block = min(max(blockValues/max(1, width), 64), 1<<16)
	return nil
}

// blockValues is how many values a block holds, about.
const blockValues = 1 << 17

func (p *parquetFile) next(c *piece) error {
	for p.group < len(p.meta.RowGroups) && int64(p.from) == p.meta.RowGroups[p.group].NumRows {
		p.first += p.from
		p.group, p.from = p.group+1, 0
	}
	if p.group == len(p.meta.RowGroups) {
		return io.EOF
	}
	c.group, c.from, c.first = p.group, p.from, p.first
	c.rows = min(p.block, int(p.meta.RowGroups[p.group].NumRows)-p.from)
	p.from += c.rows
	return nil
}

// decode reads one column after the other. Several pieces can be on their way:
// each column is given to one after the other.
func (p *parquetFile) decode(c *piece, b *Block) (right int, wrong error) {
	right = c.rows
	for i, cursor := range p.cursors {
		cursor.turn.wait(c.seq)
		if !b.picked {
			right, wrong = cursor.read(c, b.values[i*b.stride:][:c.rows], right, wrong)
		} else if len(b.keep) > 0 {
			c.scratch = grow(c.scratch, c.rows)
			right, wrong = cursor.read(c, c.scratch, right, wrong)
			for k, row := range b.keep {
				b.values[i*b.stride+k] = c.scratch[row]
			}
		}
		if cursor.words != nil {
			b.texts = cursor.words.texts
		}
		cursor.turn.pass()
	}
	if b.picked {
		// An error in a row that was not picked is none of the next one's.
		right, _ = slices.BinarySearch(b.keep, right)
		if right == len(b.keep) {
			wrong = nil
		}
	}
	return right, wrong
}

func (p *parquetFile) locate(c *piece, row int) string {
	return fmt.Sprintf("row %d (row group %d)", c.first+c.from+row+1, c.group)
}

func (p *parquetFile) done() int64 {
	if p.rows == 0 {
		return p.file.size
	}
	return int64(float64(p.first+p.from) / float64(p.rows) * float64(p.file.size))
}

func (p *parquetFile) close() {}
