package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint/seal"
	"github.com/zeebo/blake3"
)

// A manifest file is, in this order: magic, version (1 byte), header length
// (4 bytes, little endian), header, CRC-32C of all before, level and list of the
// tree's topmost blocks, in version 3 the names of what was left out, BLAKE3-256 of
// all before. docs/format/checkpoint.md has the fields.
const (
	manifestMagic   = "FCKPTMAN"
	manifestVersion = 3
	headerStart     = len(manifestMagic) + 1 + 4
	maxHeader       = 4 << 10
	maxManifest     = 256 << 20
	sealedTree      = 0xff // in the place of the level: what follows is sealed, bound to all before
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode writes a manifest file: version 3 where something was left out, else
// version 2, which older programs read too.
func (r root) encode(keys *seal.Keyring) []byte {
	if r.left > 0 {
		return r.encodeAs(3, keys)
	}
	return r.encodeAs(2, keys)
}

func (r root) encodeAs(version byte, keys *seal.Keyring) []byte {
	b := r.front(version)
	tree := appendRefs([]byte{byte(r.level)}, r.top)
	if version >= 3 {
		tree = binary.AppendUvarint(tree, uint64(len(r.names)))
		for _, name := range r.names {
			tree = appendString(tree, name)
		}
	}
	if keys != nil {
		b = append(b, sealedTree)
		b = keys.Seal(b, tree, b)
	} else {
		b = append(b, tree...)
	}
	sum := blake3.Sum256(b)
	return append(b, sum[:]...)
}

// front is a manifest file up to and with the header's checksum.
func (h header) front(version byte) []byte {
	fields := h.encode(version)
	b := make([]byte, 0, headerStart+len(fields)+4)
	b = append(b, manifestMagic...)
	b = append(b, version)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(fields)))
	b = append(b, fields...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (h header) encode(version byte) []byte {
	b := appendString(nil, h.workload)
	b = binary.AppendUvarint(b, uint64(h.epoch))
	b = binary.AppendUvarint(b, h.sequence)
	b = binary.AppendVarint(b, h.time)
	b = appendString(b, h.label)
	for _, v := range []int64{h.size, h.added, int64(h.took), int64(h.pause)} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	if version >= 3 {
		b = binary.AppendUvarint(b, uint64(h.left))
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
	version := b[len(manifestMagic)]
	if version < 1 || version > manifestVersion {
		return h, nil, fmt.Errorf("has manifest version %d; this program reads 1 to %d", version, manifestVersion)
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
	if version >= 3 {
		if h.left = int64(r.uvarint()); h.left == 0 {
			r.fail()
		}
	}
	if r.bad || len(r.b) > 0 {
		return h, nil, errors.New("header is malformed")
	}
	return h, b[end+4:], h.validate()
}

// decodeRoot reads a whole manifest file. It allocates in proportion to len(b),
// whatever b says. Errors do not name the file.
func (c *codec) decodeRoot(b []byte) (r root, err error) {
	if len(b) > maxManifest {
		return r, fmt.Errorf("has %d bytes; a manifest has at most %d", len(b), maxManifest)
	}
	body := len(b) - len(hash{})
	if body < 0 || hash(blake3.Sum256(b[:body])) != hash(b[body:]) {
		return r, errors.New("checksum does not match")
	}
	h, rest, err := decodeHeader(b[:body])
	if err != nil {
		return r, err
	}
	if b[len(manifestMagic)] == 1 {
		return decodeV1(b, h, rest)
	}
	r.header = h
	if len(rest) > 0 && rest[0] == sealedTree {
		r.sealed = true
		if rest, err = c.open(nil, rest[1:], b[:body-len(rest)+1]); err != nil {
			return r, err
		}
	}
	in := reader{b: rest}
	if level := in.bytes(1); len(level) == 1 {
		r.level = int(level[0])
	}
	r.top = in.refs()
	if r.left > 0 {
		n := in.uvarint()
		if n > firstLeftOut || n > uint64(r.left) {
			in.fail()
			n = 0
		}
		for range n {
			r.names = append(r.names, in.string())
		}
	}
	if in.bad || len(in.b) > 0 || r.level > maxLevel || len(r.top) == 0 {
		return r, errors.New("list of tree blocks, or of what was left out, is malformed")
	}
	return r, nil
}

// readManifestHead reads the header of a manifest file whose checksum matches.
// It needs no key. Errors do not name the file.
func readManifestHead(b []byte) (header, error) {
	body := len(b) - len(hash{})
	if body < 0 || hash(blake3.Sum256(b[:body])) != hash(b[body:]) {
		return header{}, errors.New("checksum does not match")
	}
	h, _, err := decodeHeader(b[:body])
	return h, err
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
