package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// maxFile bounds each of the files.
const maxFile = 1 << 20

// Files names PEM files.
type Files struct {
	CA   string // certificates that sign the other side's, one or several; "": none
	Cert string // this side's certificate, followed by the intermediate ones
	Key  string // its private key
}

func (f Files) names() []string {
	return slices.DeleteFunc([]string{f.CA, f.Cert, f.Key}, func(s string) bool { return s == "" })
}

// Set is what the files held when they were read. It is not to be changed.
type Set struct {
	Certificate *tls.Certificate // with its Leaf
	CA          []*x509.Certificate
	Pool        *x509.CertPool // of CA; nil without
}

// Read reads the files, once.
func (f Files) Read() (*Set, error) {
	s := &Set{}
	cert, err := readFile(f.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readFile(f.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	s.Certificate = &pair
	if f.CA == "" {
		return s, nil
	}
	s.CA, err = readCertificates(f.CA)
	if err != nil {
		return nil, err
	}
	s.Pool = s.pool()
	return s, nil
}

func (s *Set) pool() *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range s.CA {
		p.AddCert(c)
	}
	return p
}

// readCertificates reads every certificate of a PEM file. One that cannot be read
// is an error, not left out: a CA that is missing would be found out by whom it
// shuts out.
func readCertificates(name string) (all []*x509.Certificate, err error) {
	rest, err := readFile(name)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", name, len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no PEM certificate", name)
	}
	return all, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is longer than %d bytes", name, maxFile)
	}
	return b, err
}

// Source holds what the files hold now. Its methods may be called from any
// goroutine.
type Source struct {
	files Files
	admit func(*Set) error // what may be used; nil: all that fits together
	log   *slog.Logger

	mu      sync.Mutex
	stamps  []os.FileInfo // of the files when they were last read
	now     *Set
	trouble string // why what the files hold is not used; "": it is
}

// Open reads the files, which must be there and fit together, and be what admit
// allows, if that is given.
func Open(f Files, admit func(*Set) error, log *slog.Logger) (*Source, error) {
	s := &Source{files: f, admit: admit, log: log}
	s.stamps = s.stat()
	var err error
	s.now, err = s.read()
	return s, err
}

func (s *Source) read() (*Set, error) {
	set, err := s.files.Read()
	if err == nil && s.admit != nil {
		err = s.admit(set)
	}
	return set, err
}

// stat looks at the files; nil stands for one that cannot be seen.
func (s *Source) stat() (stamps []os.FileInfo) {
	for _, name := range s.files.names() {
		info, _ := os.Stat(name) // its absence is seen when it is read
		stamps = append(stamps, info)
	}
	return stamps
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Current returns what holds now. Files that have changed and do not fit together,
// as in the middle of a renewal, are left until they change again.
func (s *Source) Current() *Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamps := s.stat()
	if slices.EqualFunc(stamps, s.stamps, sameFile) {
		return s.now
	}
	s.stamps = stamps
	set, err := s.read()
	if err != nil {
		if s.trouble != err.Error() {
			s.log.Error("changed certificates are not used; those read before go on", "error", err)
		}
		s.trouble = err.Error()
		return s.now
	}
	if !set.equal(s.now) || s.trouble != "" {
		leaf := set.Certificate.Leaf
		s.log.Info("certificates read again", "cert", s.files.Cert, "names", leaf.DNSNames, "expires", leaf.NotAfter, "ca", len(set.CA))
	}
	if s.trouble = ""; !set.equal(s.now) {
		s.now = set
	}
	return s.now
}

func (s *Set) equal(o *Set) bool {
	return slices.EqualFunc(s.Certificate.Certificate, o.Certificate.Certificate, bytes.Equal) &&
		slices.EqualFunc(s.CA, o.CA, (*x509.Certificate).Equal)
}

// Trouble says why what the files hold is not used; "" if it is.
func (s *Source) Trouble() string {
	s.Current()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// Accepts reports whether the CA that holds now signed the client certificate of a
// connection, which may have been made under an earlier one.
func (s *Source) Accepts(state *tls.ConnectionState, now time.Time) bool {
	set := s.Current()
	return state != nil && set.Pool != nil && set.verify(state.PeerCertificates, x509.ExtKeyUsageClientAuth, now) == nil
}

// Server returns the configuration of a server that shows what the files hold now.
// With a CA clients that show a certificate must have one that it signed; need says
// that all must show one.
func (s *Source) Server(need bool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		set := s.Current()
		c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*set.Certificate}, NextProtos: []string{"http/1.1"}}
		if set.Pool != nil {
			c.ClientCAs, c.ClientAuth = set.Pool, tls.VerifyClientCertIfGiven
		}
		if need {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}
		return c, nil
	}}
}
