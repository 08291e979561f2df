package delta

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Value is a Go value as a state. Its encoding is a function of the content
// alone (maps in the order of their keys) and keeps what did not change at its
// place: numbers have fixed widths, and slices and strings of a page or more
// begin at a page and have room to grow by up to an eighth before they move what
// follows them.
//
// Kept are exported fields (but those tagged `checkpoint:"-"`), booleans,
// numbers, strings, slices, arrays, maps, pointers and nested structs, and
// whatever implements encoding.BinaryMarshaler or TextMarshaler with its
// counterpart, such as time.Time. Two pointers to one thing come back as
// pointers to two. Interfaces, channels, functions and cycles are refused.
// Fields are matched by name: one that the encoding lacks becomes zero, one that
// the type lacks is passed over.
type Value struct {
	v reflect.Value // addressable
}

// Track returns the value that ptr points to, as a state. It refuses a type
// that could not be restored, and names the field.
func Track(ptr any) (*Value, error) {
	v := reflect.ValueOf(ptr)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, fmt.Errorf("track %T: a pointer to the value is needed, as in Track(&state)", ptr)
	}
	if err := checkType(v.Type().Elem(), v.Type().Elem().String(), make(map[reflect.Type]bool)); err != nil {
		return nil, fmt.Errorf("track %T: %w", ptr, err)
	}
	return &Value{v.Elem()}, nil
}

// Snapshot writes the value's encoding. The value must stand still meanwhile.
func (s *Value) Snapshot(ctx context.Context, w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	e := encoder{w: buffered, ctx: ctx}
	e.bytes([]byte(valueMagic))
	e.bytes([]byte{valueVersion})
	e.value(s.v, 0)
	if e.err == nil {
		e.err = buffered.Flush()
	}
	if e.err != nil {
		return fmt.Errorf("encode %s: %w", s.v.Type(), e.err)
	}
	return nil
}

// Restore makes the value what r holds, or leaves it as it was and says why.
// Fields that are not kept stay as they are.
func (s *Value) Restore(ctx context.Context, r io.Reader) error {
	apply, err := s.Decode(ctx, r)
	if err != nil {
		return err
	}
	apply()
	return nil
}

// Decode reads what Restore would without touching the value; apply then makes
// it the value and cannot fail.
func (s *Value) Decode(ctx context.Context, r io.Reader) (apply func(), err error) {
	fresh := reflect.New(s.v.Type()).Elem()
	d := decoder{r: bufio.NewReaderSize(r, 64<<10), ctx: ctx}
	if err := d.all(fresh); err != nil {
		return nil, fmt.Errorf("decode %s at byte %d: %w", s.v.Type(), d.at, err)
	}
	return func() { assign(s.v, fresh) }, nil
}

// assign sets what an encoding holds and leaves other fields, such as a mutex
// that the caller holds, alone.
func assign(dst, src reflect.Value) {
	if dst.Kind() != reflect.Struct || marshalerOf(dst.Type()) != byKind {
		dst.Set(src)
		return
	}
	for _, i := range keptFields(dst.Type()) {
		assign(dst.Field(i), src.Field(i))
	}
}

// checkType refuses what has no encoding. path names it in errors.
func checkType(t reflect.Type, path string, seen map[reflect.Type]bool) error {
	if seen[t] || marshalerOf(t) != byKind {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Uintptr, reflect.Invalid:
		return fmt.Errorf("%s is of type %s, which cannot be restored; tag it `checkpoint:\"-\"` or implement encoding.BinaryMarshaler and BinaryUnmarshaler", path, t)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return checkType(t.Elem(), path, seen)
	case reflect.Map:
		return errors.Join(checkType(t.Key(), path+" (key)", seen), checkType(t.Elem(), path, seen))
	case reflect.Struct:
		fields := keptFields(t)
		if len(fields) == 0 && t.NumField() > 0 {
			return fmt.Errorf("%s has type %s, of which no field is exported; tag it `checkpoint:\"-\"` or implement encoding.BinaryMarshaler and BinaryUnmarshaler", path, t)
		}
		for _, i := range fields {
			if err := checkType(t.Field(i).Type, path+"."+t.Field(i).Name, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// keptFields returns the indices of the fields that an encoding holds.
func keptFields(t reflect.Type) (kept []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.IsExported() && f.Tag.Get("checkpoint") != "-" {
			kept = append(kept, i)
		}
	}
	return kept
}
