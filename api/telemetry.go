package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

// Recordings gives what the nodes have recorded.
type Recordings interface {
	// Recordings asks every node of the cluster for its files with telemetry of a
	// kind since a time.
	Recordings(ctx context.Context, kind forestall.Kind, since time.Time) ([]NodeRecording, error)
	// Recording opens one file of a node from an offset on, for size bytes. An
	// unknown node or file is ErrNotFound, one that cannot be reached
	// ErrUnavailable.
	Recording(ctx context.Context, node, file string, offset, size int64) (io.ReadCloser, error)
}

// NodeRecording is what one node has recorded.
type NodeRecording struct {
	Node  string          `json:"node"`
	Files []RecordingFile `json:"files" doc:"the oldest first"`
	Error string          `json:"error,omitempty" doc:"why the node's files are not known"`
}

// RecordingFile is a file of a recording.
type RecordingFile struct {
	Name string `json:"name" example:"samples-gpu-20260131T120000.000Z.parquet"`
	Size int64  `json:"size_bytes" doc:"of a journal, which still grows, what it has now"`
}

func (s *Server) registerRecordings(api huma.API, m *mux) {
	op := operation(http.MethodGet, "/v1/telemetry", "list-telemetry", "Files of recorded telemetry, by node", http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Kind  string    `query:"kind" enum:"node,gpu" required:"true" doc:"of the components"`
		Since time.Time `query:"since" doc:"only what was scraped at this time or later"`
	},
	) (*list[NodeRecording], error) {
		kind, err := forestall.ParseKind(in.Kind)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity(err.Error())
		}
		all, err := s.backend.Recordings.Recordings(ctx, kind, in.Since)
		if err != nil {
			return nil, answer(err)
		}
		return listOf(all), nil
	})
	m.HandleFunc("GET /v1/telemetry/{node}/{file}", s.serveRecording)
	api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: "/v1/telemetry/{node}/{file}", OperationID: "get-telemetry",
		Summary: "One file of a node's recorded telemetry, or a part of it: ?offset and ?size in bytes",
		Responses: map[string]*huma.Response{"200": {
			Description: "The file's bytes",
			Content:     map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		}},
	})
}

// serveRecording streams a file.
func (s *Server) serveRecording(w http.ResponseWriter, r *http.Request) {
	offset, err := strconv.ParseInt(r.FormValue("offset"), 10, 64)
	size, err2 := strconv.ParseInt(r.FormValue("size"), 10, 64)
	if err != nil || err2 != nil || offset < 0 || size < 0 {
		problem(w, http.StatusUnprocessableEntity, "offset and size must be numbers of bytes")
		return
	}
	in, err := s.backend.Recordings.Recording(r.Context(), r.PathValue("node"), r.PathValue("file"), offset, size)
	if err != nil {
		status := http.StatusInternalServerError
		switch {
		case errors.Is(err, ErrNotFound):
			status = http.StatusNotFound
		case errors.Is(err, ErrUnavailable):
			status = http.StatusServiceUnavailable
		}
		problem(w, status, err.Error())
		return
	}
	defer in.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	rc, buffer := http.NewResponseController(w), make([]byte, 256<<10)
	for {
		n, err := in.Read(buffer)
		if rc.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
			return
		}
		if _, e := w.Write(buffer[:n]); e != nil || err != nil { // what is short the client sees by the length
			return
		}
	}
}

// Recordings returns the files of recorded telemetry of a kind since a time, by
// node.
func (c *Client) Recordings(ctx context.Context, kind forestall.Kind, since time.Time) ([]NodeRecording, error) {
	slow := c.within(time.Minute) // peers that are away are waited for
	return get[[]NodeRecording](ctx, slow, "/v1/telemetry?kind="+kind.String()+"&since="+url.QueryEscape(since.UTC().Format(time.RFC3339)))
}

// errStalled ends a transfer in which nothing moves.
var errStalled = errors.New("nothing was received for half a minute")

// Recording writes a part of a file of a node's recording to w. An error says how
// far it came by what w has; the rest can be asked for.
func (c *Client) Recording(ctx context.Context, w io.Writer, node, file string, offset, size int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	const patience = 30 * time.Second
	stalled := time.AfterFunc(patience, func() { cancel(errStalled) })
	defer stalled.Stop()
	path := fmt.Sprintf("%s/v1/telemetry/%s/%s?offset=%d&size=%d", c.base, url.PathEscape(node), url.PathEscape(file), offset, size)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	failed := func(err error) error {
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		return fmt.Errorf("fetch %s of %s: %w", file, node, err)
	}
	resp, err := c.within(0).http.Do(req)
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what is known of the problem
		return failed(problemOf(resp, text))
	}
	buffer := make([]byte, 256<<10)
	for size > 0 {
		n, err := resp.Body.Read(buffer[:min(size, int64(len(buffer)))])
		stalled.Reset(patience)
		if _, e := w.Write(buffer[:n]); e != nil {
			return fmt.Errorf("fetch %s of %s: %w", file, node, e)
		}
		if size -= int64(n); err != nil && size > 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return failed(err)
		}
	}
	return nil
}
