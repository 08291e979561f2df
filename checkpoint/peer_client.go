package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
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

// newClient returns a client that follows no peer to another address.
func newClient(h *http.Client, timeout time.Duration) client {
	own := *h
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client{&own, timeout}
}

// do sends one request and returns the body of a 2xx answer. A refusal comes
// back as the error it was on the other side.
func (c client) do(ctx context.Context, p Peer, method, path string, body []byte, most int64) ([]byte, error) {
	return c.doWithin(ctx, c.timeout, p, method, path, body, most)
}

// doWithin is do with another time limit, to which that of the body is added.
func (c client) doWithin(ctx context.Context, limit time.Duration, p Peer, method, path string, body []byte, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit+time.Duration(len(body)/slowest)*time.Second)
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
	good := resp.StatusCode/100 == 2
	if !good {
		most = maxSmall
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read answer: %w", method, req.URL, err)
	}
	if !good {
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
			return &remoteError{msg: fmt.Sprintf("%.1000s", r.Error), is: known.err}
		}
	}
	return fmt.Errorf("answered %s: %.1000s", status, r.Error)
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
		if err == nil {
			err = c.prove(ctx, p, cp)
		}
		if !errors.Is(err, errMissingChunks) && !errors.Is(err, errFalse) {
			return err
		}
	}
	return err
}

// prove has a peer that says to hold a checkpoint show its manifest and one of its
// chunks, which it cannot foresee. One that keeps nothing is found at once, one
// that keeps a part sooner or later.
func (c client) prove(ctx context.Context, p Peer, cp *Parcel) error {
	show := []func(context.Context) error{func(ctx context.Context) error {
		raw, err := c.do(ctx, p, http.MethodGet, "/v1/manifests/"+cp.ID, nil, maxManifest)
		if err == nil && !bytes.Equal(raw, cp.Manifest) {
			err = falsely("it gives another manifest than it was given")
		}
		return err
	}}
	if cp.check != nil && len(cp.Chunks) > 0 {
		show = append(show, func(ctx context.Context) error {
			h := cp.Chunks[rand.IntN(len(cp.Chunks))]
			file, err := c.do(ctx, p, http.MethodGet, "/v1/chunks/"+h.String(), nil, maxChunkFile)
			if err != nil {
				return fmt.Errorf("chunk %s: %w", h, err)
			}
			if err := cp.check(h, file); err != nil && !errors.Is(err, ErrKey) {
				return falsely("chunk %s %w", h, err)
			}
			return nil
		})
	}
	err := parallel.Do(ctx, len(show), len(show), func(ctx context.Context, i int) error { return show[i](ctx) })
	switch {
	case err == nil || errors.Is(err, errFalse): // which is also ErrCorrupt
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrCorrupt):
		err = falsely("%w", err)
	default:
		return fmt.Errorf("it says to hold the checkpoint, and does not show it: %w", err)
	}
	if err != nil {
		return fmt.Errorf("it says to hold the checkpoint: %w", err)
	}
	return nil
}

// falsely is what a peer has said and is not so.
func falsely(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errFalse, fmt.Errorf(format, args...))
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

// missing asks which of the chunks the peer lacks. It names them in the order in
// which it was asked.
func (c client) missing(ctx context.Context, p Peer, chunks []Hash) (missing []Hash, err error) {
	const most = maxHashList / len(hash{})
	for part := range slices.Chunk(chunks, most) {
		b, err := c.do(ctx, p, http.MethodPost, "/v1/missing", joinHashes(part), maxHashList)
		if err != nil {
			return nil, err
		}
		lacks, err := splitHashes(b)
		if err != nil {
			return nil, falsely("%w", err)
		}
		at := 0
		for _, h := range lacks {
			i := slices.Index(part[at:], h)
			if i < 0 {
				return nil, falsely("it says to lack chunk %s, of which it was not asked", h)
			}
			at += i + 1
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
	cp, err := ReadHeader(id, raw)
	if err != nil {
		return nil, err
	}
	return &Parcel{
		Checkpoint: cp,
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

// fetch brings a checkpoint from a peer into d, and counts the bytes of the chunks
// that came. Unless it is patient it gives up when they come too slowly.
func (c client) fetch(ctx context.Context, p Peer, d *Dir, id string, patient bool) (came int64, err error) {
	cp, err := c.open(ctx, p, id)
	if err != nil {
		return 0, err
	}
	var n atomic.Int64
	get := cp.Fetch
	cp.Fetch = func(ctx context.Context, chunks []Hash, deliver func(Hash, []byte) error) error {
		if !patient {
			var end func()
			ctx, end = c.hurry(ctx, &n)
			defer end()
		}
		return get(ctx, chunks, func(h Hash, file []byte) error {
			err := deliver(h, file)
			if err == nil {
				n.Add(int64(len(file)))
			}
			return err
		})
	}
	err = d.TakeKnown(ctx, cp)
	return n.Load(), err
}

// slowest is how many bytes a second a network brings at least.
const slowest = 256 << 10

// hurry returns a context that ends with errTooSlow once fewer bytes have come in
// the time of one request than a network brings.
func (c client) hurry(ctx context.Context, came *atomic.Int64) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	look := time.NewTicker(c.timeout)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for before := came.Load(); ; {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			now := came.Load()
			if float64(now-before) < slowest*c.timeout.Seconds() {
				cancel(fmt.Errorf("%w: %d bytes in %s", errTooSlow, now-before, c.timeout))
			}
			before = now
		}
	}()
	return ctx, func() {
		cancel(nil)
		look.Stop()
		<-ended
	}
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
