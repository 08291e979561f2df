package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/consensus"
	"github.com/stratoswarm/forestall/migrate"
)

// Engines talk to each other in JSON over HTTP on the peer port: reports and
// leases to the leader, orders from it, and checkpoints among all. See
// docs/adr/0002-peer-protocol.md.

// maxPeerBody bounds a message between engines; checkpoints have a handler of
// their own.
const maxPeerBody = 8 << 20

// errNotLeader is the answer of an engine that was taken for the leader.
var errNotLeader = errors.New("not the leader")

// peerError is an error on its way between two engines. Code carries the
// sentinel across, so that errors.Is works on the other side.
type peerError struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"error"`
}

var peerCodes = map[string]error{
	"stale_epoch": forestall.ErrStaleEpoch,
	"not_leader":  errNotLeader,
	"uncertain":   consensus.ErrUncertain,
	"workload":    migrate.ErrWorkload,
	"not_found":   checkpoint.ErrNotFound,
}

func newPeerError(err error) peerError {
	for code, sentinel := range peerCodes {
		if errors.Is(err, sentinel) {
			return peerError{code, err.Error()}
		}
	}
	return peerError{Message: err.Error()}
}

func (e peerError) Error() string { return e.Message }
func (e peerError) Unwrap() error { return peerCodes[e.Code] }

// serve adapts a function to an HTTP handler of the peer port.
func serve[Request, Reply any](fn func(context.Context, Request) (Reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request Request
		if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
			writeJSON(w, http.StatusUnsupportedMediaType, peerError{Message: "engines speak application/json"})
			return
		}
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPeerBody))
		if err := d.Decode(&request); err != nil {
			writeJSON(w, http.StatusBadRequest, peerError{Message: "malformed request: " + err.Error()})
			return
		}
		reply, err := fn(r.Context(), request)
		if err != nil {
			writeJSON(w, http.StatusConflict, newPeerError(err))
			return
		}
		writeJSON(w, http.StatusOK, reply)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the peer is gone: it will ask again
}

// call posts a request to the engine at a base URL and decodes its reply. An
// error that the other engine returned is a peerError; any other means that
// the outcome is not known.
func call[Reply any](ctx context.Context, client *http.Client, base, path string, request any) (Reply, error) {
	var reply Reply
	body, err := json.Marshal(request)
	if err != nil {
		return reply, fmt.Errorf("encode request: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, bytes.NewReader(body))
	if err != nil {
		return reply, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := client.Do(r)
	if err != nil {
		return reply, err
	}
	defer response.Body.Close()
	d := json.NewDecoder(io.LimitReader(response.Body, maxPeerBody))
	if response.StatusCode != http.StatusOK {
		var e peerError
		if err := d.Decode(&e); err != nil || e.Message == "" {
			return reply, fmt.Errorf("peer %s answers %s", base, response.Status)
		}
		return reply, e
	}
	if err := d.Decode(&reply); err != nil {
		return reply, fmt.Errorf("decode reply of peer %s: %w", base, err)
	}
	return reply, nil
}

// guardPeers lets only engines through: not a web page that a browser on this
// machine was made to load, under whatever name it reached this port. It does
// not tell engines from other programs: [tls] does.
func guardPeers(address string, next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != address {
			writeJSON(w, http.StatusMisdirectedRequest, peerError{Message: fmt.Sprintf("this is %s, not %q", address, r.Host)})
			return
		}
		sameOrigin.ServeHTTP(w, r)
	})
}
