package checkpoint

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/stratoswarm/forestall/checkpoint/seal"
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

// A chunk file is magic, version, codec, content length, payload. It is what a
// pack's entry holds and what peers send each other; version 1 of the store kept
// each in a file of its own. Its checksum is the hash it is known by.
const (
	chunkMagic     = "FCHK"
	chunkVersion   = 1
	chunkHeaderLen = 10 // magic 4, version 1, codec 1, length 4
	maxChunkExtra  = 4 << 10
)

const (
	codecRaw   = 0
	codecZstd  = 1
	codecSplit = 2
	// codecSealed is added to the codec of a chunk whose payload is encrypted,
	// bound to the header and the chunk's name.
	codecSealed = 0x80
)

// isSealed reports whether a chunk file says that its payload is encrypted.
func isSealed(file []byte) bool { return len(file) > 5 && file[5]&codecSealed != 0 }

// codec turns content into chunk files and back. It is safe for concurrent use.
type codec struct {
	keys *seal.Keyring // nil: nothing is sealed
	opt  Options
	dec  *zstd.Decoder
	bufs sync.Pool

	mu   sync.Mutex
	encs map[zstd.EncoderLevel]*zstd.Encoder
}

func newCodec(opt Options) (*codec, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxChunkSize), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("set up zstd decoder: %w", err)
	}
	c := &codec{keys: opt.Keys, opt: opt, dec: dec, encs: make(map[zstd.EncoderLevel]*zstd.Encoder)}
	c.bufs.New = func() any { return new([]byte) }
	return c, nil
}

// encoder returns what compresses at a level, 0 being the store's; nil: nothing is
// compressed. The library has four levels, which zstd's map to.
func (c *codec) encoder(level int) (*zstd.Encoder, error) {
	if level == LevelNone || level == 0 && c.opt.Compression == CompressionNone {
		return nil, nil
	}
	if level == 0 {
		level = c.opt.Level
	}
	if err := checkLevel(level); err != nil {
		return nil, err
	}
	l := zstd.EncoderLevelFromZstd(level)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.encs[l] == nil {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(l),
			zstd.WithEncoderConcurrency(c.opt.Workers), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
		if err != nil {
			return nil, fmt.Errorf("set up zstd encoder: %w", err)
		}
		c.encs[l] = enc
	}
	return c.encs[l], nil
}

func (c *codec) close() { c.dec.Close() } // the encoder holds nothing between calls

// sum returns the hash that content is known by.
func (c *codec) sum(content []byte) hash {
	if c.keys != nil {
		return c.keys.Hash(content)
	}
	return blake3.Sum256(content)
}

// encode appends content's chunk file to dst, compressed by enc if there is one,
// sealed if there are keys. phase is where in a page the content begins: what follows a page boundary is compressed
// or kept as it is page by page.
func (c *codec) encode(dst []byte, h hash, content []byte, phase int, enc *zstd.Encoder) []byte {
	if c.keys == nil {
		return c.pack(dst, content, phase, enc)
	}
	buf := c.bufs.Get().(*[]byte)
	defer c.bufs.Put(buf)
	*buf = c.pack((*buf)[:0], content, phase, enc)
	(*buf)[5] |= codecSealed
	head := (*buf)[:chunkHeaderLen]
	return c.keys.Seal(append(dst, head...), (*buf)[chunkHeaderLen:], sealContext(head, h))
}

// sealContext is what a sealed chunk is bound to.
func sealContext(head []byte, h hash) []byte {
	return append(append(make([]byte, 0, chunkHeaderLen+len(h)), head...), h[:]...)
}

