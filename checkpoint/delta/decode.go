package delta

import (
	"bufio"
	"context"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
)

// decoder reads items.
type decoder struct {
	r      *bufio.Reader
	ctx    context.Context
	at     int64
	packed bool // inside a map's key
}

// all reads a whole encoding into v, which is zero.
func (d *decoder) all(v reflect.Value) error {
	head, err := d.bytes(int64(len(valueMagic)) + 1)
	if err != nil {
		return err
	}
	if string(head[:len(valueMagic)]) != valueMagic {
		return errors.New("is not an encoded value")
	}
	if got := head[len(valueMagic)]; got != valueVersion {
		return fmt.Errorf("has value version %d; this program reads %d", got, valueVersion)
	}
	if err := d.value(v, 0); err != nil {
		return err
	}
	if _, err := d.r.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(errors.New("there is more behind the value"), err)
	}
	return nil
}

// step bounds what is allocated before it has been read.
const step = 1 << 20

// bytes reads n bytes.
func (d *decoder) bytes(n int64) ([]byte, error) {
	var b []byte
	for n > 0 {
		if err := d.ctx.Err(); err != nil {
			return nil, err
		}
		m := min(n, max(step, int64(len(b))))
		b = append(b, make([]byte, m)...)
		got, err := io.ReadFull(d.r, b[int64(len(b))-m:])
		if d.at, n = d.at+int64(got), n-m; err != nil {
			return nil, ended(err)
		}
	}
	return b, nil
}

// ended turns an end of the input into one that was not expected.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (d *decoder) byte() (byte, error) {
	b, err := d.r.ReadByte()
	if err != nil {
		return 0, ended(err)
	}
	d.at++
	return b, nil
}

func (d *decoder) number() (uint64, error) {
	var b [8]byte
	n, err := io.ReadFull(d.r, b[:])
	d.at += int64(n)
	return binary.LittleEndian.Uint64(b[:]), ended(err)
}

// count reads a length.
func (d *decoder) count() (int64, error) {
	n, err := d.number()
	if err == nil && n > math.MaxInt64/32 {
		err = fmt.Errorf("a length of %d", n)
	}
	return int64(n), err
}

// zeros reads n bytes that must be zero.
func (d *decoder) zeros(n int64) error {
	b, err := d.bytes(n)
	for _, c := range b {
		if c != 0 {
			return errors.New("padding is not zero")
		}
	}
	return err
}

// blob reads n bytes at the place that the layout gives them.
func (d *decoder) blob(n int64) ([]byte, error) {
	if d.packed {
		return d.bytes(n)
	}
	if err := d.zeros(padding(d.at, n)); err != nil {
		return nil, err
	}
	b, err := d.bytes(n)
	if err != nil {
		return nil, err
	}
	return b, d.zeros(slack(n))
}

func (d *decoder) sized() ([]byte, error) {
	n, err := d.count()
	if err != nil {
		return nil, err
	}
	return d.blob(n)
}

// value reads the next item into v. An invalid v passes over it.
func (d *decoder) value(v reflect.Value, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	kind, err := d.byte()
	if err != nil {
		return err
	}
	switch i := item(kind); i {
	case itemNil:
		if v.IsValid() && v.Kind() != reflect.Pointer && v.Kind() != reflect.Slice && v.Kind() != reflect.Map {
			return mismatch("nothing", v)
		}
		return nil
	case itemBool, itemInt, itemUint, itemFloat, itemComplex:
		return d.scalar(v, i)
	case itemString:
		b, err := d.sized()
		switch {
		case err != nil || !v.IsValid():
			return err
		case v.Kind() != reflect.String || marshalerOf(v.Type()) != byKind:
			return mismatch("a string", v)
		}
		v.SetString(string(b))
		return nil
	case itemNumbers:
		return d.numbers(v)
	case itemList:
		return d.list(v, depth)
	case itemMap:
		return d.dict(v, depth)
	case itemPointer:
		if !v.IsValid() {
			return d.value(v, depth+1)
		}
		if v.Kind() != reflect.Pointer {
			return mismatch("a pointer", v)
		}
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(v.Elem(), depth+1)
	case itemStruct:
		return d.record(v, depth)
	case itemBinary, itemText:
		return d.unmarshal(v, i)
	}
	return fmt.Errorf("unknown item %d", kind)
}

func mismatch(what string, v reflect.Value) error {
	return fmt.Errorf("the encoding has %s where the type has %s", what, v.Type())
}

