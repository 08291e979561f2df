package recording

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/stratoswarm/forestall"
)

// Content says what the columns of a segment are.
type Content string

// The contents.
const (
	Samples Content = "samples" // metrics as they were scraped
	Vectors Content = "vectors" // features as they were scored
	Table   Content = "table"   // features with labels, to train on
)

// The columns that every segment has beside its metrics.
const (
	ColumnTime      = "time"            // milliseconds since 1970
	ColumnComponent = "component"       // its name
	ColumnIndex     = "component_index" // its place in the file's list of components
)

// Keys of the metadata of a segment.
const (
	keyVersion    = "forestall.telemetry" // of the format
	keyContent    = "forestall.content"
	keyKind       = "forestall.kind"
	keySchema     = "forestall.schema"
	keyFrom       = "forestall.from"
	keyTo         = "forestall.to"
	keyComponents = "forestall.components"
)

const version = "1"

// groupCells is about how many values a row group has: what the writer holds.
const groupCells = 1 << 20

// Writer writes one segment. It is not safe for concurrent use.
type Writer struct {
	out        *parquet.GenericWriter[any]
	place      []int // of each metric's column in a row
	at         struct{ time, component, index int }
	row        parquet.Row
	rows       int64
	numbers    map[forestall.Component]int32
	components []string
	names      []parquet.Value
	from, to   int64
}

// NewWriter returns a writer of a segment onto w with a column for each metric,
// whose names must differ. schema is the version of the feature schema, "" for
// samples.
func NewWriter(w io.Writer, content Content, kind forestall.Kind, schema string, metrics []string) (*Writer, error) {
	columns := parquet.Group{
		ColumnTime:      parquet.Encoded(parquet.Timestamp(parquet.Millisecond), &parquet.DeltaBinaryPacked),
		ColumnComponent: parquet.Encoded(parquet.String(), &parquet.RLEDictionary),
		ColumnIndex:     parquet.Encoded(parquet.Int(32), &parquet.DeltaBinaryPacked),
	}
	for _, m := range metrics {
		if _, twice := columns[m]; twice || m == "" {
			return nil, fmt.Errorf("write telemetry: column %q cannot be written, or is given twice", m)
		}
		columns[m] = parquet.Encoded(parquet.Optional(parquet.Leaf(parquet.DoubleType)), &parquet.Plain)
	}
	s := &Writer{numbers: map[forestall.Component]int32{}, row: make(parquet.Row, len(columns)), place: make([]int, len(metrics))}
	schemaOf := parquet.NewSchema("telemetry", columns)
	for i, path := range schemaOf.Columns() {
		switch path[0] {
		case ColumnTime:
			s.at.time = i
		case ColumnComponent:
			s.at.component = i
		case ColumnIndex:
			s.at.index = i
		default:
			s.place[slices.Index(metrics, path[0])] = i
		}
	}
	s.out = parquet.NewGenericWriter[any](w, schemaOf,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}),
		parquet.MaxRowsPerRowGroup(int64(max(groupCells/len(columns), 1024))),
		parquet.PageBufferSize(64<<10), parquet.DataPageStatistics(false),
		parquet.CreatedBy("forestall", version, ""))
	for _, kv := range [][2]string{{keyVersion, version}, {keyContent, string(content)}, {keyKind, kind.String()}, {keySchema, schema}} {
		if kv[1] != "" {
			s.out.SetKeyValueMetadata(kv[0], kv[1])
		}
	}
	return s, nil
}

// Write writes a row: what c reported at t, in the order of the metrics, NaN
// where a value is missing. Where known is not nil it tells which metrics the
// scrape had at all; the others are null in the file. Rows come in the order of
// time.
func (s *Writer) Write(t time.Time, c forestall.Component, values []float64, known []bool) error {
	ms := t.UnixMilli()
	number, ok := s.numbers[c]
	if !ok {
		number = int32(len(s.components))
		s.numbers[c] = number
		s.components = append(s.components, c.String())
		s.names = append(s.names, parquet.ByteArrayValue([]byte(c.String())).Level(0, 0, s.at.component))
	}
	if s.rows == 0 {
		s.from, s.to = ms, ms
	}
	s.from, s.to = min(s.from, ms), max(s.to, ms)
	s.row[s.at.time] = parquet.Int64Value(ms).Level(0, 0, s.at.time)
	s.row[s.at.component] = s.names[number]
	s.row[s.at.index] = parquet.Int32Value(number).Level(0, 0, s.at.index)
	for i, v := range values {
		at := s.place[i]
		switch {
		case known != nil && !known[i]:
			s.row[at] = parquet.NullValue().Level(0, 0, at)
		case math.IsInf(v, 0):
			s.row[at] = parquet.DoubleValue(math.NaN()).Level(0, 1, at)
		default:
			s.row[at] = parquet.DoubleValue(v).Level(0, 1, at)
		}
	}
	s.rows++
	if _, err := s.out.WriteRows([]parquet.Row{s.row}); err != nil {
		return fmt.Errorf("write telemetry: %w", err)
	}
	return nil
}

// Rows returns how many rows were written.
func (s *Writer) Rows() int64 { return s.rows }

// Close writes what is left and the metadata. It does not close what it wrote
// to.
func (s *Writer) Close() error {
	list, err := json.Marshal(s.components)
	if err != nil {
		return fmt.Errorf("write telemetry: %w", err)
	}
	s.out.SetKeyValueMetadata(keyComponents, string(list))
	s.out.SetKeyValueMetadata(keyFrom, strconv.FormatInt(s.from, 10))
	s.out.SetKeyValueMetadata(keyTo, strconv.FormatInt(s.to, 10))
	if err := s.out.Close(); err != nil {
		return fmt.Errorf("write telemetry: %w", err)
	}
	return nil
}
