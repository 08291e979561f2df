package api

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

const (
	clientTimeout  = 10 * time.Second
	maxAnswerBytes = 64 << 20
)

// Client asks an engine's API. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client of the API at the base URL, as Server.URL returns
// it: "http://127.0.0.1:7070".
func NewClient(base string) *Client {
	return &Client{base: strings.TrimRight(base, "/"), http: &http.Client{Timeout: clientTimeout}}
}

// Over returns a client of the same API that asks through h, which may carry TLS
// and authentication.
func (c *Client) Over(h *http.Client) *Client {
	return (&Client{base: c.base, http: h}).within(clientTimeout)
}

// within returns the same client with another time limit; 0 is none.
func (c *Client) within(limit time.Duration) *Client {
	h := *c.http
	h.Timeout = limit
	return &Client{base: c.base, http: &h}
}

// Error is an answer of the API that is not a success.
type Error struct {
	Status int    // HTTP status code
	Detail string // what the API says is wrong
}

func (e *Error) Error() string { return e.Detail }

// Is makes a 404 match ErrNotFound, a 422 ErrInvalid, a 503 ErrUnavailable.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusUnprocessableEntity:
		return target == ErrInvalid
	case http.StatusServiceUnavailable:
		return target == ErrUnavailable
	}
	return false
}

// Status returns the engine's view of itself and its cluster.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Risks returns the risk of every component, ordered by component.
func (c *Client) Risks(ctx context.Context) ([]forestall.Risk, error) {
	return get[[]forestall.Risk](ctx, c, "/v1/risk")
}

// Risk returns the risk of one component; ErrNotFound if the engine does not
// know it.
func (c *Client) Risk(ctx context.Context, component forestall.Component) (forestall.Risk, error) {
	return get[forestall.Risk](ctx, c, "/v1/risk/"+component.String())
}

// Fleet returns how all components stand together.
func (c *Client) Fleet(ctx context.Context) (FleetStatus, error) {
	return get[FleetStatus](ctx, c, "/v1/fleet")
}

// Members returns the nodes of the cluster, by name.
func (c *Client) Members(ctx context.Context) ([]forestall.Member, error) {
	return get[[]forestall.Member](ctx, c, "/v1/members")
}

// Workloads returns the workloads, by name.
func (c *Client) Workloads(ctx context.Context) ([]WorkloadStatus, error) {
	return get[[]WorkloadStatus](ctx, c, "/v1/workloads")
}

// Migrations returns moves, recoveries and first starts, the newest first.
func (c *Client) Migrations(ctx context.Context) ([]forestall.Migration, error) {
	return get[[]forestall.Migration](ctx, c, "/v1/migrations")
}

// Targets returns the pages that the engine scrapes.
func (c *Client) Targets(ctx context.Context) ([]Target, error) {
	return get[[]Target](ctx, c, "/v1/targets")
}

// Incidents returns established failures, the newest first.
func (c *Client) Incidents(ctx context.Context) ([]forestall.Incident, error) {
	return get[[]forestall.Incident](ctx, c, "/v1/incidents")
}

// CloseIncident ends the open incident of a GPU; ErrNotFound if it has none.
func (c *Client) CloseIncident(ctx context.Context, component forestall.Component, reason string) error {
	return c.post(ctx, "/v1/incidents/close", IncidentEnd{component.String(), reason})
}

// Models returns the models that judge components on the engine's node, by kind.
func (c *Client) Models(ctx context.Context) ([]ModelStatus, error) {
	return get[[]ModelStatus](ctx, c, "/v1/models")
}

// ModelEvents returns the steps in the lives of models, the newest first.
func (c *Client) ModelEvents(ctx context.Context) ([]forestall.ModelEvent, error) {
	return get[[]forestall.ModelEvent](ctx, c, "/v1/models/events")
}

// ProposeModel proposes a model; ErrInvalid where it cannot judge, or another
// candidate is there.
func (c *Client) ProposeModel(ctx context.Context, m ModelFiles) (ref forestall.ModelRef, err error) {
	b, err := json.Marshal(m)
	if err != nil {
		return ref, fmt.Errorf("encode the model: %w", err)
	}
	body, err := c.do(ctx, http.MethodPost, "/v1/models", b)
	if err != nil {
		return ref, err
	}
	if err := json.Unmarshal(body, &ref); err != nil {
		return ref, fmt.Errorf("read the answer of %s/v1/models, which may be of another version: %w", c.base, err)
	}
	return ref, nil
}

