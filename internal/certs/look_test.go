package certs_test

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/internal/certs"
	"github.com/stratoswarm/forestall/internal/certs/certstest"
)

func TestLook(t *testing.T) {
	const day = 24 * time.Hour
	ca, other := certstest.NewCA(t, "ours"), certstest.NewCA(t, "theirs")
	peer := certs.Who{Node: "n1", Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	issue := func(names []string, change func(*x509.Certificate)) certs.Files {
		f := ca.Write(t, t.TempDir(), names)
		cert, key := ca.Issue(t, names, change)
		certstest.Replace(t, f.Cert, cert)
		certstest.Replace(t, f.Key, key)
		return f
	}
	dates := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
	}
	with := func(f certs.Files, change func(*certs.Files)) certs.Files {
		change(&f)
		return f
	}
	good := func() certs.Files { return ca.Write(t, t.TempDir(), []string{"n1"}) }
	for _, tc := range []struct {
		name  string
		files certs.Files
		level certs.Level
		says  string
	}{
		{"good", good(), certs.OK, `the certificate of "CN=n1" for n1, issued by "CN=ours", valid until `},
		{"expired", issue([]string{"n1"}, dates(-day, -time.Hour)), certs.Bad, "expired at"},
		{"early", issue([]string{"n1"}, dates(time.Hour, day)), certs.Bad, "is this machine's clock right?"},
		{"the last fifth", issue([]string{"n1"}, dates(-21*time.Hour, 3*time.Hour+time.Second)), certs.Warning, "in 3h0m: what renews it?"},
		{"before the last fifth", issue([]string{"n1"}, dates(-18*time.Hour, 6*time.Hour)), certs.OK, "valid until"},
		{"the last weeks of a year", issue([]string{"n1"}, dates(-345*day, 20*day)), certs.Warning, "in 19 days: what renews it?"},
		{"wrong name", issue([]string{"n2"}, func(*x509.Certificate) {}), certs.Bad, `does not have the DNS name "n1"`},
		{"wrong CA", ca.Write(t, t.TempDir(), []string{"n1"}, other), certs.Bad, "no CA that is trusted here signed it"},
		{"for servers only", issue([]string{"n1"}, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), certs.Bad, "engines need both serverAuth and clientAuth"},
		{"another key", with(good(), func(f *certs.Files) { f.Key = good().Key }), certs.Bad, "private key does not match public key"},
		{"no key", with(good(), func(f *certs.Files) { f.Key += ".none" }), certs.Bad, "no such file"},
		{"no certificate", with(good(), func(f *certs.Files) { f.Cert = f.Key }), certs.Bad, "holds no PEM certificate"},
		{"no CA", with(good(), func(f *certs.Files) { f.CA = f.Key }), certs.Bad, "holds no PEM certificate"},
		{"not a CA", with(good(), func(f *certs.Files) { f.CA = f.Cert }), certs.Warning, "is no CA; nothing that it signs counts"},
		{"open key", with(good(), func(f *certs.Files) {
			if err := os.Chmod(f.Key, 0o644); err != nil {
				t.Fatal(err)
			}
		}), certs.Bad, "can be read or written by every user (0644)"},
		{"open CA", with(good(), func(f *certs.Files) {
			if err := os.Chmod(f.CA, 0o666); err != nil {
				t.Fatal(err)
			}
		}), certs.Bad, "can be written by every user (0666), who can let anybody in"},
	} {
		found := tc.files.Look(peer, time.Now())
		hit, fine := false, false
		for _, f := range found {
			hit = hit || f.Level == tc.level && strings.Contains(f.Text, tc.says)
			fine = fine || f.Level == certs.OK
		}
		if !hit || fine && tc.level == certs.Bad {
			t.Errorf("%s: found %q, want one %s with %q", tc.name, found, tc.level, tc.says)
		}
	}
	late := time.Now().Add(60 * time.Hour)
	next := certstest.NewCA(t, "next", func(c *x509.Certificate) { c.NotAfter = late.Add(1000 * day) })
	f := next.Write(t, t.TempDir(), []string{"n1"}, ca, next)
	if found := f.Look(peer, late); len(found) == 0 || found[0].Level != certs.Warning || !strings.Contains(found[0].Text, `the CA "CN=ours" expired at`) {
		t.Errorf("a CA in the file that has expired: %q", found)
	}
}

// TestExpires: a certificate is good for no longer than the CA that signed it.
func TestExpires(t *testing.T) {
	short := certstest.NewCA(t, "short", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) })
	long := certstest.NewCA(t, "long")
	for _, ca := range []*certstest.CA{short, long} {
		set, err := ca.Write(t, t.TempDir(), []string{"n1"}, short, long).Read()
		if err != nil {
			t.Fatal(err)
		}
		want := set.Certificate.Leaf.NotAfter
		if ca == short {
			want = ca.Cert.NotAfter
		}
		if !set.Expires().Equal(want) {
			t.Errorf("of %s: expires at %s, want %s", ca.Cert.Subject, set.Expires(), want)
		}
	}
}
