package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// unpacker decompresses pages; each goroutine has its own.
type unpacker struct {
	packed []byte // a page
	gzip   *gzip.Reader
	zstd   *zstd.Decoder
}

// decompress fills dst, whose length is what the page must have.
func (u *unpacker) decompress(codec format.CompressionCodec, dst, src []byte) (err error) {
	if len(src) == 0 && len(dst) == 0 { // all values of a page of version 2 are null
		return nil
	}
	n := 0
	switch codec {
	case format.Snappy:
		if n, err = snappy.DecodedLen(src); err == nil && n == len(dst) {
			_, err = snappy.Decode(dst, src)
		}
	case format.Gzip:
		in := bytes.NewReader(src)
		if u.gzip == nil {
			u.gzip, err = gzip.NewReader(in)
		} else {
			err = u.gzip.Reset(in)
		}
		if err == nil {
			n, err = exactly(u.gzip, dst)
		}
	case format.Zstd:
		if u.zstd == nil {
			u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage))
		}
		if err == nil {
			var out []byte
			out, err = u.zstd.DecodeAll(src, dst[:0:len(dst)])
			if n = len(out); n == len(dst) && n > 0 && &out[0] != &dst[0] {
				copy(dst, out)
			}
		}
	case format.Lz4Raw:
		n, err = lz4.UncompressBlock(src, dst)
	case format.Brotli:
		n, err = exactly(brotli.NewReader(bytes.NewReader(src)), dst)
	default:
		return fmt.Errorf("it is compressed with %v, which is not supported", codec)
	}
	if err != nil {
		return fmt.Errorf("decompress %v: %w", codec, unexpected(err))
	}
	if n != len(dst) {
		return fmt.Errorf("decompress %v: it has %d bytes and would have %d", codec, n, len(dst))
	}
	return nil
}

// exactly fills dst from r, which must end there.
func exactly(r io.Reader, dst []byte) (int, error) {
	n, err := io.ReadFull(r, dst)
	if err != nil {
		return n, err
	}
	var more [1]byte
	k, err := io.ReadFull(r, more[:])
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n + k, err
}

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
}
