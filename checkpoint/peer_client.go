package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// Peer is another node's store.
type Peer struct {
	Name string // of the node
	URL  string // where its Handler is mounted: http://127.0.0.1:7101/peer/checkpoints
	Zone string // failure domain; equal zones fail together
}

// client speaks to Handlers. Each request, not each push, has the time limit.
type client struct {
	http    *http.Client
	timeout time.Duration
}

// do sends one request and returns the body of a 2xx answer. A refusal comes
// back as the error it was on the other side.
func (c client) do(ctx context.Context, p Peer, method, path string, body []byte, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(p.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read answer: %w", method, req.URL, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, asRefusal(resp.Status, b)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s %s: answer has more than %d bytes", method, req.URL, limit)
	}
	return b, nil
}

// asRefusal turns an answer into the error that it tells of.
func asRefusal(status string, body []byte) error {
	var r refusal
	if err := json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("answered %s: %.200q", status, body)
	}
	for _, known := range refusals {
		if r.Code == known.code {
			return &remoteError{msg: r.Error, is: known.err}
		}
	}
	return fmt.Errorf("answered %s: %s", status, r.Error)
}

// remoteError is an error of the other side, which has named the sentinel in
// its text already.
type remoteError struct {
	msg string
	is  error
}

func (e *remoteError) Error() string { return e.msg }
func (e *remoteError) Unwrap() error { return e.is }

// pushWorkers is how many chunks travel to or from a peer at once.
const pushWorkers = 4

// push brings a checkpoint to a peer. Its chunks are held by the caller.
func (c client) push(ctx context.Context, p Peer, d *Dir, id string, raw []byte, hashes []hash) error {
	var err error
	for range 2 { // the peer may have dropped a chunk between the two steps
		if err = c.pushChunks(ctx, p, d, hashes); err != nil {
			return err
		}
		_, err = c.do(ctx, p, http.MethodPut, "/v1/manifests/"+id, raw, maxSmall)
		if !errors.Is(err, errMissingChunks) {
			return err
		}
	}
	return err
}

func (c client) pushChunks(ctx context.Context, p Peer, d *Dir, hashes []hash) error {
	const most = maxHashList / len(hash{})
	for len(hashes) > 0 {
		part := hashes[:min(len(hashes), most)]
		hashes = hashes[len(part):]
		b, err := c.do(ctx, p, http.MethodPost, "/v1/missing", joinHashes(part), maxHashList)
		if err != nil {
			return err
		}
		missing, err := splitHashes(b)
		if err != nil {
			return err
		}
		err = parallel(ctx, pushWorkers, len(missing), func(ctx context.Context, i int) error {
			file, _, err := d.readStored(nil, missing[i])
			if err != nil {
				return fmt.Errorf("the local copy: %w", err)
			}
			_, err = c.do(ctx, p, http.MethodPut, "/v1/chunks/"+missing[i].String(), file, maxSmall)
			if errors.Is(err, ErrCorrupt) { // whose fault was it?
				if _, own := d.readChunk(nil, missing[i]); own != nil {
					return fmt.Errorf("the local copy: %w", own)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fetch brings a checkpoint from a peer into d.
func (c client) fetch(ctx context.Context, p Peer, d *Dir, id string) error {
	raw, err := c.do(ctx, p, http.MethodGet, "/v1/manifests/"+id, nil, maxManifest)
	if err != nil {
		return err
	}
	if manifestID(raw) != id {
		return corrupt("manifest "+id, "the content is not what the name says")
	}
	r, err := decodeRoot(raw)
	if err != nil {
		return corrupt("manifest "+id, "%v", err)
	}
	if err := c.fetchBlocks(ctx, p, d, r.level, r.top); err != nil {
		return err
	}
	m, err := r.expand(d.peek)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", id, err)
	}
	if err := c.fetchChunks(ctx, p, d, m.hashes()); err != nil {
		return err
	}
	_, err = d.accept(id, raw, nil)
	return err
}

// fetchBlocks brings the blocks of a tree from a peer, level by level.
func (c client) fetchBlocks(ctx context.Context, p Peer, d *Dir, level int, refs []ref) error {
	for {
		hashes := make([]hash, len(refs))
		for i, f := range refs {
			hashes[i] = f.hash
		}
		if err := c.fetchChunks(ctx, p, d, hashes); err != nil || level == 0 {
			return err
		}
		var below []ref
		for _, h := range hashes {
			block, err := d.peek(nil, h)
			if err != nil {
				return err
			}
			next, err := decodeIndex(block, level)
			if err != nil {
				return corrupt("tree block "+h.String(), "%v", err)
			}
			if below = append(below, next...); len(below) > maxTree {
				return corrupt("tree block "+h.String(), "the tree has more than %d blocks", maxTree)
			}
		}
		level, refs = level-1, below
	}
}

// fetchChunks brings those of the chunks that are not here from a peer.
func (c client) fetchChunks(ctx context.Context, p Peer, d *Dir, hashes []hash) error {
	missing := d.missing(hashes)
	return parallel(ctx, pushWorkers, len(missing), func(ctx context.Context, i int) error {
		file, err := c.do(ctx, p, http.MethodGet, "/v1/chunks/"+missing[i].String(), nil, maxChunkFile)
		if err != nil {
			return err
		}
		return d.receive(missing[i], file)
	})
}

func (c client) fence(ctx context.Context, p Peer, workload string, e forestall.Epoch) error {
	b, err := json.Marshal(fenceBody{e})
	if err != nil {
		return err
	}
	_, err = c.do(ctx, p, http.MethodPut, "/v1/fences/"+workload, b, maxSmall)
	return err
}

func (c client) fenced(ctx context.Context, p Peer, workload string) (forestall.Epoch, error) {
	b, err := c.do(ctx, p, http.MethodGet, "/v1/fences/"+workload, nil, maxSmall)
	if err != nil {
		return 0, err
	}
	var f fenceBody
	if err := json.Unmarshal(b, &f); err != nil {
		return 0, fmt.Errorf("read fence of %s: %w", workload, err)
	}
	return f.Epoch, nil
}
