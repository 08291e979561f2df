package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/recording"
)

// recordingPatience is how long a node is waited for that is asked which files it
// has.
const recordingPatience = 20 * time.Second

// recordingsRequest asks a node for the files of its recording.
type recordingsRequest struct {
	Kind  forestall.Kind `json:"kind"`
	Since time.Time      `json:"since"`
}

type recordingsReply struct {
	Files []recording.File `json:"files"`
}

// ownRecordings returns this node's files; what was scraped until now is in them.
func (e *Engine) ownRecordings(_ context.Context, r recordingsRequest) (reply recordingsReply, err error) {
	if e.telemetry.recorder == nil {
		return reply, fmt.Errorf("node %s records no telemetry (telemetry.record = false)", e.name)
	}
	if err := e.telemetry.recorder.Flush(); err != nil {
		e.log.Warn("the newest scrapes are not on disk; they are missing in what is fetched", "error", err)
	}
	reply.Files, err = recording.FilesSince(e.telemetry.recorder.dir, r.Kind, r.Since)
	return reply, err
}

// openRecordingFile opens one of this node's files.
func (e *Engine) openRecordingFile(name string) (*os.File, error) {
	if e.telemetry.recorder == nil || !recording.IsFile(name) {
		return nil, fmt.Errorf("node %s has no recording %q: %w", e.name, name, api.ErrNotFound)
	}
	f, err := os.Open(filepath.Join(e.telemetry.recorder.dir, name))
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("node %s has no recording %s any more: it was packed, or removed for its age: %w", e.name, name, api.ErrNotFound)
	}
	return f, err
}

// serveRecording gives another engine a file of this node's recording.
func (e *Engine) serveRecording(w http.ResponseWriter, r *http.Request) {
	f, err := e.openRecordingFile(r.PathValue("file"))
	if err != nil {
		writeJSON(w, http.StatusNotFound, newPeerError(err))
		return
	}
	defer f.Close()
	http.ServeContent(w, r, "", time.Time{}, f) // with ranges
}

// recordingPeers returns the nodes of the cluster and their addresses; "" of one
// that has never joined.
func (e *Engine) recordingPeers() (names []string, address map[string]string) {
	address = map[string]string{}
	for _, m := range e.nodes {
		address[m.name] = m.peerAddress()
	}
	e.ledger.View(func(s *migrate.State) {
		for name, n := range s.Nodes {
			if n.State != forestall.MemberLeft {
				address[name] = n.Address
			}
		}
	})
	address[e.name] = ""
	for name := range address {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, address
}

// Recordings asks every node for its files.
func (v view) Recordings(ctx context.Context, kind forestall.Kind, since time.Time) ([]api.NodeRecording, error) {
	ctx, cancel := context.WithTimeout(ctx, recordingPatience)
	defer cancel()
	request := recordingsRequest{kind, since}
	names, address := v.recordingPeers()
	all := make([]api.NodeRecording, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			var reply recordingsReply
			var err error
			if name == v.name {
				reply, err = v.ownRecordings(ctx, request)
			} else {
				reply, err = call[recordingsReply](ctx, v.client, v.peerURL(address[name]), "/peer/telemetry", request)
			}
			all[i] = api.NodeRecording{Node: name, Files: []api.RecordingFile{}}
			if err != nil {
				all[i].Error = err.Error()
			}
			for _, f := range reply.Files {
				if recording.IsFile(f.Name) {
					all[i].Files = append(all[i].Files, api.RecordingFile(f))
				}
			}
		})
	}
	wg.Wait()
	return all, nil
}

// Recording opens a part of one file of a node.
func (v view) Recording(ctx context.Context, node, file string, offset, size int64) (io.ReadCloser, error) {
	if !recording.IsFile(file) {
		return nil, fmt.Errorf("%q is no file of a recording: %w", file, api.ErrNotFound)
	}
	if node == v.name {
		f, err := v.openRecordingFile(file)
		if err != nil {
			return nil, err
		}
		return readCloser{io.NewSectionReader(f, offset, size), f}, nil
	}
	_, address := v.recordingPeers()
	at, ok := address[node]
	if !ok || at == "" {
		return nil, fmt.Errorf("no node %q is known: %w", node, api.ErrNotFound)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.peerURL(at)+"/peer/telemetry/"+url.PathEscape(file), nil)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	r.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-"+strconv.FormatInt(offset+size-1, 10))
	resp, err := v.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("node %s does not answer: %w: %w", node, api.ErrUnavailable, err)
	}
	if resp.StatusCode == http.StatusPartialContent {
		return resp.Body, nil
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return nil, fmt.Errorf("node %s does not have %s in that length any more: %w", node, file, api.ErrNotFound)
	}
	return nil, fmt.Errorf("%w: node %s answers %s", api.ErrUnavailable, node, resp.Status)
}

type readCloser struct {
	io.Reader
	io.Closer
}
