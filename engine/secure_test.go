package engine

import (
	"strings"
	"testing"
)

func TestTLSConfig(t *testing.T) {
	const (
		far   = "[cluster]\nnodes = [\"n1=10.0.0.1\", \"n2=10.0.0.2\", \"n3=10.0.0.3\"]\n"
		files = "[tls]\nca = \"/ca\"\ncert = \"/c\"\nkey = \"/k\"\n"
	)
	for toml, want := range map[string]string{
		far:                              "Give [tls] ca, cert and key; or, on a network that you trust, set cluster.allow_plaintext = true",
		far + "allow_plaintext = true\n": "",
		far + files:                      "",
		far + "[tls]\nca = \"/ca\"\n":    "ca, cert and key are given together",
		far + "allow_plaintext = true\n[tls]\nplaintext = \"send\"\n":         `"send" is a step on the way to TLS: give tls.ca, tls.cert and tls.key too`,
		far + files + "plaintext = \"accept\"\n":                              `"accept" lets in peers that do not authenticate: it needs cluster.allow_plaintext = true`,
		far + "allow_plaintext = true\n" + files + "plaintext = \"accept\"\n": "",
		far + files + "plaintext = \"always\"\n":                              `"always" is not one of never, accept, send`,
		far + files + "plaintext = true\n":                                    "tls.plaintext: is to be text in quotes",
		far + "[tls]\nca = \"ca\"\ncert = \"/c\"\nkey = \"/k\"\n":             `tls.ca: "ca" is not an absolute path`,
		far + files + "certificate = \"/c\"\n":                                `unknown key "tls.certificate"`,
	} {
		_, err := ReadConfig(strings.NewReader(toml))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want %q", toml, err, want)
		}
	}
}
