package engine

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// FeaturesConfig says what is scraped and how often.
type FeaturesConfig struct {
	ScrapeInterval Duration          `toml:"scrape_interval"`
	ScrapeTimeout  Duration          `toml:"scrape_timeout"`   // 0: 3 s, or the interval where that is shorter
	ForgetAfter    Duration          `toml:"forget_after"`     // a discovered target being gone
	Forget         []string          `toml:"forget,omitempty"` // components that were taken out for good
	Windows        []Duration        `toml:"windows"`          // of components that no model judges
	Host           bool              `toml:"host"`             // this host's own procfs
	Targets        []TargetConfig    `toml:"target,omitempty"`
	Map            []features.MapRow `toml:"map,omitempty"`
	RemoteWrite    RemoteWriteConfig `toml:"remote_write"`
}

// TargetConfig is one Prometheus exposition page, or those that discovery
// finds.
type TargetConfig struct {
	URL     string            `toml:"url,omitempty"`
	FileSD  []string          `toml:"file_sd,omitempty"` // globs of absolute paths
	HTTPSD  string            `toml:"http_sd,omitempty"`
	Refresh Duration          `toml:"refresh,omitempty"` // of discovery; 0 = 15 s for files, 1 min for HTTP
	Scheme  string            `toml:"scheme,omitempty"`  // of discovered targets that do not say
	Path    string            `toml:"path,omitempty"`    // likewise
	Labels  map[string]string `toml:"labels,omitempty"`
	Preset  string            `toml:"preset"`
	Node    string            `toml:"node"` // whose components it describes; empty: see nodeOf
	MaxPage Bytes             `toml:"max_page,omitempty"`
	TLS     TLSConfig         `toml:"tls,omitempty"`
	Auth    AuthConfig        `toml:"auth,omitempty"`
}

// TLSConfig names the files that a connection is trusted by.
type TLSConfig struct {
	CA                 string `toml:"ca,omitempty"`
	Cert               string `toml:"cert,omitempty"`
	Key                string `toml:"key,omitempty"`
	ServerName         string `toml:"server_name,omitempty"`
	InsecureSkipVerify bool   `toml:"insecure_skip_verify,omitempty"`
}

// AuthConfig names the files that hold secrets.
type AuthConfig struct {
	BearerFile   string `toml:"bearer_file,omitempty"`
	Username     string `toml:"username,omitempty"`
	PasswordFile string `toml:"password_file,omitempty"`
}

// http returns the two as features takes them.
func (t TargetConfig) http() features.HTTPConfig {
	return features.HTTPConfig{
		CAFile: t.TLS.CA, CertFile: t.TLS.Cert, KeyFile: t.TLS.Key, ServerName: t.TLS.ServerName, InsecureSkipVerify: t.TLS.InsecureSkipVerify,
		BearerFile: t.Auth.BearerFile, Username: t.Auth.Username, PasswordFile: t.Auth.PasswordFile,
	}
}

// discovered reports whether the target stands for those that discovery finds.
func (t TargetConfig) discovered() bool { return len(t.FileSD) > 0 || t.HTTPSD != "" }

// nodeOf returns the node whose components the target describes: engine is this one's.
// "" where the labels of series and target say it, as for a page of another machine.
func (t TargetConfig) nodeOf(engine string) string {
	if t.Node != "" || t.discovered() || !onThisMachine(t.URL, engine) {
		return t.Node
	}
	return engine
}

// onThisMachine reports whether a URL's host is this machine: loopback, one of its
// addresses, its host name or its engine's, either with a domain or without.
func onThisMachine(address, engine string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); ip != nil {
		own, _ := net.InterfaceAddrs() // none: loopback is left
		return ip.IsLoopback() || ip.IsUnspecified() || slices.ContainsFunc(own, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.Equal(ip)
		})
	}
	name, _ := os.Hostname() // "": the engine's is left
	for _, own := range []string{"localhost", engine, name} {
		own = strings.ToLower(own)
		h := strings.ToLower(host)
		if own != "" && (h == own || strings.HasPrefix(h, own+".") || !strings.Contains(h, ".") && strings.HasPrefix(own, h+".")) {
			return true
		}
	}
	return false
}

// page returns the target that a section with a url is: whose components it describes,
// and, where labels say that, the instance as discovery gives it.
func (t TargetConfig) page(engine string) (target features.Target, node string) {
	target, node = features.Target{URL: t.URL, Labels: t.Labels}, t.nodeOf(engine)
	if u, err := url.Parse(t.URL); err == nil && node == "" && t.Labels["instance"] == "" {
		target.Labels = map[string]string{"instance": u.Host}
		maps.Copy(target.Labels, t.Labels)
	}
	return target, node
}

// refresh is how often discovery is asked.
func (t TargetConfig) refresh() time.Duration {
	switch {
	case t.Refresh.Duration > 0:
		return t.Refresh.Duration
	case t.HTTPSD != "":
		return time.Minute
	}
	return 15 * time.Second
}

// timeout is how long a source may take.
func (c FeaturesConfig) timeout() time.Duration {
	if c.ScrapeTimeout.Duration > 0 {
		return c.ScrapeTimeout.Duration
	}
	return min(3*time.Second, c.ScrapeInterval.Duration)
}

