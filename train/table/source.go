package table

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that a zstd frame may ask for.
const maxWindow = 128 << 20

// source is a file of which the bytes that are read are counted and, when asked
// for, hashed.
type source struct {
	file *os.File
	size int64
	pipe bool      // it can be read from its start to its end only
	done int64     // bytes read from the start
	sum  hash.Hash // of them; nil: not asked for

	release func() bool // what until holds; nil: nothing
}

// openSource opens a file, and a pipe where it is read once; "-" is standard input.
func openSource(path string, once bool) (*source, error) {
	if path == "-" {
		if !once {
			return nil, errors.New("standard input can be read once, and this table may be read more than once and in parts; write it to a file first")
		}
		path = "/dev/stdin"
	}
	// Without O_NONBLOCK the opening of a pipe waits for its writer, and a read of
	// it cannot be ended.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	pipe := !info.Mode().IsRegular()
	switch {
	case info.IsDir():
		f.Close()
		return nil, fmt.Errorf("%s: it is a directory; name a file", path)
	case pipe && !once:
		f.Close()
		return nil, fmt.Errorf("%s: it is no regular file; a table may be read more than once and in parts, so write it to a file first", path)
	}
	return &source{file: f, size: info.Size(), pipe: pipe}, nil
}

// until has the reading of a pipe end with the context.
func (s *source) until(ctx context.Context) {
	if s.pipe {
		s.release = context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Unix(0, 0)) })
	}
}

func (s *source) close() {
	if s.release != nil {
		s.release()
	}
	s.file.Close()
}

// Read reads on from where the last Read ended.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.file.Read(p)
	s.done += int64(n)
	if s.sum != nil {
		s.sum.Write(p[:n])
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // set by until
		err = context.Canceled
	}
	return n, err
}

// hash has the file hashed while it is read, what was read before included.
func (s *source) hash() error {
	s.sum = sha256.New()
	_, err := io.Copy(s.sum, io.NewSectionReader(s.file, 0, s.done))
	return err
}

// digest returns the SHA-256 of the whole file, in hex, reading what was not.
func (s *source) digest() (string, error) {
	if s.sum == nil {
		if err := s.hash(); err != nil {
			return "", err
		}
	}
	for from := s.done; ; from = s.done {
		if _, err := io.Copy(io.Discard, io.LimitReader(s, 1<<20)); err != nil {
			return "", err
		}
		if s.done == from {
			return hex.EncodeToString(s.sum.Sum(nil)), nil
		}
	}
}

// text is what a file says, decompressed on the way.
type text struct {
	io.Reader
	zstd *zstd.Decoder
}

// decompressed tells by the first bytes how a file is compressed.
func decompressed(s io.Reader) (text, error) {
	raw := bufio.NewReaderSize(s, 64<<10) // less than a chunk, which then is read into its place
	magic, err := raw.Peek(10)
	if err != nil && !errors.Is(err, io.EOF) {
		return text{}, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(raw)
		if err != nil {
			return text{}, fmt.Errorf("read gzip: the file is cut off or damaged: %w", unexpected(err))
		}
		z.Multistream(false)
		return text{Reader: named{&members{z, raw}, "read gzip"}}, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return text{}, fmt.Errorf("read zstd: %w", err)
		}
		return text{Reader: named{z, "read zstd"}, zstd: z}, nil
	}
	for _, k := range notRead {
		if len(magic) > k.at && bytes.HasPrefix(magic[k.at:], []byte(k.magic)) {
			return text{}, errors.New(k.why)
		}
	}
	return text{Reader: raw}, nil
}

// notRead tells files by bytes near their start that are taken for tables and
// are none.
var notRead = []struct {
	at    int
	magic string
	why   string
}{
	{0, "\xfd7zXZ\x00", "the file is compressed with xz; decompress it, or write it with gzip or zstd"},
	{4, "1AY&SY", "the file is compressed with bzip2; decompress it, or write it with gzip or zstd"},
	{0, "PK\x03\x04", "the file is a ZIP archive, as spreadsheets are; take the table out of it, as CSV"},
	{0, parquetMagic, "a Parquet file is read in parts, its end first, which a pipe cannot be; write it to a file first"},
	{0, "ARROW1\x00\x00", "the file is an Arrow one; write it as Parquet or CSV"},
	{0, "\xff\xfe", "the text is UTF-16; write it as UTF-8"},
	{0, "\xfe\xff", "the text is UTF-16; write it as UTF-8"},
}

func (t text) close() {
	if t.zstd != nil {
		t.zstd.Close()
	}
}

// members reads gzip files that were written one behind another, as one. Go's
// reader does that too, but takes anything that follows them for a member that is
// cut off.
type members struct {
	z   *gzip.Reader
	raw *bufio.Reader
}

var errAfterGzip = errors.New("something that is not gzip follows the end of what is compressed")

func (m *members) Read(p []byte) (int, error) {
	n, err := m.z.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	switch magic, err := m.raw.Peek(2); {
	case len(magic) == 0:
		return n, err
	case magic[0] == 0:
		return n, m.padding()
	case string(magic) != "\x1f\x8b":
		return n, errAfterGzip
	}
	if err := m.z.Reset(m.raw); err != nil {
		return n, unexpected(err)
	}
	m.z.Multistream(false)
	return n, nil
}

// padding reads the zeros that a tape fills its last block with, to the file's end,
// which it returns.
func (m *members) padding() error {
	for {
		if c, err := m.raw.ReadByte(); err != nil {
			return err
		} else if c != 0 {
			return errAfterGzip
		}
	}
}

// named says what was being done when a read went wrong.
type named struct {
	r    io.Reader
	verb string
}

func (n named) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%s: the file is cut off: %w", n.verb, err)
	} else if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s: %w", n.verb, err)
	}
	return k, err
}

// unexpected turns an end of file where there must be none into an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
