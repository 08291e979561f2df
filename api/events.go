package api

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// serveEvents streams server-sent events: "history" once, then "snapshot"
// whenever something changed, and "tick" while nothing does.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	stream, begin, err := s.hub.subscribe()
	if err != nil {
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer s.hub.unsubscribe(stream)
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()

	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	send := func(ev []byte) bool {
		if rc.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
			return false
		}
		_, err := w.Write(ev)
		return err == nil && rc.Flush() == nil
	}
	if !send(append([]byte("retry: 1000\n\n"), begin...)) {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case ev, open := <-stream:
			if !open || !send(ev) {
				return
			}
		}
	}
}

// describeEvents adds the stream to the OpenAPI document.
func describeEvents(doc *huma.OpenAPI) {
	schema := &huma.Schema{Type: huma.TypeString}
	doc.AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: "/v1/events", OperationID: "stream-events",
		Summary: "Server-sent events: history once, snapshot on every change, tick while nothing changes",
		Responses: map[string]*huma.Response{"200": {
			Description: "An event stream that ends with the engine",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
		}},
	})
}
