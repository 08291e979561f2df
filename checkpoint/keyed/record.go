package keyed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stratoswarm/forestall"
	"github.com/zeebo/blake3"
)

// A log file is magic, version, three zero bytes, and frames. A frame is a
// header and records, a record a header and a body; a header is the length of
// what follows and 16 bytes of its BLAKE3. docs/format/keyed.md describes it.
const (
	logMagic   = "FKEY"
	logVersion = 1
	logHeader  = 8

	sumLen    = 16
	headerLen = 4 + sumLen
	maxBody   = 1 + 3*binary.MaxVarintLen64 + MaxKey + MaxValue
	maxFrame  = 64 << 20 // of records
)

type kind byte

const (
	kindPut    kind = 1
	kindDelete kind = 2
	kindMark   kind = 3 // no write: the sequence so far
)

// record is one write.
type record struct {
	kind kind
	Version
	key   string
	value []byte
}

// appendHeader appends room for a header; seal fills it in once what follows
// is there.
func appendHeader(b []byte) []byte { return append(b, make([]byte, headerLen)...) }

// seal fills in the header at the beginning of b.
func seal(b []byte) {
	sum := blake3.Sum256(b[headerLen:])
	binary.LittleEndian.PutUint32(b, uint32(len(b)-headerLen))
	copy(b[4:], sum[:sumLen])
}

// unseal returns what a header at the beginning of b covers, at most limit bytes
// of it, and what is behind. errTorn: b ends before it does.
func unseal(b []byte, limit int) (body, rest []byte, err error) {
	if len(b) < headerLen {
		return nil, nil, errTorn
	}
	length := int(binary.LittleEndian.Uint32(b))
	if length > limit {
		return nil, nil, fmt.Errorf("a length of %d bytes, at most %d are possible", length, limit)
	}
	if len(b) < headerLen+length {
		return nil, nil, errTorn
	}
	body, rest = b[headerLen:headerLen+length], b[headerLen+length:]
	if sum := blake3.Sum256(body); !bytes.Equal(sum[:sumLen], b[4:headerLen]) {
		return nil, nil, errors.New("the checksum does not match")
	}
	return body, rest, nil
}

// frameLen returns how many bytes the header at the beginning of b says there
// are, itself included; one more than there are where it is cut off.
func frameLen(b []byte) int64 {
	if len(b) < headerLen {
		return int64(len(b)) + 1
	}
	return headerLen + int64(binary.LittleEndian.Uint32(b))
}

// errTorn says that there are fewer bytes than the header says.
var errTorn = errors.New("it ends too early")

// appendRecord appends r's encoding to b.
func appendRecord(b []byte, r record) []byte {
	at := len(b)
	b = append(appendHeader(b), byte(r.kind))
	b = binary.AppendUvarint(b, uint64(r.Epoch))
	b = binary.AppendUvarint(b, r.Sequence)
	b = binary.AppendUvarint(b, uint64(len(r.key)))
	b = append(b, r.key...)
	b = append(b, r.value...)
	seal(b[at:])
	return b
}

// parseRecord reads the record at the beginning of b.
func parseRecord(b []byte) (r record, rest []byte, err error) {
	body, rest, err := unseal(b, maxBody)
	if err != nil {
		return r, nil, err
	}
	r, err = parseBody(body)
	return r, rest, err
}

// parseBody reads a verified body. value shares b's memory.
func parseBody(b []byte) (rec record, err error) {
	if len(b) == 0 {
		return rec, errors.New("an empty record")
	}
	rec.kind, b = kind(b[0]), b[1:]
	if rec.kind < kindPut || rec.kind > kindMark {
		return rec, fmt.Errorf("a record of unknown kind %d", rec.kind)
	}
	var numbers [3]uint64
	for i := range numbers {
		n, width := binary.Uvarint(b)
		if width <= 0 {
			return rec, errors.New("a number in the record is cut off or too long")
		}
		numbers[i], b = n, b[width:]
	}
	rec.Epoch, rec.Sequence = forestall.Epoch(numbers[0]), numbers[1]
	if numbers[2] > uint64(len(b)) || numbers[2] > MaxKey {
		return rec, fmt.Errorf("a key of %d bytes", numbers[2])
	}
	rec.key, rec.value = string(b[:numbers[2]]), b[numbers[2]:]
	if (rec.kind == kindMark) != (rec.key == "") || rec.kind != kindPut && len(rec.value) > 0 {
		return rec, fmt.Errorf("a record of kind %d with a key of %d and a value of %d bytes", rec.kind, len(rec.key), len(rec.value))
	}
	return rec, nil
}
