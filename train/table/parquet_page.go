package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/parquet-go/parquet-go/format"
)

const (
	maxGroupRows  = 1 << 30
	maxPage       = 64 << 20 // bytes of a page, decompressed
	maxPageHeader = 64 << 10
	maxHeld       = 1 << 30 // bytes of the pages of all columns together
)

// cursor reads the values of a column from its first row to its last. Of a file
// it holds one page, decompressed but not decoded, and the dictionary.
type cursor struct {
	file *parquetFile
	parquetColumn
	place int         // the column's, from 0, for errors
	turn  turn        // of the pieces
	words *words      // of a column that is read as text; nil: its values are numbers
	times *timeColumn // what reads the times of a column that holds text; nil: its values are no times, or numbers

	group  int   // that is open; -1: none
	row    int   // of the group: the next to be read
	at     int64 // in the file, where the next page starts
	end    int64 // where the group's pages of this column end
	dict   []float64
	raw    []byte // of the page
	left   int    // rows of the page that are still to be read
	levels *hybrid
	values decoder
	held   int64
	err    error // the column cannot be read further

	present []uint32 // scratch
}

func newCursor(p *parquetFile, column int) *cursor {
	c := &cursor{file: p, parquetColumn: p.cols[column], place: column, group: -1}
	c.turn.cond.L = &c.turn.mu
	return c
}

// read puts the values of a piece into dst. Of the other columns right rows were
// right and wrong was found in the next; it returns the same with this column.
func (c *cursor) read(p *piece, dst []float64, right int, wrong error) (int, error) {
	if c.err == nil && c.group != p.group {
		c.err = c.open(p.group)
	}
	n := 0
	if c.err == nil {
		n, c.err = c.fill(p, dst)
	}
	if c.err != nil && n < right {
		right, wrong = n, c.wrap(c.err)
	}
	for i, v := range dst[:right] {
		if math.IsInf(v, 0) {
			err := errors.New("the value is infinite; write a missing value as null or NaN")
			if c.times != nil {
				err = fmt.Errorf("the text %w", errTime)
			}
			return i, c.wrap(err)
		}
	}
	return right, wrong
}

func (c *cursor) wrap(err error) error {
	return &cellError{c.place, c.name, err}
}

// open goes to the first page of a row group.
func (c *cursor) open(group int) error {
	chunk := &c.file.meta.RowGroups[group].Columns[c.leaf]
	m := &chunk.MetaData
	c.group, c.row, c.left, c.dict = group, 0, 0, nil
	c.at = m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < c.at {
		c.at = d
	}
	c.end = c.at + m.TotalCompressedSize
	switch {
	case chunk.CryptoMetadata.Value != nil || len(chunk.EncryptedColumnMetadata) > 0:
		return errors.New("the column is encrypted, which is not supported")
	case chunk.FilePath != "":
		return fmt.Errorf("its values are in another file, %.100q, which is not supported", chunk.FilePath)
	case m.Type != c.kind:
		return fmt.Errorf("row group %d holds values of type %v, the schema says %v", group, m.Type, c.kind)
	case c.at < int64(len(parquetMagic)) || m.TotalCompressedSize < 0 || c.end < c.at || c.end > c.file.end:
		return fmt.Errorf("row group %d: its pages would lie at %d to %d of a file of %d bytes", group, c.at, c.end, c.file.file.size)
	}
	return nil
}

