package checkpoint_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/storetest"
)

func newStoreDir(t *testing.T) *checkpoint.Dir {
	opt := checkpoint.DefaultOptions()
	opt.ChunkSize = 4 << 10
	d, err := checkpoint.OpenDir(filepath.Join(t.TempDir(), "store"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestLocalStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, _ http.RoundTripper) checkpoint.Store {
		return checkpoint.Local(newStoreDir(t))
	})
}

func TestRemoteStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, transport http.RoundTripper) checkpoint.Store {
		srv := httptest.NewServer(checkpoint.Handler(newStoreDir(t)))
		t.Cleanup(srv.Close)
		t.Cleanup(http.DefaultClient.CloseIdleConnections)
		return checkpoint.Remote(checkpoint.Peer{Name: "n2", URL: srv.URL}, &http.Client{Transport: transport}, 2*time.Second)
	})
}
