package engine

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/recording"
)

// TestRecordingsOfPeers: an engine gives the files of its own node and those of a
// peer, whole and in part; a peer that is away is named.
func TestRecordingsOfPeers(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	other := newWatched(t, watchedConfig(t.TempDir()), start)
	defer other.close()
	other.minutes(t, 30, nil)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /peer/telemetry", serve(other.ownRecordings))
	mux.HandleFunc("GET /peer/telemetry/{file}", other.serveRecording)
	server := httptest.NewServer(mux)
	defer server.Close()
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := newWatched(t, watchedConfig(t.TempDir()), start)
	defer w.close()
	w.minutes(t, 10, nil)
	n, _ := strconv.Atoi(port)
	w.nodes = []member{{name: "n2", host: host, port: n}, {name: "n3", host: "127.0.0.1", port: 1}}

	all, err := (view{w.Engine}).Recordings(t.Context(), forestall.KindGPU, start)
	if err != nil || len(all) != 3 || len(all[0].Files) != 1 || len(all[1].Files) != 1 || all[2].Error == "" {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, node := range []string{"n1", "n2"} {
		file := all[i].Files[0]
		read := func(offset, size int64) []byte {
			in, err := (view{w.Engine}).Recording(t.Context(), node, file.Name, offset, size)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			b, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		whole := read(0, file.Size)
		if int64(len(whole)) != file.Size || !bytes.Equal(whole[10:20], read(10, 10)) || !bytes.Contains(whole, []byte("gpu/n1/0")) {
			t.Errorf("%s: %d bytes of %d", node, len(whole), file.Size)
		}
		for _, name := range []string{"samples-gpu-20260131T120000.000Z.parquet", "../predictions", "lock"} {
			if _, err := (view{w.Engine}).Recording(t.Context(), node, name, 0, 1); !errors.Is(err, api.ErrNotFound) {
				t.Errorf("%s of %s: %v", name, node, err)
			}
		}
	}
	if _, err := (view{w.Engine}).Recording(t.Context(), "n3", all[0].Files[0].Name, 0, 1); !errors.Is(err, api.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := (view{w.Engine}).Recording(t.Context(), "n9", all[0].Files[0].Name, 0, 1); !errors.Is(err, api.ErrNotFound) {
		t.Error(err)
	}
	if none, err := (view{w.Engine}).Recordings(t.Context(), forestall.KindNode, start); err != nil || len(none[0].Files) != 0 {
		t.Errorf("of nodes, which were not scraped: %+v, %v", none, err)
	}
	if files, err := recording.FilesSince(t.TempDir(), forestall.KindGPU, start); err != nil || len(files) != 0 {
		t.Errorf("of an empty directory: %v, %v", files, err)
	}
}
