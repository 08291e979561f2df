package gpu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"strconv"
	"strings"
)

// What the engine and the child that calls NVML say to each other: one JSON
// object a line, a request answered by one response with its ID, nothing
// unasked. Lines are bounded, so that a child gone mad costs no memory.
const (
	maxRequest  = 32 << 10 // bytes of a line; a pipe holds twice as much
	maxResponse = 64 << 10 // bytes of a line; a reading takes under 2 KiB
)

// protocol names what both sides must agree on: the form of the messages and
// the metrics. They differ when the binary was replaced under a running engine.
var protocol = func() string {
	h := fnv.New64a()
	h.Write([]byte(strings.Join(append(MetricNames(), DetailNames()...), "\n")))
	return fmt.Sprintf("1-%016x", h.Sum64())
}()

// What a request may ask.
const (
	opHello    = "hello"    // initialise; how many GPUs are there?
	opDescribe = "describe" // the GPU at an index
	opTopology = "topology" // what lies between the GPUs with these UUIDs
	opRead     = "read"     // the values of the GPU with a UUID
)

type request struct {
	ID    uint64   `json:"id"`
	Op    string   `json:"op"`
	Index int      `json:"index,omitempty"`
	UUID  string   `json:"uuid,omitempty"`
	UUIDs []string `json:"uuids,omitempty"`
}

type response struct {
	ID       uint64       `json:"id"`
	Error    *wireError   `json:"error,omitempty"`
	Protocol string       `json:"protocol,omitempty"`
	Driver   string       `json:"driver,omitempty"`
	Count    int          `json:"count,omitempty"`
	Device   *Device      `json:"device,omitempty"`
	Topology []Neighbours `json:"topology,omitempty"`
	Values   readings     `json:"values,omitempty"`
	XIDs     []XIDReport  `json:"xids,omitempty"`
}

// wireError carries an error of Boards; Kind says which sentinel it wraps.
type wireError struct {
	Kind string `json:"kind,omitempty"`
	Text string `json:"text"`
}

var errorKinds = map[string]error{"gone": ErrGone, "unavailable": ErrUnavailable}

func newWireError(err error) *wireError {
	for kind, sentinel := range errorKinds {
		if errors.Is(err, sentinel) {
			return &wireError{Kind: kind, Text: err.Error()}
		}
	}
	return &wireError{Text: err.Error()}
}

// err returns the error that the fault carries, its words unchanged.
func (f *wireError) err() error {
	if f == nil {
		return nil
	}
	return &boardError{text: f.Text, kind: errorKinds[f.Kind]}
}

// boardError is what the library said, as opposed to a child that failed.
type boardError struct {
	text string
	kind error // ErrGone, ErrUnavailable or nil
}

func (e *boardError) Error() string { return e.text }
func (e *boardError) Unwrap() error { return e.kind }

// readings are values whose NaN travels as null.
type readings []float64

// MarshalJSON writes the values, null for what is no finite number.
func (r readings) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 8*len(r)+2), '[')
	for i, v := range r {
		if i > 0 {
			b = append(b, ',')
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
		}
	}
	return append(b, ']'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *readings) UnmarshalJSON(b []byte) error {
	var list []*float64
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*r = make(readings, len(list))
	for i, v := range list {
		if v == nil {
			(*r)[i] = math.NaN()
		} else {
			(*r)[i] = *v
		}
	}
	return nil
}

var errLongLine = errors.New("line too long")

// readLine returns the next line without its end. The bytes hold until the
// next call. The reader's buffer is the longest line that it takes.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: over %d bytes", errLongLine, r.Size())
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return line[:len(line)-1], nil
}

// parseResponse reads one line of a child's and holds it against the request.
func parseResponse(line []byte, want request) (response, error) {
	var r response
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("it wrote %s, which is no response: %w", excerpt(line), err)
	}
	bad := func(format string, args ...any) (response, error) {
		return r, fmt.Errorf("it answered %s with %s: %s", want.Op, excerpt(line), fmt.Sprintf(format, args...))
	}
	switch {
	case r.ID != want.ID:
		return bad("that is for request %d, not %d", r.ID, want.ID)
	case r.Error != nil:
	case want.Op == opHello && r.Protocol != protocol:
		return r, fmt.Errorf("it speaks protocol %q, this engine %q: the program was replaced while the engine ran; restart the engine", r.Protocol, protocol)
	case want.Op == opHello && (r.Count < 0 || r.Count > maxBoards):
		return bad("%d GPUs are not between 0 and %d", r.Count, maxBoards)
	case want.Op == opDescribe && (r.Device == nil || r.Device.UUID == "" || r.Device.Index != want.Index):
		return bad("no device with a UUID at index %d", want.Index)
	case want.Op == opTopology && len(r.Topology) != len(want.UUIDs):
		return bad("neighbours of %d GPUs, not of %d", len(r.Topology), len(want.UUIDs))
	case want.Op == opRead && len(r.Values) != numMetrics+len(detailNames):
		return bad("%d values where there are %d metrics", len(r.Values), numMetrics+len(detailNames))
	}
	return r, nil
}

// maxBoards is far more GPUs than a node has; the UUIDs of as many fit into a
// request.
const maxBoards = 512

// excerpt quotes the beginning of a line for a message.
func excerpt(line []byte) string {
	const most = 60
	if len(line) > most {
		return strconv.Quote(string(line[:most])) + "..."
	}
	return strconv.Quote(string(line))
}
