package table

import (
	"encoding/binary"
	"time"

	"github.com/parquet-go/parquet-go/format"
)

// ticks returns what turns the bits of a timestamp or a date, whole ticks since 1970,
// into its value.
func (c *timeColumn) ticks(tick time.Duration, kind format.Type) func(bits uint64) float64 {
	whole := func(bits uint64) float64 { return float64(int64(bits)) }
	if kind == format.Int32 {
		whole = func(bits uint64) float64 { return float64(int32(bits)) }
	}
	perDay := float64(24 * time.Hour / tick)
	if c.perDay >= perDay { // one of the quotients is a whole number, nearly always
		return func(bits uint64) float64 { return whole(bits) * (c.perDay / perDay) }
	}
	return func(bits uint64) float64 { return whole(bits) / (perDay / c.perDay) }
}

// size96 is the bytes of a value of type INT96.
const size96 = 12

// julian1970 is the number of the day 1970-01-01 as INT96 counts them.
const julian1970 = 2_440_588

// plain96 holds timestamps of type INT96, as Hive, Impala and old Spark write them: the
// nanoseconds of the day in eight bytes, then the day in four.
type plain96 struct {
	text  []byte
	times *timeColumn
}

func (d *plain96) decode(dst []float64) error {
	if len(dst) > len(d.text)/size96 {
		return errPageEnds
	}
	for i := range dst {
		at := d.text[i*size96:]
		nanoseconds, day := int64(binary.LittleEndian.Uint64(at)), int64(binary.LittleEndian.Uint32(at[8:]))
		dst[i] = d.times.since((day-julian1970)*86_400+nanoseconds/1e9, nanoseconds%1e9)
	}
	d.text = d.text[len(dst)*size96:]
	return nil
}