func (d *decoder) scalar(v reflect.Value, kind item) error {
	if kind == itemBool {
		b, err := d.byte()
		switch {
		case err != nil:
			return err
		case b > 1:
			return fmt.Errorf("a boolean of %d", b)
		case !v.IsValid():
			return nil
		case v.Kind() != reflect.Bool:
			return mismatch("a boolean", v)
		}
		v.SetBool(b == 1)
		return nil
	}
	n, err := d.number()
	if err != nil {
		return err
	}
	var n2 uint64
	if kind == itemComplex {
		if n2, err = d.number(); err != nil {
			return err
		}
	}
	if !v.IsValid() {
		return nil
	}
	switch f := math.Float64frombits(n); {
	case kind == itemInt && v.CanInt() && !v.OverflowInt(int64(n)):
		v.SetInt(int64(n))
	case kind == itemUint && v.CanUint() && !v.OverflowUint(n):
		v.SetUint(n)
	case kind == itemFloat && v.CanFloat():
		v.SetFloat(f)
	case kind == itemComplex && v.CanComplex():
		v.SetComplex(complex(f, math.Float64frombits(n2)))
	default:
		return mismatch(fmt.Sprintf("the number %#x of kind %d", n, kind), v)
	}
	return nil
}

func (d *decoder) numbers(v reflect.Value) error {
	kind, err := d.byte()
	if err != nil {
		return err
	}
	width, err := d.byte()
	if err != nil {
		return err
	}
	n, err := d.count()
	if err != nil {
		return err
	}
	if width == 0 || width > 16 {
		return fmt.Errorf("numbers of %d bytes", width)
	}
	b, err := d.blob(n * int64(width))
	if err != nil || !v.IsValid() {
		return err
	}
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array || !numeric(v.Type().Elem()) || marshalerOf(v.Type()) != byKind ||
		numberKind(v.Type().Elem().Kind()) != item(kind) || v.Type().Elem().Size() != uintptr(width) {
		return mismatch(fmt.Sprintf("numbers of kind %d and %d bytes", kind, width), v)
	}
	if err := resize(v, n); err != nil {
		return err
	}
	littleEndian(b, unitOf(v.Type().Elem()))
	if v.Kind() == reflect.Array {
		v = v.Slice(0, v.Len())
	}
	copy(rawMemory(v), b)
	return nil
}

// resize gives a slice n elements; an array must have them.
func resize(v reflect.Value, n int64) error {
	if v.Kind() == reflect.Array {
		if int64(v.Len()) != n {
			return mismatch(fmt.Sprintf("%d elements", n), v)
		}
		return nil
	}
	v.Set(reflect.MakeSlice(v.Type(), int(n), int(n)))
	return nil
}

func (d *decoder) list(v reflect.Value, depth int) error {
	n, err := d.count()
	if err != nil {
		return err
	}
	if v.IsValid() {
		if v.Kind() != reflect.Slice && v.Kind() != reflect.Array || marshalerOf(v.Type()) != byKind || numeric(v.Type().Elem()) {
			return mismatch("a list", v)
		}
		if v.Kind() == reflect.Array {
			err = resize(v, n)
		} else {
			v.Set(reflect.MakeSlice(v.Type(), 0, int(min(n, 64))))
		}
		if err != nil {
			return err
		}
	}
	for i := range int(n) {
		var e reflect.Value
		if v.IsValid() {
			if v.Kind() == reflect.Slice {
				v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			}
			e = v.Index(i)
		}
		if err := d.value(e, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) dict(v reflect.Value, depth int) error {
	n, err := d.count()
	if err != nil {
		return err
	}
	if v.IsValid() {
		if v.Kind() != reflect.Map || marshalerOf(v.Type()) != byKind {
			return mismatch("a map", v)
		}
		v.Set(reflect.MakeMap(v.Type()))
	}
	for range n {
		var key, elem reflect.Value
		if v.IsValid() {
			key, elem = reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		}
		was := d.packed
		d.packed = true
		err := d.value(key, depth+1)
		d.packed = was
		if err == nil {
			err = d.value(elem, depth+1)
		}
		if err != nil {
			return err
		}
		if v.IsValid() {
			v.SetMapIndex(key, elem)
		}
	}
	return nil
}

func (d *decoder) record(v reflect.Value, depth int) error {
	n, err := d.count()
	if err != nil {
		return err
	}
	fields := map[string]int{}
	if v.IsValid() {
		if v.Kind() != reflect.Struct || marshalerOf(v.Type()) != byKind {
			return mismatch("a struct", v)
		}
		for _, i := range keptFields(v.Type()) {
			fields[v.Type().Field(i).Name] = i
		}
	}
	for range n {
		name, err := d.sized()
		if err != nil {
			return err
		}
		var field reflect.Value
		if i, ok := fields[string(name)]; ok {
			field = v.Field(i)
		}
		if err := d.value(field, depth+1); err != nil {
			return fmt.Errorf("field %.100s: %w", name, err)
		}
	}
	return nil
}

func (d *decoder) unmarshal(v reflect.Value, kind item) error {
	b, err := d.sized()
	if err != nil || !v.IsValid() {
		return err
	}
	switch w := marshalerOf(v.Type()); {
	case w == byBinary && kind == itemBinary:
		err = v.Addr().Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(b)
	case w == byText && kind == itemText:
		err = v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(b)
	default:
		return mismatch("the result of a marshaler", v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.Type(), err)
	}
	return nil
}
