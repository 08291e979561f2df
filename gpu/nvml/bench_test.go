//go:build cgo && linux

package nvml

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/stratoswarm/forestall/gpu"
)

// BenchmarkScrape reads the eight mocked GPUs through ServeBoards, without the
// process around it: one reading each, bytes on the pipe and time. What the
// driver itself takes comes on top.
func BenchmarkScrape(b *testing.B) {
	requests, ask := io.Pipe()
	answers, answer := io.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- gpu.ServeBoards(requests, answer, func() (gpu.Boards, error) { return open(newDGX(), b.TempDir()) })
	}()
	buf := make([]byte, 1<<16)
	bytesRead := 0
	exchange := func(line string) []byte {
		if _, err := io.WriteString(ask, line); err != nil {
			b.Fatal(err)
		}
		var got []byte
		for !bytes.HasSuffix(got, []byte("\n")) {
			n, err := answers.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		bytesRead += len(got)
		return got
	}
	if got := exchange(`{"id":1,"op":"hello"}` + "\n"); !bytes.Contains(got, []byte(`"count":8`)) {
		b.Fatalf("hello: %s", got)
	}
	bytesRead = 0
	b.ReportAllocs()
	for b.Loop() {
		for i := range 8 {
			if got := exchange(fmt.Sprintf("{\"id\":2,\"op\":\"read\",\"uuid\":\"GPU-%d\"}\n", i)); bytes.Contains(got, []byte("error")) {
				b.Fatalf("read: %s", got)
			}
		}
	}
	b.ReportMetric(float64(bytesRead)/float64(b.N), "bytes/scrape")
	_ = ask.Close() // never fails
	if err := <-served; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRead reads one mocked GPU without a protocol.
func BenchmarkRead(b *testing.B) {
	boards, err := open(newDGX(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		values, err := boards.Read("GPU-0")
		if err != nil || math.IsNaN(values[0]) {
			b.Fatal(values, err)
		}
	}
}
