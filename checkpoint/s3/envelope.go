package s3

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
)

// Every object begins with magic, kind and version, and its checksums are
// BLAKE3-256. docs/format/s3.md has the fields.
const (
	magic     = "FORESTS3"
	version   = 1
	headLen   = len(magic) + 2
	sumLen    = 32
	maxObject = 512 << 20 // of catalogs, records and plans
)

// The kinds of object.
const (
	kindFormat  = 'F'
	kindCatalog = 'C'
	kindRecord  = 'R'
	kindPack    = 'P'
	kindPlan    = 'G'
)

func head(kind byte) []byte { return append([]byte(magic), kind, version) }

// checkHead reports what is wrong with the front of an object.
func checkHead(b []byte, kind byte) error {
	if len(b) < headLen || string(b[:len(magic)]) != magic || b[len(magic)] != kind {
		return fmt.Errorf("is not a %q object of a checkpoint store", kind)
	}
	if v := b[len(magic)+1]; v != version {
		return fmt.Errorf("has version %d; this program reads %d", v, version)
	}
	return nil
}

// sealJSON makes an object of a value: head, compressed JSON, checksum of both.
func sealJSON(kind byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	b := enc.EncodeAll(text, head(kind))
	sum := blake3.Sum256(b)
	return append(b, sum[:]...), nil
}

// openJSON reads what sealJSON made.
func openJSON(b []byte, kind byte, v any) error {
	if err := checkHead(b, kind); err != nil {
		return err
	}
	body, err := checkSum(b)
	if err != nil {
		return err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxObject))
	if err != nil {
		return err
	}
	defer dec.Close()
	text, err := dec.DecodeAll(body[headLen:], nil)
	if err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("is malformed: %w", err)
	}
	return nil
}

// checkSum returns what is before the checksum at the end of b.
func checkSum(b []byte) ([]byte, error) {
	n := len(b) - sumLen
	if n < headLen || blake3.Sum256(b[:n]) != [sumLen]byte(b[n:]) {
		return nil, errors.New("checksum does not match")
	}
	return b[:n], nil
}

// frontLen is the length of a record's fixed front: head and the length of its
// header.
const frontLen = headLen + 4

// sealFront makes the front of an object that is read alone: head, length,
// JSON, checksum of these.
func sealFront(kind byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	b := binary.LittleEndian.AppendUint32(head(kind), uint32(len(text)))
	b = append(b, text...)
	sum := blake3.Sum256(b)
	return append(b, sum[:]...), nil
}

// errShort: the front is longer than what was read; need says how long.
type shortError struct{ need int64 }

func (e *shortError) Error() string { return fmt.Sprintf("the front has %d bytes, fewer came", e.need) }

// openFront reads what sealFront made and returns what follows it.
func openFront(b []byte, kind byte, v any) (rest []byte, err error) {
	if err := checkHead(b, kind); err != nil {
		return nil, err
	}
	if len(b) < frontLen {
		return nil, errors.New("is cut off")
	}
	end := int64(frontLen) + int64(binary.LittleEndian.Uint32(b[headLen:]))
	if end > maxObject {
		return nil, fmt.Errorf("claims a header of %d bytes", end)
	}
	if int64(len(b)) < end+sumLen {
		return nil, &shortError{end + sumLen}
	}
	if _, err := checkSum(b[:end+sumLen]); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b[frontLen:end], v); err != nil {
		return nil, fmt.Errorf("is malformed: %w", err)
	}
	return b[end+sumLen:], nil
}