// ChangeModel asks for a promotion, a rejection or a rollback; ErrInvalid where
// it does not fit.
func (c *Client) ChangeModel(ctx context.Context, kind forestall.Kind, step forestall.ModelStep, change ModelChange) error {
	word := map[forestall.ModelStep]string{forestall.ModelPromoted: "promote", forestall.ModelRejected: "reject", forestall.ModelRolledBack: "rollback"}[step]
	return c.post(ctx, "/v1/models/"+kind.String()+"/"+word, change)
}

// Interventions returns what was done about components without moving them, and
// what was held out, the newest first.
func (c *Client) Interventions(ctx context.Context) ([]Intervention, error) {
	return get[[]Intervention](ctx, c, "/v1/interventions")
}

// Observed returns the decisions that the policy would have carried out in mode
// act, and only observed, the newest first.
func (c *Client) Observed(ctx context.Context) ([]forestall.Decision, error) {
	return get[[]forestall.Decision](ctx, c, "/v1/observed")
}

// Retire stops a workload for good; ErrNotFound if the engine does not know
// it, ErrUnavailable if the cluster does not agree in time. It returns before
// the workload's processes have ended, and may be repeated.
func (c *Client) Retire(ctx context.Context, name string) error {
	if err := forestall.CheckName(name); err != nil {
		return err
	}
	return c.post(ctx, "/v1/workloads/"+name+"/retire", struct{}{})
}

// Checkpoints returns the checkpoints of a workload, of all if the name is
// empty, the newest first: those that the engine's own node holds, and the
// newest that counts of each workload, wherever it is held.
func (c *Client) Checkpoints(ctx context.Context, workload string) ([]forestall.Checkpoint, error) {
	path := "/v1/checkpoints"
	if workload != "" {
		path += "?workload=" + url.QueryEscape(workload)
	}
	return get[[]forestall.Checkpoint](ctx, c, path)
}

// Beat sends a sign of life of an agent or a service.
func (c *Client) Beat(ctx context.Context, component forestall.Component, beat Heartbeat) error {
	return c.post(ctx, "/v1/heartbeats/"+component.String(), beat)
}

// Inject lets the simulated GPU with that index of the engine's node fail
// within over; ErrNotFound if the engine does not simulate its GPUs.
func (c *Client) Inject(ctx context.Context, index int, mode string, over time.Duration) error {
	return c.post(ctx, "/v1/sim/inject", Injection{Index: index, Mode: mode, OverSeconds: over.Seconds()})
}

// Ready returns nil when the engine is ready, otherwise an error that says why
// it is not.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodGet, "/readyz", nil)
	return err
}

func get[T any](ctx context.Context, c *Client, path string) (v T, err error) {
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("read the answer of %s%s, which may be of another version: %w", c.base, path, err)
	}
	return v, nil
}

func (c *Client) post(ctx context.Context, path string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the body for %s: %w", path, err)
	}
	_, err = c.do(ctx, http.MethodPost, path, b)
	return err
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("API address %q is not a URL such as http://%s: %w", c.base, DefaultAddress, err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no engine answers at %s: is `forestall engine` running? use --api URL for another address: %w", c.base, err)
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return nil, fmt.Errorf("the engine at %s shows a certificate of a CA that is not known here: give --api-ca FILE: %w", c.base, err)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the engine at %s: %w", c.base, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s%s: %w", c.base, path, err)
	}
	if resp.StatusCode/100 != 2 {
		p := problemOf(resp, answer)
		if p.Status == http.StatusUnauthorized {
			p.Detail = "the engine at " + c.base + " asks who you are: give --api-token-file FILE, or --api-cert and --api-key where it takes client certificates"
		}
		return nil, p
	}
	return answer, nil
}

// problemOf reads an RFC 9457 problem, or takes the text as it is.
func problemOf(resp *http.Response, answer []byte) *Error {
	e := &Error{Status: resp.StatusCode, Detail: strings.TrimSpace(string(answer))}
	var p huma.ErrorModel
	if json.Unmarshal(answer, &p) == nil && p.Detail != "" {
		e.Detail = p.Detail
		for _, d := range p.Errors {
			e.Detail += "; " + d.Error()
		}
	}
	if e.Detail == "" {
		e.Detail = resp.Status
	}
	return e
}
