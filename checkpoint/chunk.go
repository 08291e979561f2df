package checkpoint

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
)

// hash addresses a chunk: the BLAKE3-256 of its content before compression.
type hash [32]byte

func (h hash) String() string { return hex.EncodeToString(h[:]) }

func parseHash(s string) (h hash, err error) {
	if len(s) != 2*len(h) {
		return h, fmt.Errorf("hash %.80q: want %d hex digits", s, 2*len(h))
	}
	if _, err = hex.Decode(h[:], []byte(s)); err != nil {
		return h, fmt.Errorf("hash %q: %w", s, err)
	}
	if h.String() != s {
		return h, fmt.Errorf("hash %q: digits must be lower case", s)
	}
	return h, nil
}

// A chunk file is magic, version, codec, content length, payload. Its checksum
// is its name.
const (
	chunkMagic     = "FCHK"
	chunkVersion   = 1
	chunkHeaderLen = 10 // magic 4, version 1, codec 1, length 4
)

const (
	codecRaw  = 0
	codecZstd = 1
)

// codec turns content into chunk files and back. It is safe for concurrent use.
type codec struct {
	enc *zstd.Encoder // nil: store as it is
	dec *zstd.Decoder
}

func newCodec(opt Options) (*codec, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxChunkSize), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("set up zstd decoder: %w", err)
	}
	c := &codec{dec: dec}
	if opt.Compression == CompressionZstd {
		c.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(opt.Level)),
			zstd.WithEncoderConcurrency(opt.Workers), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
		if err != nil {
			return nil, fmt.Errorf("set up zstd encoder: %w", err)
		}
	}
	return c, nil
}

func (c *codec) close() { c.dec.Close() } // the encoder holds nothing between calls

// encode appends content's chunk file to dst[:0].
func (c *codec) encode(dst, content []byte) []byte {
	header := func(codec byte) []byte {
		b := append(dst[:0], chunkMagic...)
		b = append(b, chunkVersion, codec)
		return binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	}
	if c.enc != nil {
		out := c.enc.EncodeAll(content, header(codecZstd))
		if len(out) < chunkHeaderLen+len(content)-len(content)/32 {
			return out
		}
		dst = out
	}
	return append(header(codecRaw), content...)
}

// decode appends the content of a chunk file to dst[:0], having checked it
// against the hash it is stored under. Errors do not name the file.
func (c *codec) decode(dst, file []byte, want hash) ([]byte, error) {
	if len(file) < chunkHeaderLen || string(file[:4]) != chunkMagic {
		return nil, fmt.Errorf("is not a chunk: %d bytes without the chunk header", len(file))
	}
	if file[4] != chunkVersion {
		return nil, fmt.Errorf("has chunk version %d; this program reads %d", file[4], chunkVersion)
	}
	length := int(binary.LittleEndian.Uint32(file[6:]))
	if length > maxChunkSize {
		return nil, fmt.Errorf("claims %d bytes; a chunk has at most %d", length, maxChunkSize)
	}
	payload := file[chunkHeaderLen:]
	switch file[5] {
	case codecRaw:
		dst = append(dst[:0], payload...)
	case codecZstd:
		if cap(dst) < length {
			dst = make([]byte, 0, length)
		}
		out, err := c.dec.DecodeAll(payload, dst[:0:length])
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		dst = out
	default:
		return nil, fmt.Errorf("has unknown codec %d", file[5])
	}
	if len(dst) != length {
		return nil, fmt.Errorf("holds %d bytes; its header says %d", len(dst), length)
	}
	if got := hash(blake3.Sum256(dst)); got != want {
		return nil, fmt.Errorf("has BLAKE3 %s", got)
	}
	return dst, nil
}
