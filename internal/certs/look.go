package certs

import (
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Level says how much a finding matters.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Bad     Level = "bad"
)

// Finding is what Look says of files.
type Finding struct {
	Level Level
	Text  string
}

// Who says what a certificate is to be good for.
type Who struct {
	Node string             // DNS name that it must have; "": any
	Uses []x509.ExtKeyUsage // for which Files.CA must have signed it; none: that CA is for the other side's
}

// soonWithin is how long before its end an expiry is soon; of certificates that live
// less long it is the last fifth of their life.
const soonWithin = 21 * 24 * time.Hour

// Soon reports whether what is valid from start to end should have been renewed.
func Soon(start, end, now time.Time) bool {
	return end.Sub(now) < min(soonWithin, end.Sub(start)/5)
}

// Starts returns when the certificate began to be valid.
func (s *Set) Starts() time.Time { return s.Certificate.Leaf.NotBefore }

// Expires returns when the certificate, one that follows it in its file, or the CA
// that signed it, where the set has that, is valid no more.
func (s *Set) Expires() time.Time {
	chain, err := chainOf(s.Certificate)
	if err != nil {
		return s.Certificate.Leaf.NotAfter
	}
	end, ca := chain[0].NotAfter, time.Time{}
	for _, c := range chain {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	for _, c := range s.CA {
		if chain[len(chain)-1].CheckSignatureFrom(c) == nil && c.NotAfter.After(ca) {
			ca = c.NotAfter
		}
	}
	if !ca.IsZero() && ca.Before(end) {
		return ca
	}
	return end
}

// Look says everything about the files that an operator should know, also where
// they can be used. It reads them at once; now is the time that dates are held
// against.
func (f Files) Look(who Who, now time.Time) (all []Finding) {
	say := func(l Level, format string, args ...any) { all = append(all, Finding{l, fmt.Sprintf(format, args...)}) }
	if info, err := os.Stat(f.Key); err == nil && info.Mode().Perm()&0o007 != 0 {
		say(Bad, "%s can be read or written by every user (%04o): chmod 600 it; whoever has read it can act as its owner", f.Key, info.Mode().Perm())
	}
	authorities := f.lookCA(now, say)
	chain, err := readCertificates(f.Cert)
	if err != nil {
		say(Bad, "%v", err)
		return all
	}
	leaf := chain[0]
	if _, err := (Files{Cert: f.Cert, Key: f.Key}).Read(); err != nil {
		say(Bad, "%v", err)
	}
	if _, ok := named(leaf, []string{who.Node}); !ok && who.Node != "" {
		say(Bad, "%s: %s, does not have the DNS name %q", f.Cert, Describe(leaf), who.Node)
	}
	dated := true
	for _, c := range chain {
		switch left := c.NotAfter.Sub(now); {
		case left < 0:
			say(Bad, "%s: %s, expired at %s", f.Cert, Describe(c), utc(c.NotAfter))
			dated = false
		case now.Before(c.NotBefore):
			say(Bad, "%s: %s, is not valid before %s; is this machine's clock right?", f.Cert, Describe(c), utc(c.NotBefore))
			dated = false
		case Soon(c.NotBefore, c.NotAfter, now):
			say(Warning, "%s: %s, expires at %s, in %s: what renews it?", f.Cert, Describe(c), utc(c.NotAfter), round(left))
		}
	}
	if pool := (&Set{CA: authorities}).pool(); dated && len(authorities) > 0 {
		for _, use := range who.Uses {
			if err := (&Set{Pool: pool}).verify(chain, use, now); err != nil {
				say(Bad, "under %s: %v", f.CA, err)
				break
			}
		}
	}
	if !slices.ContainsFunc(all, func(f Finding) bool { return f.Level == Bad }) {
		say(OK, "%s, valid until %s, %s more", Describe(leaf), utc(leaf.NotAfter), round(leaf.NotAfter.Sub(now)))
	}
	return all
}

// lookCA looks at the CA file and returns what is in it.
func (f Files) lookCA(now time.Time, say func(Level, string, ...any)) []*x509.Certificate {
	if f.CA == "" {
		return nil
	}
	if info, err := os.Stat(f.CA); err == nil && info.Mode().Perm()&0o002 != 0 {
		say(Bad, "%s can be written by every user (%04o), who can let anybody in", f.CA, info.Mode().Perm())
	}
	all, err := readCertificates(f.CA)
	if err != nil {
		say(Bad, "%v", err)
		return nil
	}
	for _, c := range all {
		switch left := c.NotAfter.Sub(now); {
		case left < 0 && len(all) > 1:
			say(Warning, "%s: the CA %q expired at %s: take it out", f.CA, c.Subject, utc(c.NotAfter))
		case left < 0:
			say(Bad, "%s: the CA %q expired at %s", f.CA, c.Subject, utc(c.NotAfter))
		case Soon(c.NotBefore, c.NotAfter, now):
			say(Warning, "%s: the CA %q expires at %s, in %s: put the next one beside it", f.CA, c.Subject, utc(c.NotAfter), round(left))
		}
		if !c.IsCA {
			say(Warning, "%s: %s, is no CA; nothing that it signs counts", f.CA, Describe(c))
		}
	}
	return all
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// round writes a time in days, or more exactly where it is short.
func round(d time.Duration) string {
	if d > 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}
