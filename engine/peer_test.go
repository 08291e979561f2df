package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall"
)

func TestPeerCallCarriesErrors(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /double", serve(func(_ context.Context, n int) (int, error) {
		if n < 0 {
			return 0, fmt.Errorf("launch epoch %d: %w", n, forestall.ErrStaleEpoch)
		}
		return 2 * n, nil
	}))
	s := httptest.NewServer(mux)
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://")

	if got, err := call[int](t.Context(), s.Client(), address, "/double", 21); err != nil || got != 42 {
		t.Errorf("call = %d, %v; want 42", got, err)
	}
	_, err := call[int](t.Context(), s.Client(), address, "/double", -1)
	if !errors.Is(err, forestall.ErrStaleEpoch) || !strings.Contains(err.Error(), "launch epoch -1") {
		t.Errorf("a refusal arrives as %v, want one that wraps ErrStaleEpoch and keeps its words", err)
	}
	if _, err := call[int](t.Context(), s.Client(), address, "/double", "x"); err == nil {
		t.Error("a malformed request is accepted")
	}
	if _, err := call[int](t.Context(), s.Client(), address, "/none", 1); err == nil {
		t.Error("an unknown path is accepted")
	}
}
