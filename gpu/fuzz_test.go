package gpu

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// FuzzResponse feeds the engine's side of the protocol what a child gone mad
// may write: it must give a response that answers the request, or an error.
func FuzzResponse(f *testing.F) {
	values, err := json.Marshal(response{ID: 1, Values: make(readings, numMetrics+len(detailNames))})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(values)+"\n", uint8(2))
	f.Add(fmt.Sprintf(`{"id":1,"protocol":%q,"count":8,"driver":"550"}`+"\n", protocol), uint8(0))
	f.Add(`{"id":1,"device":{"Index":0,"UUID":"GPU-0","Links":[1]}}`+"\n", uint8(1))
	f.Add(`{"id":1,"topology":[{"links":[1]},{"links":[0]}]}`+"\n", uint8(3))
	f.Add(`{"id":1,"error":{"kind":"gone","text":"lost"},"xids":[{"uuid":"GPU-0","code":79}]}`+"\n", uint8(2))
	f.Add(`{"id":1,"values":[1e999,null]}`+"\n", uint8(2))
	f.Add("NVRM: Xid\n", uint8(2))
	f.Add(strings.Repeat("x", 200), uint8(2))
	f.Fuzz(func(t *testing.T, text string, op uint8) {
		q := request{ID: 1, Op: []string{opHello, opDescribe, opRead, opTopology}[op%4], UUIDs: []string{"GPU-0", "GPU-1"}}
		r := bufio.NewReaderSize(strings.NewReader(text), 128<<10)
		for {
			line, err := readLine(r)
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errLongLine) {
					t.Fatalf("readLine: %v", err)
				}
				return
			}
			if bytes.ContainsRune(line, '\n') {
				t.Fatalf("line %q", line)
			}
			got, err := parseResponse(line, q)
			if err != nil || got.Error != nil {
				continue
			}
			switch {
			case got.ID != 1,
				q.Op == opHello && (got.Protocol != protocol || got.Count < 0 || got.Count > maxBoards),
				q.Op == opDescribe && (got.Device == nil || got.Device.UUID == ""),
				q.Op == opTopology && len(got.Topology) != 2,
				q.Op == opRead && len(got.Values) != numMetrics+len(detailNames):
				t.Fatalf("%s took %q", q.Op, line)
			}
		}
	})
}
