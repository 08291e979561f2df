package delta

import (
	"bufio"
	"bytes"
	"context"
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"unsafe"
)

// encoder writes items. After the first error it does nothing.
type encoder struct {
	w      *bufio.Writer
	ctx    context.Context
	at     int64
	packed bool // inside a map's key: blobs have no place of their own
	err    error
}

func (e *encoder) bytes(b []byte) {
	if e.err != nil {
		return
	}
	n, err := e.w.Write(b)
	e.at, e.err = e.at+int64(n), err
}

func (e *encoder) item(i item) { e.bytes([]byte{byte(i)}) }

func (e *encoder) number(n uint64) { e.bytes(binary.LittleEndian.AppendUint64(nil, n)) }

func (e *encoder) zeros(n int64) {
	var none [PageSize]byte
	for n > 0 && e.err == nil {
		m := min(n, PageSize)
		e.bytes(none[:m])
		n -= m
	}
}

// blob writes bytes at the place that the layout gives them.
func (e *encoder) blob(b []byte) {
	if e.err == nil {
		e.err = e.ctx.Err()
	}
	if e.packed {
		e.bytes(b)
		return
	}
	n := int64(len(b))
	e.zeros(padding(e.at, n))
	e.bytes(b)
	e.zeros(slack(n))
}

func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *encoder) value(v reflect.Value, depth int) {
	if depth > maxDepth {
		e.fail(fmt.Errorf("%s is nested deeper than %d: is it a cycle?", v.Type(), maxDepth))
	}
	if e.err != nil {
		return
	}
	if way := marshalerOf(v.Type()); way != byKind {
		e.marshal(v, way)
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		e.item(itemBool)
		if v.Bool() {
			e.bytes([]byte{1})
		} else {
			e.bytes([]byte{0})
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.item(itemInt)
		e.number(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.item(itemUint)
		e.number(v.Uint())
	case reflect.Float32, reflect.Float64:
		e.item(itemFloat)
		e.number(math.Float64bits(v.Float()))
	case reflect.Complex64, reflect.Complex128:
		e.item(itemComplex)
		e.number(math.Float64bits(real(v.Complex())))
		e.number(math.Float64bits(imag(v.Complex())))
	case reflect.String:
		e.item(itemString)
		e.text(v.String())
	case reflect.Slice, reflect.Array:
		e.list(v, depth)
	case reflect.Map:
		e.dict(v, depth)
	case reflect.Pointer:
		if v.IsNil() {
			e.item(itemNil)
			return
		}
		e.item(itemPointer)
		e.value(v.Elem(), depth+1)
	case reflect.Struct:
		e.record(v, depth)
	default:
		e.fail(fmt.Errorf("%s cannot be encoded", v.Type()))
	}
}

func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	e.blob(unsafe.Slice(unsafe.StringData(s), len(s)))
}

func (e *encoder) marshal(v reflect.Value, way way) {
	var (
		b   []byte
		err error
	)
	v = addressable(v)
	if way == byBinary {
		e.item(itemBinary)
		b, err = v.Addr().Interface().(encoding.BinaryMarshaler).MarshalBinary()
	} else {
		e.item(itemText)
		b, err = v.Addr().Interface().(encoding.TextMarshaler).MarshalText()
	}
	if err != nil {
		e.fail(fmt.Errorf("%s: %w", v.Type(), err))
		return
	}
	e.number(uint64(len(b)))
	e.blob(b)
}

// addressable returns v or a copy of it that has an address: keys and values of
// maps have none.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

func (e *encoder) list(v reflect.Value, depth int) {
	if v.Kind() == reflect.Slice && v.IsNil() {
		e.item(itemNil)
		return
	}
	if t := v.Type().Elem(); numeric(t) {
		e.item(itemNumbers)
		e.bytes([]byte{byte(numberKind(t.Kind())), byte(t.Size())})
		e.number(uint64(v.Len()))
		if v.Kind() == reflect.Array {
			v = addressable(v).Slice(0, v.Len())
		}
		e.blob(memoryOf(v))
		return
	}
	e.item(itemList)
	e.number(uint64(v.Len()))
	for i := range v.Len() {
		e.value(v.Index(i), depth+1)
	}
}

// memoryOf returns the numbers of a slice as little-endian bytes: its own
// memory where the machine is little-endian, which is only to be read.
func memoryOf(v reflect.Value) []byte {
	b := rawMemory(v)
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		b = bytes.Clone(b)
		littleEndian(b, unitOf(v.Type().Elem()))
	}
	return b
}

// rawMemory returns the memory of a slice of numbers.
func rawMemory(v reflect.Value) []byte {
	if v.Len() == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(v.UnsafePointer()), v.Len()*int(v.Type().Elem().Size()))
}

// unitOf is the width of a number, or of half a complex one.
func unitOf(t reflect.Type) int {
	if t.Kind() == reflect.Complex64 || t.Kind() == reflect.Complex128 {
		return int(t.Size()) / 2
	}
	return int(t.Size())
}

// dict writes a map in the order of its encoded keys. Keys that cannot be told
// apart (a NaN) are in the order of their values' bytes.
func (e *encoder) dict(v reflect.Value, depth int) {
	if v.IsNil() {
		e.item(itemNil)
		return
	}
	type pair struct {
		key   []byte
		value reflect.Value
	}
	pairs := make([]pair, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key, err := e.alone(it.Key(), depth)
		if err != nil {
			e.fail(err)
			return
		}
		pairs = append(pairs, pair{key, it.Value()})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		x, errx := e.alone(a.value, depth)
		y, erry := e.alone(b.value, depth)
		if errx != nil || erry != nil {
			return 0
		}
		return bytes.Compare(x, y)
	})
	e.item(itemMap)
	e.number(uint64(len(pairs)))
	for _, p := range pairs {
		e.bytes(p.key)
		e.value(p.value, depth+1)
	}
}

// alone returns the packed encoding of a value by itself.
func (e *encoder) alone(v reflect.Value, depth int) ([]byte, error) {
	var b bytes.Buffer
	k := encoder{w: bufio.NewWriter(&b), ctx: e.ctx, packed: true}
	k.value(v, depth+1)
	if k.err == nil {
		k.err = k.w.Flush()
	}
	return b.Bytes(), k.err
}

func (e *encoder) record(v reflect.Value, depth int) {
	fields := keptFields(v.Type())
	e.item(itemStruct)
	e.number(uint64(len(fields)))
	for _, i := range fields {
		e.text(v.Type().Field(i).Name)
		e.value(v.Field(i), depth+1)
	}
}
