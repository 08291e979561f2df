package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/zeebo/blake3"
)

// A manifest file is, in this order: magic, version (1 byte), header length
// (4 bytes, little endian), header, CRC-32C of all before, entries, BLAKE3-256
// of all before. docs/format/checkpoint.md has the fields.
const (
	manifestMagic   = "FCKPTMAN"
	manifestVersion = 1
	headerStart     = len(manifestMagic) + 1 + 4
	maxHeader       = 4 << 10
	maxManifest     = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode writes the canonical form: equal manifests give equal bytes.
func (m *manifest) encode() []byte {
	h := m.header.encode()
	b := make([]byte, 0, headerStart+len(h)+64+len(m.entries)*64+len(m.entries)*48)
	b = append(b, manifestMagic...)
	b = append(b, manifestVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h)))
	b = append(b, h...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = binary.AppendUvarint(b, uint64(len(m.entries)))
	for _, e := range m.entries {
		b = e.append(b)
	}
	sum := blake3.Sum256(b)
	return append(b, sum[:]...)
}

func (h header) encode() []byte {
	b := appendString(nil, h.workload)
	b = binary.AppendUvarint(b, uint64(h.epoch))
	b = binary.AppendUvarint(b, h.sequence)
	b = binary.AppendVarint(b, h.time)
	b = appendString(b, h.label)
	for _, v := range []int64{h.size, h.added, int64(h.took), int64(h.pause)} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

func (e entry) append(b []byte) []byte {
	b = append(b, byte(e.kind))
	b = appendString(b, e.path)
	b = binary.AppendUvarint(b, uint64(e.mode))
	b = binary.AppendVarint(b, e.mtime)
	switch e.kind {
	case kindSymlink:
		b = appendString(b, e.target)
	case kindFile:
		b = binary.AppendUvarint(b, uint64(e.size))
		b = binary.AppendUvarint(b, e.ident.dev)
		b = binary.AppendUvarint(b, e.ident.ino)
		b = binary.AppendVarint(b, e.ident.ctime)
		b = binary.AppendUvarint(b, uint64(len(e.chunks)))
		for _, c := range e.chunks {
			b = append(b, c.hash[:]...)
			b = binary.AppendUvarint(b, uint64(c.length))
		}
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeHeader reads the header from the front of a manifest file, of which b
// may be the first maxHeader bytes only. Errors do not name the file.
func decodeHeader(b []byte) (h header, rest []byte, err error) {
	if len(b) < headerStart || string(b[:len(manifestMagic)]) != manifestMagic {
		return h, nil, errors.New("is not a manifest: the magic is missing")
	}
	if v := b[len(manifestMagic)]; v != manifestVersion {
		return h, nil, fmt.Errorf("has manifest version %d; this program reads %d", v, manifestVersion)
	}
	end := headerStart + int(binary.LittleEndian.Uint32(b[headerStart-4:]))
	if end > maxHeader-4 || end+4 > len(b) {
		return h, nil, errors.New("header is cut off")
	}
	if binary.LittleEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return h, nil, errors.New("header checksum does not match")
	}
	r := reader{b: b[headerStart:end]}
	h.workload = r.string()
	h.epoch = forestall.Epoch(r.uvarint())
	h.sequence = r.uvarint()
	h.time = r.varint()
	h.label = r.string()
	h.size = int64(r.uvarint())
	h.added = int64(r.uvarint())
	h.took = time.Duration(r.uvarint())
	h.pause = time.Duration(r.uvarint())
	if r.bad || len(r.b) > 0 {
		return h, nil, errors.New("header is malformed")
	}
	return h, b[end+4:], h.validate()
}

// decodeManifest reads a whole manifest file and accepts it only if it is
// valid and in canonical form. It allocates in proportion to len(b), whatever
// b says. Errors do not name the file.
func decodeManifest(b []byte) (*manifest, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("has %d bytes; a manifest has at most %d", len(b), maxManifest)
	}
	body := len(b) - len(hash{})
	if body < 0 || hash(blake3.Sum256(b[:body])) != hash(b[body:]) {
		return nil, errors.New("checksum does not match")
	}
	h, rest, err := decodeHeader(b[:body])
	if err != nil {
		return nil, err
	}
	m := &manifest{header: h}
	r := reader{b: rest}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		m.entries = append(m.entries, r.entry())
	}
	if r.bad || len(r.b) > 0 {
		return nil, errors.New("entries are malformed")
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	if !bytes.Equal(m.encode(), b) {
		return nil, errors.New("is not in canonical form")
	}
	return m, nil
}

// reader takes fields off the front of b; after the first that is not there,
// bad is set and every field is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.bad, r.b = true, nil }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) string() string { return string(r.bytes(r.uvarint())) }

func (r *reader) entry() (e entry) {
	if k := r.bytes(1); len(k) == 1 {
		e.kind = entryKind(k[0])
	}
	e.path = r.string()
	mode := r.uvarint()
	if mode > 0o7777 {
		r.fail()
	}
	e.mode = uint32(mode)
	e.mtime = r.varint()
	switch e.kind {
	case kindSymlink:
		e.target = r.string()
	case kindFile:
		e.size = int64(r.uvarint())
		e.ident = ident{dev: r.uvarint(), ino: r.uvarint(), ctime: r.varint()}
		n := r.uvarint()
		if n > uint64(len(r.b))/uint64(len(hash{})) {
			r.fail()
			return e
		}
		e.chunks = make([]chunkRef, 0, n)
		for ; n > 0 && !r.bad; n-- {
			e.chunks = append(e.chunks, r.chunk())
		}
	}
	return e
}

func (r *reader) chunk() (c chunkRef) {
	copy(c.hash[:], r.bytes(uint64(len(c.hash))))
	n := r.uvarint()
	if n > maxChunkSize {
		r.fail()
	}
	c.length = uint32(n)
	return c
}
