package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/stratoswarm/forestall"
)

// The codes of a refusal, by which the other side knows the error again.
var refusals = []struct {
	code   string
	status int
	err    error
}{
	{"stale_epoch", http.StatusConflict, forestall.ErrStaleEpoch},
	{"missing_chunks", http.StatusConflict, errMissingChunks},
	{"not_found", http.StatusNotFound, ErrNotFound},
	{"pinned", http.StatusConflict, ErrPinned},
	{"disk_full", http.StatusInsufficientStorage, ErrDiskFull},
	{"wrong_key", http.StatusFailedDependency, ErrKey},
	{"corrupt", http.StatusUnprocessableEntity, ErrCorrupt},
	{"bad_name", http.StatusBadRequest, forestall.ErrBadName},
}

// refusal is the body of an answer that is not 2xx.
type refusal struct {
	Code  string `json:"code"`
	Error string `json:"error"`
}

// fenceBody is the body of fence requests and answers.
type fenceBody struct {
	Epoch forestall.Epoch `json:"epoch"`
}

// Limits of request and answer bodies.
const (
	maxChunkFile = chunkHeaderLen + maxChunkSize + maxChunkExtra
	maxHashList  = 64 << 20 // 2 Mi chunks of 32 bytes
	maxSmall     = 64 << 10
)

// Handler serves the store to other nodes' [Replicator]s. It is mounted with
// its prefix stripped, authenticated by whoever mounts it:
//
//	mux.Handle("/peer/checkpoints/", http.StripPrefix("/peer/checkpoints", checkpoint.Handler(d)))
//
//	GET  /v1/manifests?workload=W  what is held, as JSON
//	GET  /v1/manifests/ID          a manifest file
//	PUT  /v1/manifests/ID          take it; 409 while a chunk is missing or when its epoch is stale
//	DELETE /v1/manifests/ID        drop it; 409 when it is pinned or the claim (?workload=W&epoch=7) is stale
//	GET  /v1/pins                  [{"id":...,"on":true,"at":...}]
//	PUT  /v1/pins/ID               pin it or let it go, in the same form; 409 when the claim is stale
//	POST /v1/missing               32-byte hashes in, those that are not held out, in their order
//	GET  /v1/chunks/HASH           a chunk file
//	PUT  /v1/chunks/HASH           take it, verified by its hash
//	GET  /v1/fences/WORKLOAD       {"epoch":7}
//	PUT  /v1/fences/WORKLOAD       raise it; 409 when it is higher
//
// Refusals are JSON, {"code":"stale_epoch","error":"..."}.
func Handler(d *Dir) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				refuse(w, err)
			}
		})
	}
	handle("GET /v1/manifests", d.serveList)
	handle("GET /v1/manifests/{id}", d.serveManifest)
	handle("PUT /v1/manifests/{id}", d.takeManifest)
	handle("DELETE /v1/manifests/{id}", d.dropManifest)
	handle("GET /v1/pins", d.servePins)
	handle("PUT /v1/pins/{id}", d.takePin)
	handle("POST /v1/missing", d.serveMissing)
	handle("GET /v1/chunks/{hash}", d.serveChunk)
	handle("PUT /v1/chunks/{hash}", d.takeChunk)
	handle("GET /v1/fences/{workload}", d.serveFence)
	handle("PUT /v1/fences/{workload}", d.takeFence)
	return mux
}

func refuse(w http.ResponseWriter, err error) {
	status, body := http.StatusInternalServerError, refusal{Code: "internal", Error: err.Error()}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		status, body.Code = http.StatusRequestEntityTooLarge, "too_large"
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			status, body.Code = r.status, r.code
			break
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the peer has gone: nobody to tell
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	return b, nil
}

func sendJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

func sendBytes(w http.ResponseWriter, b []byte) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	_, err := w.Write(b)
	return err
}

func (d *Dir) serveList(w http.ResponseWriter, r *http.Request) error {
	cps, err := d.List(r.URL.Query().Get("workload"))
	if err != nil {
		return err
	}
	return sendJSON(w, cps)
}

func (d *Dir) serveManifest(w http.ResponseWriter, r *http.Request) error {
	b, err := d.manifestBytes(r.PathValue("id"))
	if err != nil {
		return err
	}
	return sendBytes(w, b)
}

func (d *Dir) takeManifest(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r, maxManifest)
	if err != nil {
		return err
	}
	cp, err := d.accept(r.PathValue("id"), b, false, admitPushed)
	if err != nil {
		return err
	}
	return sendJSON(w, cp)
}

func (d *Dir) dropManifest(w http.ResponseWriter, r *http.Request) error {
	by, err := claimOf(r.URL.Query())
	if err != nil {
		return err
	}
	if err := d.Drop(r.Context(), r.PathValue("id"), by); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Dir) servePins(w http.ResponseWriter, _ *http.Request) error { return sendJSON(w, d.Pins()) }

func (d *Dir) takePin(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r, maxSmall)
	if err != nil {
		return err
	}
	var p Pin
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("read pin: %w: %w", forestall.ErrBadName, err)
	}
	by, err := claimOf(r.URL.Query())
	if err != nil {
		return err
	}
	p.ID = r.PathValue("id")
	if err := d.SetPin(r.Context(), p, by); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Dir) serveMissing(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r, maxHashList)
	if err != nil {
		return err
	}
	hashes, err := splitHashes(b)
	if err != nil {
		return err
	}
	missing, err := d.missing(hashes)
	if err != nil {
		return err
	}
	return sendBytes(w, joinHashes(missing))
}

func (d *Dir) serveChunk(w http.ResponseWriter, r *http.Request) error {
	h, err := pathHash(r)
	if err != nil {
		return err
	}
	if !d.has(h) {
		return fmt.Errorf("%w: no chunk %s", ErrNotFound, h)
	}
	b, _, err := d.readStored(nil, h)
	if err != nil {
		return err
	}
	return sendBytes(w, b)
}

func (d *Dir) takeChunk(w http.ResponseWriter, r *http.Request) error {
	h, err := pathHash(r)
	if err != nil {
		return err
	}
	b, err := readBody(w, r, maxChunkFile)
	if err != nil {
		return err
	}
	if err := d.receive(h, b); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Dir) serveFence(w http.ResponseWriter, r *http.Request) error {
	workload := r.PathValue("workload")
	if err := forestall.CheckName(workload); err != nil {
		return err
	}
	e, err := d.Fenced(workload)
	if err != nil {
		return err
	}
	return sendJSON(w, fenceBody{e})
}

func (d *Dir) takeFence(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r, maxSmall)
	if err != nil {
		return err
	}
	var f fenceBody
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("read fence: %w: %w", forestall.ErrBadName, err)
	}
	if err := d.Fence(r.Context(), r.PathValue("workload"), f.Epoch); err != nil {
		return err
	}
	return sendJSON(w, f)
}

func pathHash(r *http.Request) (hash, error) {
	h, err := parseHash(r.PathValue("hash"))
	if err != nil {
		return h, fmt.Errorf("%w: %w", forestall.ErrBadName, err)
	}
	return h, nil
}

func joinHashes(hashes []hash) []byte {
	b := make([]byte, 0, len(hashes)*len(hash{}))
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func splitHashes(b []byte) ([]hash, error) {
	size := len(hash{})
	if len(b)%size != 0 {
		return nil, fmt.Errorf("%w: %d bytes are not a whole number of %d-byte hashes", forestall.ErrBadName, len(b), size)
	}
	out := make([]hash, 0, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
		out = append(out, hash(b[:size]))
	}
	return out, nil
}