// pack appends content's chunk file, not sealed, to dst.
func (c *codec) pack(dst, content []byte, phase int, enc *zstd.Encoder) []byte {
	start := len(dst)
	header := func(codec byte) []byte {
		b := append(dst[:start], chunkMagic...)
		b = append(b, chunkVersion, codec)
		return binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	}
	if enc == nil {
		return append(header(codecRaw), content...)
	}
	pages := split(content, phase)
	switch {
	case pages.raw == pages.count():
		return append(header(codecRaw), content...)
	case pages.raw > 0:
		buf := c.bufs.Get().(*[]byte)
		defer c.bufs.Put(buf)
		*buf = pages.gather((*buf)[:0], content, false)
		out := pages.append(header(codecSplit))
		at := len(out)
		out = enc.EncodeAll(*buf, append(out, 0, 0, 0, 0))
		if frame := len(out) - at - 4; frame < len(*buf)-len(*buf)/32 {
			binary.LittleEndian.PutUint32(out[at:], uint32(frame))
			return pages.gather(out, content, true)
		}
		dst = out
	default:
		out := enc.EncodeAll(content, header(codecZstd))
		if len(out)-start < chunkHeaderLen+len(content)-len(content)/32 {
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
	codec, payload, sum := file[5], file[chunkHeaderLen:], func(b []byte) hash { return blake3.Sum256(b) }
	if codec&codecSealed != 0 {
		buf := c.bufs.Get().(*[]byte)
		defer c.bufs.Put(buf)
		var err error
		if payload, err = c.open((*buf)[:0], payload, sealContext(file[:chunkHeaderLen], want)); err != nil {
			return nil, err
		}
		*buf = payload
		codec, sum = codec&^codecSealed, c.sum
	}
	dst, err := c.unpack(dst, codec, payload, length)
	if err != nil {
		return nil, err
	}
	if len(dst) != length {
		return nil, fmt.Errorf("holds %d bytes; its header says %d", len(dst), length)
	}
	if got := sum(dst); got != want {
		return nil, fmt.Errorf("has BLAKE3 %s", got)
	}
	return dst, nil
}

// open opens what is sealed; the error wraps [ErrKey] when the key is not here.
func (c *codec) open(dst, sealed, context []byte) ([]byte, error) {
	if c.keys == nil {
		return nil, fmt.Errorf("%w %s, and this store was opened without keys", ErrKey, seal.KeyOf(sealed))
	}
	out, err := c.keys.Open(dst, sealed, context)
	if errors.Is(err, seal.ErrUnknownKey) {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return out, err
}

func (c *codec) unpack(dst []byte, codec byte, payload []byte, length int) ([]byte, error) {
	switch codec {
	case codecRaw:
		return append(dst[:0], payload...), nil
	case codecZstd:
		return c.inflate(dst, payload, length)
	case codecSplit:
		pages, payload, err := readSplit(payload, length)
		if err != nil {
			return nil, err
		}
		if len(payload) < 4 || uint64(binary.LittleEndian.Uint32(payload)) > uint64(len(payload)-4) {
			return nil, errors.New("is cut off")
		}
		frame, raw := payload[4:4+binary.LittleEndian.Uint32(payload)], payload[4+binary.LittleEndian.Uint32(payload):]
		buf := c.bufs.Get().(*[]byte)
		defer c.bufs.Put(buf)
		rawLen := pages.rawBytes()
		if len(raw) != rawLen {
			return nil, fmt.Errorf("holds %d raw bytes; its map says %d", len(raw), rawLen)
		}
		plain, err := c.inflate(*buf, frame, length-rawLen)
		if err != nil {
			return nil, err
		}
		*buf = plain
		return pages.scatter(sized(dst, length), plain, raw), nil
	}
	return nil, fmt.Errorf("has unknown codec %d", codec)
}

// inflate decompresses a frame of length bytes into dst's memory.
func (c *codec) inflate(dst, frame []byte, length int) ([]byte, error) {
	if cap(dst) < length {
		dst = make([]byte, 0, length)
	}
	out, err := c.dec.DecodeAll(frame, dst[:0:length])
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if len(out) != length {
		return nil, fmt.Errorf("holds %d bytes; %d are expected", len(out), length)
	}
	return out, nil
}
