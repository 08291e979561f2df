package delta

import (
	"encoding"
	"encoding/binary"
	"math/bits"
	"reflect"
)

// An encoded value is magic, version, and one item. docs/format/value.md
// describes it.
const (
	valueMagic   = "FVAL"
	valueVersion = 1
)

// item is the first byte of each item of an encoding.
type item byte

const (
	itemNil     item = 0 // of a pointer, slice or map
	itemBool    item = 1
	itemInt     item = 2 // 8 bytes, two's complement
	itemUint    item = 3 // 8 bytes
	itemFloat   item = 4 // 8 bytes, IEEE 754
	itemComplex item = 5 // 16 bytes
	itemString  item = 6 // length, bytes
	itemNumbers item = 7 // element kind, element width, count, bytes
	itemList    item = 8 // count, items
	itemMap     item = 9 // count, pairs of items in the order of the keys' bytes
	itemPointer item = 10
	itemStruct  item = 11 // count, then for each field its name as a string and its item
	itemBinary  item = 12 // length, what MarshalBinary gave
	itemText    item = 13 // length, what MarshalText gave
)

// maxDepth bounds nesting; a value that is deeper is taken to be a cycle.
const maxDepth = 1000

// padding returns how many zeros lie before a blob of n bytes that would begin
// at offset at: those up to the next page, for one of a page or more.
func padding(at, n int64) int64 {
	if n < PageSize {
		return 0
	}
	return -at & (PageSize - 1)
}

// slack returns how many zeros lie behind a blob of n bytes: those up to a
// multiple of an eighth of the power of two above n, for one of a page or more.
func slack(n int64) int64 {
	if n < PageSize {
		return 0
	}
	step := max(PageSize, int64(1)<<bits.Len64(uint64(n-1))/8)
	return -n & (step - 1)
}

// way is how a type is encoded.
type way int

const (
	byKind way = iota
	byBinary
	byText
)

var (
	binaryMarshaler   = reflect.TypeFor[encoding.BinaryMarshaler]()
	binaryUnmarshaler = reflect.TypeFor[encoding.BinaryUnmarshaler]()
	textMarshaler     = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// marshalerOf returns how values of t, which are addressable, are encoded.
// Pointers are followed first.
func marshalerOf(t reflect.Type) way {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return byKind
	}
	p := reflect.PointerTo(t)
	switch {
	case p.Implements(binaryMarshaler) && p.Implements(binaryUnmarshaler):
		return byBinary
	case p.Implements(textMarshaler) && p.Implements(textUnmarshaler):
		return byText
	}
	return byKind
}

// numeric reports whether slices of t are encoded as their memory.
func numeric(t reflect.Type) bool {
	return t.Kind() >= reflect.Int && t.Kind() <= reflect.Complex128 && t.Kind() != reflect.Uintptr && marshalerOf(t) == byKind
}

// numberKind names an element's kind in an encoding: the width is beside it.
func numberKind(k reflect.Kind) item {
	switch {
	case k <= reflect.Int64:
		return itemInt
	case k <= reflect.Uint64:
		return itemUint
	case k <= reflect.Float64:
		return itemFloat
	}
	return itemComplex
}

// littleEndian turns the memory of numbers into little-endian bytes, or back,
// in place. unit is the width of a number, or of half a complex one.
func littleEndian(b []byte, unit int) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return
	}
	for ; len(b) >= unit; b = b[unit:] {
		for i, j := 0, unit-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
	}
}
