package table

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go/encoding/thrift"
)

// Parquet's metadata is Thrift in its compact protocol. The library that decodes
// it believes the lengths it finds; a wrong one can ask for more memory than
// there is, which Go does not survive. So each text is walked first: no length
// may go beyond its end.

// maxParts bounds the structures within lists of one text: a decoded one takes
// some hundred bytes, an encoded one as little as one.
const maxParts = 1 << 19

// maxDepth bounds how deep structures and lists lie within each other.
const maxDepth = 32

// Types of the compact protocol.
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftInt16  = 4
	thriftInt32  = 5
	thriftInt64  = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

// errThriftEnds says that a text ends within a structure.
var errThriftEnds = errors.New("it ends too early")

// decodeThrift decodes the structure at the start of text into v, a pointer, and
// returns its length.
func decodeThrift(text []byte, v any) (n int, err error) {
	w := thriftWalk{text: text}
	if err := w.structure(0); err != nil {
		return 0, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decode metadata: %v", r)
		}
	}()
	return w.at, thrift.Unmarshal(new(thrift.CompactProtocol), text[:w.at], v)
}

// thriftWalk passes over a text.
type thriftWalk struct {
	text  []byte
	at    int
	parts int
}

func (w *thriftWalk) structure(depth int) error {
	for {
		head, err := w.byte()
		if err != nil {
			return err
		}
		if head == thriftStop {
			return nil
		}
		if head>>4 == 0 { // the field's number follows
			if _, err := w.varint(); err != nil {
				return err
			}
		}
		if kind := head & 15; kind == thriftTrue || kind == thriftFalse {
			continue // the type is the value
		}
		if err := w.value(head&15, depth); err != nil {
			return err
		}
	}
}

func (w *thriftWalk) value(kind byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("structures and lists lie more than %d deep", maxDepth)
	}
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		return w.skip(1)
	case thriftInt16, thriftInt32, thriftInt64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftUUID:
		return w.skip(16)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return w.pairs(depth)
	case thriftStruct:
		return w.structure(depth + 1)
	}
	return fmt.Errorf("it holds a value of unknown type %d", kind)
}

func (w *thriftWalk) list(depth int) error {
	head, err := w.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	return w.values(n, []byte{head & 15}, depth)
}

func (w *thriftWalk) pairs(depth int) error {
	n, err := w.varint()
	if err != nil || n == 0 {
		return err
	}
	kinds, err := w.byte()
	if err != nil {
		return err
	}
	return w.values(n, []byte{kinds >> 4, kinds & 15}, depth)
}

// values passes over n times one value of each kind, none of which takes less
// than a byte.
func (w *thriftWalk) values(n uint64, kinds []byte, depth int) error {
	if n > uint64(len(w.text)-w.at) {
		return errThriftEnds
	}
	for range n {
		for _, kind := range kinds {
			if kind >= thriftBinary {
				if w.parts++; w.parts > maxParts {
					return fmt.Errorf("it has more than %d parts", maxParts)
				}
			}
			if err := w.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *thriftWalk) byte() (byte, error) {
	if w.at >= len(w.text) {
		return 0, errThriftEnds
	}
	w.at++
	return w.text[w.at-1], nil
}

func (w *thriftWalk) skip(n uint64) error {
	if n > uint64(len(w.text)-w.at) {
		return errThriftEnds
	}
	w.at += int(n)
	return nil
}

func (w *thriftWalk) varint() (uint64, error) {
	v, n := binary.Uvarint(w.text[w.at:])
	if n < 0 {
		return 0, errors.New("it holds a number of more than 64 bits")
	}
	if n == 0 {
		return 0, errThriftEnds
	}
	w.at += n
	return v, nil
}