// forgotten returns the components that were taken out for good.
func (c FeaturesConfig) forgotten() (all []forestall.Component) {
	for _, name := range c.Forget {
		if one, err := forestall.ParseComponent(name); err == nil { // check has told the others
			all = append(all, one)
		}
	}
	return all
}

func (c FeaturesConfig) windows() (windows []time.Duration) {
	for _, w := range c.Windows {
		windows = append(windows, w.Duration)
	}
	return windows
}

// checkWindows reports windows that cannot be kept, or say nothing.
func (c FeaturesConfig) checkWindows(bad func(key, format string, args ...any)) {
	if _, err := features.NewSchema(forestall.KindNode, features.Metrics(forestall.KindNode), c.windows()); err != nil {
		bad("features.windows", "%v", err)
	} else if shortest := c.Windows[0]; shortest.Duration < c.ScrapeInterval.Duration {
		bad("features.windows", "%s is shorter than features.scrape_interval, %s: no window would hold a scrape", shortest, c.ScrapeInterval)
	}
}

// check reports what cannot work in the section's targets and mapping tables, and
// returns those that can.
func (c FeaturesConfig) check(bad func(key, format string, args ...any)) *features.Mappings {
	mappings, err := features.NewMappings(c.Map)
	if err != nil {
		bad("features.map", "%v", err)
		mappings, _ = features.NewMappings(nil)
	}
	switch interval := c.ScrapeInterval; {
	case c.ScrapeTimeout.Duration < 0:
		bad("features.scrape_timeout", "%s is negative; 0 is 3 s, or the interval where that is shorter", c.ScrapeTimeout)
	case c.ScrapeTimeout.Duration > interval.Duration:
		bad("features.scrape_timeout", "%s is longer than features.scrape_interval, %s: one scrape would still run when the next is due", c.ScrapeTimeout, interval)
	}
	if least := 3 * c.ScrapeInterval.Duration; c.ForgetAfter.Duration < least || c.ForgetAfter.Duration <= 0 {
		bad("features.forget_after", "%s is shorter than three scrape intervals, %s: what misses a scrape would be forgotten", c.ForgetAfter, Duration{least})
	}
	if settle := c.RemoteWrite.Settle; c.RemoteWrite.Address != "" && c.ForgetAfter.Duration <= 2*settle.Duration {
		bad("features.forget_after", "%s is not longer than twice features.remote_write.settle, %s: a target would be forgotten before its scrape is put together", c.ForgetAfter, settle)
	}
	for i, name := range c.Forget {
		if _, err := forestall.ParseComponent(name); err != nil {
			bad(fmt.Sprintf("features.forget[%d]", i), "%v", err)
		}
	}
	c.checkWindows(bad)
	c.RemoteWrite.check(mappings, bad)
	for i, t := range c.Targets {
		key := fmt.Sprintf("features.target[%d]", i)
		t.check(func(field, format string, args ...any) { bad(key+field, format, args...) })
		if _, err := mappings.Get(t.Preset); err != nil {
			bad(key+".preset", "%v", err)
		}
	}
	return mappings
}

func (t TargetConfig) check(bad func(field, format string, args ...any)) {
	if n := min(len(t.FileSD), 1) + min(len(t.URL), 1) + min(len(t.HTTPSD), 1); n != 1 {
		bad("", "give one of url, file_sd and http_sd")
	}
	for _, given := range []struct{ field, address string }{{".url", t.URL}, {".http_sd", t.HTTPSD}} {
		switch u, err := url.Parse(given.address); {
		case given.address == "":
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			bad(given.field, "%q is not an http or https URL", given.address)
		case u.User != nil:
			bad(given.field, "it has a user or a password in it, which the log and the API would show: give auth = {username = ..., password_file = ...}")
		}
	}
	for _, glob := range t.FileSD {
		if _, err := filepath.Match(glob, ""); err != nil || !filepath.IsAbs(glob) {
			bad(".file_sd", "%q is not an absolute path or a pattern of one", glob)
		}
	}
	if !t.discovered() && (t.Refresh.Duration != 0 || t.Scheme != "" || t.Path != "") {
		bad("", "refresh, scheme and path are of targets with file_sd or http_sd")
	}
	if t.Scheme != "" && t.Scheme != "http" && t.Scheme != "https" {
		bad(".scheme", "%q is not one of http, https", t.Scheme)
	}
	if t.Refresh.Duration < 0 || t.Refresh.Duration > 0 && t.Refresh.Duration < time.Second {
		bad(".refresh", "%s is shorter than a second", t.Refresh)
	}
	if t.MaxPage.N > features.MaxPageBytes {
		bad(".max_page", "%s is over the limit of %s", t.MaxPage, Bytes{features.MaxPageBytes})
	}
	if t.Node != "" {
		if err := forestall.CheckName(t.Node); err != nil {
			bad(".node", "%v", err)
		}
	}
	if err := t.http().Validate(); err != nil {
		bad(".tls, auth", "%v", err)
	}
	for field, name := range map[string]string{
		".tls.ca": t.TLS.CA, ".tls.cert": t.TLS.Cert, ".tls.key": t.TLS.Key, ".auth.bearer_file": t.Auth.BearerFile, ".auth.password_file": t.Auth.PasswordFile,
	} {
		if name != "" && !filepath.IsAbs(name) {
			bad(field, "%q is not an absolute path", name)
		}
	}
}
