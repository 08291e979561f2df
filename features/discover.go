package features

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// ErrDiscovery is wrapped by every error of finding targets.
var ErrDiscovery = errors.New("target discovery")

// Bounds on what discovery accepts.
const (
	maxDiscovery = 16 << 20 // bytes of a file or an answer
	maxTargets   = 10_000
)

// Target is an exposition page that discovery found.
type Target struct {
	URL    string
	Labels map[string]string // those without "__", and instance: the address
}

// targetGroup is what file_sd and http_sd hold lists of.
type targetGroup struct {
	Targets []string          `json:"targets" yaml:"targets"`
	Labels  map[string]string `json:"labels" yaml:"labels"`
}

// Discovery finds targets as Prometheus does: in files (file_sd) or by asking
// an HTTP server (http_sd). Both hold a list of groups, each with targets
// (HOST:PORT) and labels; __scheme__, __metrics_path__ and __param_NAME say how
// to ask, instance is the address unless a label says otherwise.
type Discovery struct {
	Files  []string          // globs; JSON, or YAML where a name ends in .yml or .yaml
	URL    string            // http_sd
	Client *http.Client      // for URL
	Scheme string            // of targets that do not say; "" = http
	Path   string            // likewise; "" = /metrics
	Labels map[string]string // of every target that lacks them
}

// Find returns the targets, sorted by URL and each once, as the first list has it. A
// file that cannot be read or an answer that is not a list of groups is an error, which
// wraps [ErrDiscovery], beside the targets of the other files: what was found before is
// to be kept then, because a broken list says nothing about its targets. No file that
// matches a glob is no target.
func (d Discovery) Find(ctx context.Context) ([]Target, error) {
	targets, errs := d.find(ctx)
	slices.SortStableFunc(targets, func(a, b Target) int { return strings.Compare(a.URL, b.URL) })
	targets = slices.CompactFunc(targets, func(a, b Target) bool { return a.URL == b.URL })
	switch len(errs) {
	case 0:
		return targets, nil
	case 1:
		return targets, fmt.Errorf("%w: %w", ErrDiscovery, errs[0])
	}
	return targets, fmt.Errorf("%w: %w; likewise %d more", ErrDiscovery, errs[0], len(errs)-1)
}

func (d Discovery) find(ctx context.Context) (targets []Target, errs []error) {
	take := func(origin string, b []byte, err error, unmarshal func([]byte, any) error) {
		if err == nil {
			var found []Target
			if found, err = d.parse(origin, b, unmarshal); err == nil && len(targets)+len(found) > maxTargets {
				err = fmt.Errorf("%s: more than %d targets", origin, maxTargets)
			}
			if err == nil {
				targets = append(targets, found...)
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, glob := range d.Files {
		names, err := filepath.Glob(glob)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", glob, err))
		}
		for _, name := range names {
			b, err := readLimited(name, maxDiscovery)
			take(name, b, err, unmarshalFor(name))
		}
	}
	if d.URL != "" {
		b, err := d.ask(ctx)
		take(d.URL, b, err, unmarshalJSON)
	}
	return targets, errs
}

// parse returns the targets of one list; all or, with an error, none.
func (d Discovery) parse(origin string, b []byte, unmarshal func([]byte, any) error) (targets []Target, err error) {
	var groups []targetGroup
	if err := unmarshal(b, &groups); err != nil {
		return nil, fmt.Errorf("%s: %w", origin, err)
	}
	for i, g := range groups {
		for _, address := range g.Targets {
			t, err := d.target(address, g.Labels)
			if err != nil {
				return nil, fmt.Errorf("%s: group %d: %w", origin, i, err)
			}
			targets = append(targets, t)
		}
	}
	return targets, nil
}

func unmarshalFor(name string) func([]byte, any) error {
	if ext := filepath.Ext(name); ext == ".yml" || ext == ".yaml" {
		return unmarshalYAML
	}
	return unmarshalJSON
}

func unmarshalJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows the list of groups")
	}
	return nil
}

func unmarshalYAML(b []byte, v any) error {
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	err := d.Decode(v)
	if errors.Is(err, io.EOF) { // an empty list
		return nil
	}
	if err != nil {
		return err
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("more follows the list of groups")
	}
	return nil
}

// ask fetches http_sd's list.
func (d Discovery) ask(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "forestall")
	resp, err := d.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %s", d.URL, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDiscovery+1))
	if err == nil && len(b) > maxDiscovery {
		err = fmt.Errorf("%w: over the limit of %d bytes", ErrTooLarge, maxDiscovery)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.URL, err)
	}
	return b, nil
}

// target makes one of an address and its group's labels.
func (d Discovery) target(address string, group map[string]string) (Target, error) {
	l := maps.Clone(d.Labels)
	if l == nil {
		l = map[string]string{}
	}
	maps.Copy(l, group)
	for name := range l {
		if !labelName(name) {
			return Target{}, fmt.Errorf("target %q: %q is not a label's name", address, name)
		}
	}
	u := url.URL{Scheme: orDefault(l[model.SchemeLabel], orDefault(d.Scheme, "http")), Host: address, Path: orDefault(l[model.MetricsPathLabel], orDefault(d.Path, "/metrics"))}
	query := url.Values{}
	for name, value := range l {
		if param, ok := strings.CutPrefix(name, model.ParamLabelPrefix); ok {
			query.Set(param, value)
		}
	}
	u.RawQuery = query.Encode()
	if parsed, err := url.Parse(u.String()); err != nil || parsed.Hostname() == "" || parsed.Host != address || u.Scheme != "http" && u.Scheme != "https" {
		return Target{}, fmt.Errorf("target %q with scheme %q: want HOST:PORT and http or https", address, u.Scheme)
	}
	if l["instance"] == "" {
		l["instance"] = address
	}
	maps.DeleteFunc(l, func(name, _ string) bool { return strings.HasPrefix(name, "__") })
	return Target{URL: u.String(), Labels: l}, nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
