package engine

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/internal/certs"
)

// RemoteAPIConfig lets other hosts call the API.
type RemoteAPIConfig struct {
	Address string          `toml:"address"` // "" = off
	TLS     ServerTLSConfig `toml:"tls,omitempty"`
}

// RightsConfig names files of tokens, one a line, each with the rights of its file.
type RightsConfig struct {
	OperatorFile string `toml:"operator_file,omitempty"` // all rights
	ReaderFile   string `toml:"reader_file,omitempty"`   // may only ask
}

// check looks at what says who may call.
func (c APIConfig) check(bad func(key, format string, args ...any)) {
	for key, name := range map[string]string{"api.auth.operator_file": c.Auth.OperatorFile, "api.auth.reader_file": c.Auth.ReaderFile} {
		if name != "" && !filepath.IsAbs(name) {
			bad(key, "%q is not an absolute path", name)
		}
	}
	if c.Auth.OperatorFile != "" && c.Auth.OperatorFile == c.Auth.ReaderFile {
		bad("api.auth", "operator_file and reader_file are the same file: readers would have all rights")
	}
	if c.Loopback == loopbackRead && c.Auth.OperatorFile == "" && (c.Remote.Address == "" || c.Remote.TLS.ClientCA == "") {
		bad("api.loopback", "\"read\" needs api.auth.operator_file, or api.remote with tls.client_ca: nobody could change anything without")
	}
	const key = "api.remote"
	c.Remote.TLS.check(key, bad)
	if c.Remote.Address == "" {
		return
	}
	_, port, err := net.SplitHostPort(c.Remote.Address)
	if _, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil {
		bad(key+".address", "%q is not HOST:PORT with a port up to 65535", c.Remote.Address)
	}
	if c.Remote.TLS.Cert == "" || c.Remote.TLS.ClientCA == "" && c.Auth == (RightsConfig{}) {
		bad(key, "set tls.cert and tls.key, and tls.client_ca or api.auth.operator_file or reader_file, so that nobody else can move workloads")
	}
}

// minToken is how long a token must be: it is what keeps strangers out.
const minToken = 16

// tokens reads a file of tokens, one a line; none without a name. The error does
// not show them.
func tokens(name string) (all []string, err error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for i, line := range bytes.Split(bytes.TrimSpace(b), []byte("\n")) {
		token := string(bytes.TrimSpace(line))
		if len(token) < minToken || strings.ContainsAny(token, " \t\x00") {
			return nil, fmt.Errorf("%s: line %d is to be one token of at least %d characters, without blanks", name, i+1, minToken)
		}
		all = append(all, token)
	}
	return all, nil
}

// check reads both files.
func (c RightsConfig) check() error {
	operators, err := tokens(c.OperatorFile)
	if err != nil {
		return err
	}
	readers, err := tokens(c.ReaderFile)
	if err != nil {
		return err
	}
	for _, token := range operators {
		if among(token, readers) {
			return fmt.Errorf("a token of %s is in %s too", c.ReaderFile, c.OperatorFile)
		}
	}
	return nil
}

// among reports whether a token is one of a list, in a time that does not tell how
// much of it is right.
func among(token string, all []string) bool {
	given, found := sha256.Sum256([]byte(token)), 0
	for _, one := range all {
		want := sha256.Sum256([]byte(one))
		found |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return found == 1
}

// right says what a request may do by its token.
func (c RightsConfig) right(r *http.Request) (api.Right, error) {
	token := ""
	if _, password, ok := r.BasicAuth(); ok {
		token = password
	} else if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(rest)
	}
	if token == "" {
		return api.None, nil
	}
	operators, err := tokens(c.OperatorFile)
	readers, err2 := tokens(c.ReaderFile)
	switch {
	case err == nil && among(token, operators):
		return api.Operate, nil
	case err2 == nil && among(token, readers):
		return api.Read, nil
	default:
		return api.None, errors.Join(err, err2)
	}
}

// openRemoteAPI returns what the API needs to answer other hosts; nil if it does not.
func (e *Engine) openRemoteAPI() (_ *api.Remote, err error) {
	if err := e.cfg.API.Auth.check(); err != nil {
		return nil, fmt.Errorf("api.auth: %w", err)
	}
	c := e.cfg.API.Remote
	if c.Address == "" {
		return nil, nil
	}
	if e.apiCertificate, err = certs.Open(c.TLS.files(), nil, e.log); err != nil {
		return nil, fmt.Errorf("api.remote.tls: %w", err)
	}
	onlyCertificates := e.cfg.API.Auth == (RightsConfig{})
	return &api.Remote{Address: c.Address, TLS: e.apiCertificate.Server(onlyCertificates)}, nil
}

// admit says what a request may do by what it shows: a client certificate has all
// rights.
func (e *Engine) admit(r *http.Request) (api.Right, error) {
	if e.apiCertificate != nil && e.apiCertificate.Accepts(r.TLS, e.now()) {
		return api.Operate, nil
	}
	return e.cfg.API.Auth.right(r)
}

// apiURL is where others are told that this engine's API is.
func (e *Engine) apiURL() string {
	remote := e.api.RemoteURL()
	if remote == "" {
		return e.api.URL()
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(remote, "https://"))
	if err != nil {
		return remote
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if self, ok := e.member(e.name); ok {
			host = self.host
		}
	}
	return "https://" + net.JoinHostPort(host, port)
}
