package api

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestRecordings: the files of every node, a node that is silent named; parts of a
// file; what is short is an error that leaves what came.
func TestRecordings(t *testing.T) {
	c := NewClient(start(t, newServer(t, newFake(t0), nil)))
	all, err := c.Recordings(t.Context(), forestall.KindGPU, time.Now())
	if err != nil || len(all) != 2 || all[0].Files[0] != (RecordingFile{recorded, 10}) || all[1].Error == "" {
		t.Fatalf("%+v, %v", all, err)
	}
	get := func(node, file string, offset, size int64) (string, error) {
		var b bytes.Buffer
		err := c.Recording(t.Context(), &b, node, file, offset, size)
		return b.String(), err
	}
	if got, err := get("n1", recorded, 3, 4); err != nil || got != "3456" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := get("n1", recorded, 8, 5); !errors.Is(err, io.ErrUnexpectedEOF) || got != "89" || !strings.Contains(err.Error(), recorded+" of n1") {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := get("n1", "samples-gpu-x.parquet", 0, 5); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := get("n2", recorded, 0, 5); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	var invalid *Error
	if _, err := get("n1", recorded, -1, 5); !errors.As(err, &invalid) || invalid.Status != 422 {
		t.Error(err)
	}
}
