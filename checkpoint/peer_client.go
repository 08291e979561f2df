package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/parallel"
)

// Peer is another node's store.
type Peer struct {
	Name string // of the node
	URL  string // where its Handler is mounted: http://127.0.0.1:7101/peer/checkpoints
	Zone string // failure domain; equal zones fail together
}

// client speaks to Handlers. Each request, not each push, has the time limit, and
// more where it carries much or asks for much to be looked at.
type client struct {
	http    *http.Client
	timeout time.Duration
}

// do sends one request and returns the body of a 2xx answer. A refusal comes
// back as the error it was on the other side.
func (c client) do(ctx context.Context, p Peer, method, path string, body []byte, most int64) ([]byte, error) {
	return c.doWithin(ctx, c.timeout, p, method, path, body, most)
}

// doWithin is do with another time limit, to which that of the body is added.
func (c client) doWithin(ctx context.Context, limit time.Duration, p Peer, method, path string, body []byte, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit+time.Duration(len(body)/(256<<10))*time.Second)
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
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read answer: %w", method, req.URL, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, asRefusal(resp.Status, b)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s %s: answer has more than %d bytes", method, req.URL, most)
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

// chunksLooked is how many chunks of a checkpoint a peer looks for in a second at
// least, when it is given the manifest.
const chunksLooked = 10_000

// maxList bounds the answer that lists checkpoints.
const maxList = 64 << 20

// push brings a checkpoint to a peer.
func (c client) push(ctx context.Context, p Peer, cp *Parcel) error {
	var err error
	// At first only what is below blocks that the peer lacks is asked for. It may
	// lack chunks below others too, or drop one before the manifest comes.
	for try := range 3 {
		if err = c.pushChunks(ctx, p, cp, try > 0); err != nil {
			return err
		}
		_, err = c.doWithin(ctx, c.timeout+time.Duration(len(cp.Chunks)/chunksLooked)*time.Second, p, http.MethodPut, "/v1/manifests/"+cp.ID, cp.Manifest, maxSmall)
		if !errors.Is(err, errMissingChunks) {
			return err
		}
	}
	return err
}

// pushChunks sends what the peer lacks: of all chunks, or, going down the tree,
// only of what is below blocks that it lacks.
func (c client) pushChunks(ctx context.Context, p Peer, cp *Parcel, all bool) error {
	ask := func(chunks []Hash) ([]Hash, error) { return c.missing(ctx, p, chunks) }
	lacking := func() ([]Hash, error) { return ask(cp.Chunks) }
	if cp.lacking != nil && !all {
		lacking = func() ([]Hash, error) { return cp.lacking(ask) }
	}
	chunks, err := lacking()
	if err != nil {
		return err
	}
	return cp.Fetch(ctx, chunks, func(h Hash, file []byte) error {
		_, err := c.do(ctx, p, http.MethodPut, "/v1/chunks/"+h.String(), file, maxSmall)
		return err
	})
}

// missing asks which of the chunks the peer lacks.
func (c client) missing(ctx context.Context, p Peer, chunks []Hash) (missing []Hash, err error) {
	const most = maxHashList / len(hash{})
	for part := range slices.Chunk(chunks, most) {
		b, err := c.do(ctx, p, http.MethodPost, "/v1/missing", joinHashes(part), maxHashList)
		if err != nil {
			return nil, err
		}
		lacks, err := splitHashes(b)
		if err != nil {
			return nil, err
		}
		missing = append(missing, lacks...)
	}
	return missing, nil
}

// open finds a checkpoint at a peer.
func (c client) open(ctx context.Context, p Peer, id string) (*Parcel, error) {
	raw, err := c.do(ctx, p, http.MethodGet, "/v1/manifests/"+id, nil, maxManifest)
	if err != nil {
		return nil, err
	}
	if manifestID(raw) != id {
		return nil, corrupt("manifest "+id, "the content is not what the name says")
	}
	h, _, err := decodeHeader(raw)
	if err != nil {
		return nil, corrupt("manifest "+id, "%v", err)
	}
	return &Parcel{
		Checkpoint: h.checkpoint(id),
		Manifest:   raw,
		Fetch: func(ctx context.Context, chunks []Hash, deliver func(Hash, []byte) error) error {
			return parallel.Do(ctx, pushWorkers, len(chunks), func(ctx context.Context, i int) error {
				file, err := c.do(ctx, p, http.MethodGet, "/v1/chunks/"+chunks[i].String(), nil, maxChunkFile)
				if err != nil {
					return err
				}
				return deliver(chunks[i], file)
			})
		},
	}, nil
}

// fetch brings a checkpoint from a peer into d.
func (c client) fetch(ctx context.Context, p Peer, d *Dir, id string) error {
	cp, err := c.open(ctx, p, id)
	if err != nil {
		return err
	}
	return d.TakeKnown(ctx, cp)
}

func (c client) list(ctx context.Context, p Peer, workload string) (out []forestall.Checkpoint, err error) {
	path := "/v1/manifests"
	if workload != "" {
		path += "?workload=" + url.QueryEscape(workload)
	}
	b, err := c.do(ctx, p, http.MethodGet, path, nil, maxList)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("read list of checkpoints: %w", err)
	}
	return out, nil
}

func (c client) remove(ctx context.Context, p Peer, id string, by Claim) error {
	_, err := c.do(ctx, p, http.MethodDelete, "/v1/manifests/"+id+by.query(), nil, maxSmall)
	return err
}

func (c client) pin(ctx context.Context, to Peer, p Pin, by Claim) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, to, http.MethodPut, "/v1/pins/"+p.ID+by.query(), b, maxSmall)
	return err
}

func (c client) pins(ctx context.Context, p Peer) (out []Pin, err error) {
	b, err := c.do(ctx, p, http.MethodGet, "/v1/pins", nil, maxList)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("read list of pins: %w", err)
	}
	return out, nil
}

// query is the claim in a request's URL.
func (c Claim) query() string {
	q := url.Values{}
	if c.Workload != "" {
		q.Set("workload", c.Workload)
	}
	if c.Epoch > 0 {
		q.Set("epoch", strconv.FormatUint(uint64(c.Epoch), 10))
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// claimOf reads what query wrote.
func claimOf(q url.Values) (c Claim, err error) {
	c.Workload = q.Get("workload")
	if s := q.Get("epoch"); s != "" {
		e, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return c, fmt.Errorf("%w: epoch %.40q is not a number", forestall.ErrBadName, s)
		}
		c.Epoch = forestall.Epoch(e)
	}
	return c, nil
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
