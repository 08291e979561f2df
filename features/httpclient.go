package features

import (
	"bytes"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// HTTPConfig says how to trust a server and how to show it who asks. Secrets
// are in files, so that no configuration and no process list holds them; files
// are read again when they change. The zero value is a plain client.
type HTTPConfig struct {
	CAFile             string // certificates that sign the server's, PEM; "" = the system's
	CertFile, KeyFile  string // this client's certificate and key, PEM
	ServerName         string // that the server's certificate must have; "" = the URL's
	InsecureSkipVerify bool   // accept any certificate
	BearerFile         string // holds a token
	Username           string // for basic authentication
	PasswordFile       string // holds its password
}

// Validate says which fields do not go together. It reads no file.
func (c HTTPConfig) Validate() error {
	switch {
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("a client's certificate and its key are given together or not at all")
	case c.InsecureSkipVerify && (c.CAFile != "" || c.ServerName != ""):
		return errors.New("a server that is not verified needs neither ca nor server_name")
	case c.BearerFile != "" && c.Username != "":
		return errors.New("give a bearer token or a user name, not both")
	case (c.Username == "") != (c.PasswordFile == ""):
		return errors.New("a user name and a password file are given together or not at all")
	}
	return nil
}

// maxSecretFile bounds the files that an HTTPConfig names.
const maxSecretFile = 1 << 20

// NewHTTPClient returns a client as c says, without a timeout of its own. Every
// file is read once, so that a missing one is an error here. The client follows
// no redirect to another host while it carries a secret.
func NewHTTPClient(c HTTPConfig) (*http.Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	t := &secretTransport{cfg: c}
	if _, _, err := t.ready(); err != nil {
		return nil, err
	}
	client := &http.Client{Transport: t}
	if c.BearerFile != "" || c.Username != "" {
		client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
			switch {
			case req.URL.Host != via[0].URL.Host || via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
				return fmt.Errorf("redirected to %s, to which the credentials do not belong", req.URL.Host)
			case len(via) >= 5:
				return errors.New("redirected 5 times")
			}
			return nil
		}
	}
	return client, nil
}

// secretTransport adds authentication to requests and begins a new transport
// when a file of its configuration has changed.
type secretTransport struct {
	cfg HTTPConfig

	mu        sync.Mutex
	stamps    []fileStamp
	transport *http.Transport
	header    string // of Authorization
}

type fileStamp struct {
	size int64
	time time.Time
}

func (s fileStamp) equal(o fileStamp) bool { return s.size == o.size && s.time.Equal(o.time) }

func (t *secretTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	transport, header, err := t.ready()
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	if header != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", header)
	}
	return transport.RoundTrip(req)
}

// CloseIdleConnections serves [http.Client.CloseIdleConnections].
func (t *secretTransport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.transport != nil {
		t.transport.CloseIdleConnections()
	}
}

// ready returns what the files say now.
func (t *secretTransport) ready() (*http.Transport, string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stamps, err := t.cfg.stamps()
	if err != nil {
		return nil, "", err
	}
	if t.transport != nil && slices.EqualFunc(stamps, t.stamps, fileStamp.equal) {
		return t.transport, t.header, nil
	}
	transport, err := t.cfg.transport()
	if err != nil {
		return nil, "", err
	}
	header, err := t.cfg.authorization()
	if err != nil {
		return nil, "", err
	}
	if t.transport != nil {
		t.transport.CloseIdleConnections()
	}
	t.transport, t.header, t.stamps = transport, header, stamps
	return transport, header, nil
}

func (c HTTPConfig) stamps() ([]fileStamp, error) {
	var stamps []fileStamp
	for _, name := range []string{c.CAFile, c.CertFile, c.KeyFile, c.BearerFile, c.PasswordFile} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, fileStamp{info.Size(), info.ModTime()})
	}
	return stamps, nil
}

func (c HTTPConfig) transport() (*http.Transport, error) {
	config := &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify} // only where the operator asks for it
	if c.CAFile != "" {
		pem, err := readSecret(c.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     5 * time.Minute, // longer than between two scrapes
	}, nil
}

func (c HTTPConfig) authorization() (string, error) {
	switch {
	case c.BearerFile != "":
		token, err := readSecretLine(c.BearerFile)
		return "Bearer " + token, err
	case c.Username != "":
		password, err := readSecretLine(c.PasswordFile)
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(c.Username, password)
		return req.Header.Get("Authorization"), err
	}
	return "", nil
}

// Admits reports whether a request shows the secret that c names: the server's
// side of the same configuration. Without one it admits everybody.
func (c HTTPConfig) Admits(r *http.Request) (bool, error) {
	want, err := c.authorization()
	if err != nil {
		return false, err
	}
	got := r.Header.Get("Authorization")
	return want == "" || subtle.ConstantTimeCompare([]byte(want), []byte(got)) == 1, nil
}

func readSecret(name string) ([]byte, error) { return readLimited(name, maxSecretFile) }

// readLimited reads a file of at most limit bytes.
func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: %w: longer than %d bytes", name, ErrTooLarge, limit)
	}
	return b, err
}

// readSecretLine reads a file of one line; the error does not show it.
func readSecretLine(name string) (string, error) {
	b, err := readSecret(name)
	if err != nil {
		return "", err
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 || strings.ContainsAny(string(b), "\r\n\x00") {
		return "", fmt.Errorf("%s is to hold one line, the secret alone", name)
	}
	return string(b), nil
}
