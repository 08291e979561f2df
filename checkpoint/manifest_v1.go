package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/zeebo/blake3"
)

// Version 1 of a manifest has the entries in the file itself and names whole
// chunks only. It is read, and no longer written.

// decodeV1 reads what follows the header of the version 1 file b.
func decodeV1(b []byte, h header, rest []byte) (root, error) {
	m := &manifest{header: h}
	r := reader{b: rest}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		m.entries = append(m.entries, r.entryV1())
	}
	if r.bad || len(r.b) > 0 {
		return root{}, errors.New("entries are malformed")
	}
	if err := m.validate(); err != nil {
		return root{}, err
	}
	if !bytes.Equal(m.encodeV1(), b) {
		return root{}, errors.New("is not in canonical form")
	}
	return root{header: h, entries: m.entries}, nil
}

// encodeV1 writes version 1 in its canonical form.
func (m *manifest) encodeV1() []byte {
	b := m.front(1)
	b = binary.AppendUvarint(b, uint64(len(m.entries)))
	for _, e := range m.entries {
		b = e.appendV1(b)
	}
	sum := blake3.Sum256(b)
	return append(b, sum[:]...)
}

func (e entry) appendV1(b []byte) []byte {
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
		b = binary.AppendUvarint(b, uint64(len(e.extents)))
		for _, c := range e.extents {
			b = append(b, c.hash[:]...)
			b = binary.AppendUvarint(b, uint64(c.length))
		}
	}
	return b
}

func (r *reader) entryV1() (e entry) {
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
		e.extents = make([]extent, 0, n)
		for ; n > 0 && !r.bad; n-- {
			e.extents = append(e.extents, whole(r.ref()))
		}
	}
	return e
}
