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
	if got, err := call[int](t.Context(), s.Client(), s.URL, "/double", 21); err != nil || got != 42 {
		t.Errorf("call = %d, %v; want 42", got, err)
	}
	_, err := call[int](t.Context(), s.Client(), s.URL, "/double", -1)
	if !errors.Is(err, forestall.ErrStaleEpoch) || !strings.Contains(err.Error(), "launch epoch -1") {
		t.Errorf("a refusal arrives as %v, want one that wraps ErrStaleEpoch and keeps its words", err)
	}
	if _, err := call[int](t.Context(), s.Client(), s.URL, "/double", "x"); err == nil {
		t.Error("a malformed request is accepted")
	}
	if _, err := call[int](t.Context(), s.Client(), s.URL, "/none", 1); err == nil {
		t.Error("an unknown path is accepted")
	}
}

func TestPeerPortRefusesBrowsers(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	address := s.Listener.Addr().String()
	ran := false
	s.Config.Handler = guardPeers(address, serve(func(context.Context, int) (int, error) {
		ran = true
		return 0, nil
	}))
	s.Start()
	defer s.Close()
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"an engine", func(*http.Request) {}, http.StatusOK},
		{"a form of another site", func(r *http.Request) {
			r.Header.Set("Content-Type", "text/plain")
			r.Header.Set("Origin", "https://elsewhere.example")
		}, http.StatusForbidden},
		{"no JSON", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, http.StatusUnsupportedMediaType},
		{"another name for this host", func(r *http.Request) { r.Host = "elsewhere.example" }, http.StatusMisdirectedRequest},
	} {
		ran = false
		r, err := http.NewRequest(http.MethodPost, s.URL, strings.NewReader("1"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		tc.change(r)
		response, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != tc.want || ran != (tc.want == http.StatusOK) {
			t.Errorf("%s: %s, carried out: %v; want %d", tc.name, response.Status, ran, tc.want)
		}
	}
}
