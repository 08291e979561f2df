package train

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that a zstd frame may ask for.
const maxWindow = 128 << 20

// source is a file's text, decompressed on the way. It hashes the file's bytes
// as they are stored.
type source struct {
	file *os.File
	sum  hash.Hash
	text io.Reader // what the file says
	zstd *zstd.Decoder
}

func openSource(path string) (*source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &source{file: f, sum: sha256.New()}
	if err := s.decompress(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// stored is the file behind a source: what is read from it is
// hashed.
type stored struct{ s *source }

func (r stored) Read(p []byte) (int, error) {
	n, err := r.s.file.Read(p)
	r.s.sum.Write(p[:n])
	return n, err
}

func (s *source) decompress() error {
	raw := bufio.NewReaderSize(stored{s}, 256<<10)
	magic, err := raw.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(raw)
		if err != nil {
			return fmt.Errorf("read gzip: %w", err)
		}
		s.text = named{z, "read gzip"}
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("read zstd: %w", err)
		}
		s.zstd = z
		s.text = named{z, "read zstd"}
	case bytes.HasPrefix(magic, []byte("PAR1")):
		return errors.New("this is a Parquet file; tables are read as CSV, plain or compressed with gzip or zstd")
	default:
		s.text = raw
	}
	return nil
}

// named says what was being done when a read went wrong.
type named struct {
	r    io.Reader
	verb string
}

func (n named) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s: %w", n.verb, err)
	}
	return k, err
}

func (s *source) Read(p []byte) (int, error) { return s.text.Read(p) }

// digest returns the SHA-256 of the file's bytes, in hex; the text must have
// been read to its end.
func (s *source) digest() string { return hex.EncodeToString(s.sum.Sum(nil)) }

func (s *source) close() {
	if s.zstd != nil {
		s.zstd.Close()
	}
	s.file.Close()
}