// fill reads values and returns how many there were before an error.
func (c *cursor) fill(p *piece, dst []float64) (n int, err error) {
	for c.row < p.from || n < len(dst) {
		if c.left == 0 {
			if err := c.nextPage(p); err != nil {
				return n, err
			}
			continue
		}
		if c.row < p.from { // rows that were not picked
			p.skipped = grow(p.skipped, min(c.left, p.from-c.row, 4096))
			if err := c.some(p.skipped); err != nil {
				return n, err
			}
			continue
		}
		k := min(c.left, len(dst)-n)
		if err := c.some(dst[n : n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// some reads as many values as dst has room for from the page, which has them.
func (c *cursor) some(dst []float64) error {
	n := len(dst)
	if c.levels != nil {
		c.present = grow(c.present, n)
		if err := c.levels.read(c.present); err != nil {
			return fmt.Errorf("decode which values are null: %w", err)
		}
		n = 0
		for _, present := range c.present {
			n += int(present)
		}
	}
	// Behind the place of those that are null, then moved to their own.
	from := len(dst) - n
	if err := c.values.decode(dst[from:]); err != nil {
		return fmt.Errorf("decode values: %w", err)
	}
	if n < len(dst) {
		for i, present := range c.present {
			v := missing
			if present == 1 {
				v = dst[from]
				from++
			}
			dst[i] = v
		}
	}
	c.row += len(dst)
	c.left -= len(dst)
	return nil
}

// nextPage reads the page that holds the rows of p next, and a dictionary on the
// way.
func (c *cursor) nextPage(p *piece) error {
	rows := int(c.file.meta.RowGroups[c.group].NumRows)
	if c.at >= c.end {
		return fmt.Errorf("its pages end after %d of the %d rows of row group %d", c.row, rows, c.group)
	}
	where := c.at
	h, err := c.header()
	if err == nil {
		err = c.page(p, h, rows)
	}
	if err != nil {
		return fmt.Errorf("page at byte %d: %w", where, err)
	}
	return nil
}

// header reads the header of a page.
func (c *cursor) header() (*format.PageHeader, error) {
	for size := int64(256); ; size *= 16 {
		text := make([]byte, min(size, c.end-c.at))
		if _, err := c.file.file.file.ReadAt(text, c.at); err != nil {
			return nil, unexpected(err)
		}
		h := &format.PageHeader{}
		n, err := decodeThrift(text, h)
		if errors.Is(err, errThriftEnds) && int64(len(text)) == size && size < maxPageHeader {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read its header: %w", err)
		}
		c.at += int64(n)
		if h.CompressedPageSize < 0 || int64(h.CompressedPageSize) > c.end-c.at {
			return nil, fmt.Errorf("it would have %d bytes of the %d that follow", h.CompressedPageSize, c.end-c.at)
		}
		if h.UncompressedPageSize < 0 || h.UncompressedPageSize > maxPage {
			return nil, fmt.Errorf("it would have %d bytes when decompressed; at most %d are read", h.UncompressedPageSize, maxPage)
		}
		return h, nil
	}
}

// page reads a page whose header has been read, or passes over it.
func (c *cursor) page(p *piece, h *format.PageHeader, rows int) error {
	from := c.at
	c.at += int64(h.CompressedPageSize)
	n, body := 0, pageBody{size: int(h.UncompressedPageSize), compressed: true}
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		if err := c.load(p, h, from, body); err != nil {
			return err
		}
		return c.readDict(&h.DictionaryPageHeader.V)
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		n = int(h.DataPageHeader.V.NumValues)
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		v := &h.DataPageHeaderV2.V
		n = int(v.NumValues)
		body.levels = int64(v.RepetitionLevelsByteLength) + int64(v.DefinitionLevelsByteLength)
		body.compressed = !v.IsCompressed.Valid || v.IsCompressed.V
		if v.RepetitionLevelsByteLength < 0 || v.DefinitionLevelsByteLength < 0 || body.levels > int64(min(h.CompressedPageSize, h.UncompressedPageSize)) {
			return errors.New("the lengths in its header cannot be")
		}
	case h.Type == format.IndexPage:
		return nil
	default:
		return fmt.Errorf("its type, %d, is unknown", h.Type)
	}
	if n < 0 || n > rows-c.row {
		return fmt.Errorf("it has %d values where row group %d has %d rows left", n, c.group, rows-c.row)
	}
	if c.row+n <= p.from {
		c.row += n
		return nil
	}
	if err := c.load(p, h, from, body); err != nil {
		return err
	}
	if h.Type == format.DataPage {
		v := &h.DataPageHeader.V
		return c.startV1(n, v.Encoding, v.DefinitionLevelEncoding)
	}
	v := &h.DataPageHeaderV2.V
	return c.startV2(n, v.Encoding, int(v.RepetitionLevelsByteLength), int(v.DefinitionLevelsByteLength))
}

// pageBody is how a page is stored.
type pageBody struct {
	size       int   // decompressed, the levels included
	levels     int64 // bytes in front that are not compressed
	compressed bool
}

// load reads and decompresses a page into c.raw.
func (c *cursor) load(p *piece, h *format.PageHeader, from int64, body pageBody) error {
	codec := c.file.meta.RowGroups[c.group].Columns[c.leaf].MetaData.Codec
	if codec == format.Uncompressed {
		body.compressed = false
	}
	if !body.compressed && body.size != int(h.CompressedPageSize) {
		return fmt.Errorf("it has %d bytes and would have %d", h.CompressedPageSize, body.size)
	}
	c.raw = grow(c.raw, body.size)
	if err := c.hold(); err != nil {
		return err
	}
	text := c.raw
	if body.compressed {
		p.packed = grow(p.packed, int(h.CompressedPageSize))
		text = p.packed
	}
	if _, err := c.file.file.file.ReadAt(text, from); err != nil {
		return unexpected(err)
	}
	if h.CRC != 0 && uint32(h.CRC) != crc32.ChecksumIEEE(text) {
		return errors.New("its checksum is wrong; the file is damaged")
	}
	if !body.compressed {
		return nil
	}
	copy(c.raw, text[:body.levels])
	return p.decompress(codec, c.raw[body.levels:], text[body.levels:])
}

// hold counts the memory that the pages take.
func (c *cursor) hold() error {
	now := int64(cap(c.raw)) + 8*int64(cap(c.dict))
	if c.file.held.Add(now-c.held) > maxHeld {
		return fmt.Errorf("the pages of all columns together need more than %d bytes; write the file with smaller pages", maxHeld)
	}
	c.held = now
	return nil
}

func (c *cursor) readDict(h *format.DictionaryPageHeader) error {
	if h.Encoding != format.Plain && h.Encoding != oldDictionary {
		return fmt.Errorf("its dictionary is encoded as %v, which is not supported", h.Encoding)
	}
	n := int(h.NumValues)
	if size := c.leastSize(); n < 0 || size == 0 || n > len(c.raw)/size {
		return fmt.Errorf("its dictionary would have %d values in %d bytes", n, len(c.raw))
	}
	c.dict = make([]float64, n)
	if err := c.hold(); err != nil {
		return err
	}
	return c.plain(c.raw).decode(c.dict)
}

// startV1 makes ready to decode a data page: which values are null, in front of
// them, is compressed with them.
func (c *cursor) startV1(rows int, encoding, levels format.Encoding) error {
	text := c.raw
	c.levels = nil
	if c.optional {
		if levels != format.RLE {
			return fmt.Errorf("which values are null is encoded as %v, which is not supported", levels)
		}
		if len(text) < 4 {
			return errors.New("it ends too early")
		}
		n := int64(binary.LittleEndian.Uint32(text))
		if text = text[4:]; n > int64(len(text)) {
			return errors.New("it ends too early")
		}
		c.levels = &hybrid{text: text[:n], width: 1}
		text = text[n:]
	}
	return c.start(rows, encoding, text)
}

// startV2 makes ready to decode a data page whose levels have known lengths.
func (c *cursor) startV2(rows int, encoding format.Encoding, repetition, definition int) error {
	c.levels = nil
	if c.optional && definition > 0 {
		c.levels = &hybrid{text: c.raw[repetition : repetition+definition], width: 1}
	}
	return c.start(rows, encoding, c.raw[repetition+definition:])
}

func (c *cursor) start(rows int, encoding format.Encoding, text []byte) (err error) {
	c.values, err = c.decoder(rows, encoding, text)
	if err == nil {
		c.left = rows
	}
	return err
}

// grow returns a slice of n elements, s if it has room.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
