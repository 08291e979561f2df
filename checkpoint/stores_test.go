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

func storeOptions() checkpoint.Options {
	opt := checkpoint.DefaultOptions()
	opt.ChunkSize = 4 << 10
	opt.AverageCut = 4 << 10
	opt.PackSize = 64 << 10
	return opt
}

func newStoreDir(t *testing.T, opt checkpoint.Options) *checkpoint.Dir {
	d, err := checkpoint.OpenDir(filepath.Join(t.TempDir(), "store"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// faultyDir opens a store whose files are read through the faults.
func faultyDir(t *testing.T, path string, opt checkpoint.Options, faults *storetest.Faults) *checkpoint.Dir {
	d, err := checkpoint.OpenDirReading(path, opt, faults.ReadAt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestLocalStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, transport http.RoundTripper) checkpoint.Store {
		if faults, ok := transport.(*storetest.Faults); ok {
			return checkpoint.Local(faultyDir(t, filepath.Join(t.TempDir(), "store"), storeOptions(), faults))
		}
		return checkpoint.Local(newStoreDir(t, storeOptions()))
	})
}

func TestRemoteStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, transport http.RoundTripper) checkpoint.Store {
		srv := httptest.NewServer(checkpoint.Handler(newStoreDir(t, storeOptions())))
		t.Cleanup(srv.Close)
		t.Cleanup(http.DefaultClient.CloseIdleConnections)
		return checkpoint.Remote(checkpoint.Peer{Name: "n2", URL: srv.URL}, &http.Client{Transport: transport}, 2*time.Second)
	})
}
