package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Errors of a certificate that is not accepted; the text says of whose and why.
var (
	ErrNotMember = errors.New("the certificate names no node of the cluster that was expected")
	ErrUntrusted = errors.New("the certificate is not accepted")
)

// verify reports why the chain, the leaf first, is not accepted for that use at
// that time under the CA of a set; nil if it is. It does not look at names.
func (s *Set) verify(chain []*x509.Certificate, use x509.ExtKeyUsage, now time.Time) error {
	if len(chain) == 0 {
		return fmt.Errorf("%w: none was shown", ErrUntrusted)
	}
	o := x509.VerifyOptions{Roots: s.Pool, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	leaf := chain[0]
	_, err := leaf.Verify(o)
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	reason := ""
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.After(invalid.Cert.NotAfter):
		reason = "it, or a certificate above it, expired at " + utc(invalid.Cert.NotAfter)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		reason = "it is not valid before " + utc(invalid.Cert.NotBefore) + "; look at the clocks"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		reason = "it is not made for this use: engines need both serverAuth and clientAuth, or no extended key usage"
	case errors.As(err, &unknown):
		reason = "no CA that is trusted here signed it"
	default:
		reason = err.Error()
	}
	return fmt.Errorf("%w: %s: %s", ErrUntrusted, Describe(leaf), reason)
}

// Describe says which certificate it is, in a few words.
func Describe(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	said := fmt.Sprintf("the certificate of %.100q", c.Subject.String())
	if n := len(names); n > 0 {
		said += " for " + strings.Join(names[:min(n, maxNames)], ", ")
		if n > maxNames {
			said += fmt.Sprintf(" and %d more names", n-maxNames)
		}
	}
	return said + fmt.Sprintf(", issued by %.100q", c.Issuer.String())
}

// maxNames is how many names of a certificate are told.
const maxNames = 8

// named returns the first of the nodes that the certificate names.
func named(c *x509.Certificate, nodes []string) (string, bool) {
	for _, node := range nodes {
		if slices.Contains(c.DNSNames, node) {
			return node, true
		}
	}
	return "", false
}

// check verifies the other end of a connection: signed by the CA, and naming node,
// or any of nodes where node is "". It returns the node that it names.
func (s *Set) check(state tls.ConnectionState, use x509.ExtKeyUsage, node string, nodes []string, now time.Time) (string, error) {
	if err := s.verify(state.PeerCertificates, use, now); err != nil {
		return "", err
	}
	leaf := state.PeerCertificates[0]
	if node != "" {
		nodes = []string{node}
	}
	name, ok := named(leaf, nodes)
	switch {
	case ok:
		return name, nil
	case node != "":
		return "", fmt.Errorf("%w: %s, does not have the DNS name %q", ErrNotMember, Describe(leaf), node)
	default:
		return "", fmt.Errorf("%w: %s; cluster.nodes has %s", ErrNotMember, Describe(leaf), strings.Join(nodes, ", "))
	}
}
