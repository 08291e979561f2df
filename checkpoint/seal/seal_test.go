package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

func identity(t testing.TB) (public, private string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.Recipient().String(), id.String()
}

func open(t testing.TB, file []byte, private string) *Keyring {
	t.Helper()
	k, err := Open(file, strings.NewReader("# comment\n"+private+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealAndOpen(t *testing.T) {
	pub, priv := identity(t)
	file, err := New([]string{pub}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k := open(t, file, priv)
	text, context := []byte("attack at dawn"), []byte("chunk 7")
	sealed := k.Seal([]byte("before"), text, context)[6:]
	if len(sealed) != len(text)+Overhead || bytes.Contains(sealed, text) || KeyOf(sealed) != k.Current() {
		t.Errorf("sealed as %q", sealed)
	}
	got, err := k.Open([]byte("x"), sealed, context)
	if err != nil || string(got) != "xattack at dawn" {
		t.Errorf("opened as %q (%v)", got, err)
	}
	if _, err := k.Open(nil, sealed, []byte("chunk 8")); !errors.Is(err, ErrForged) {
		t.Errorf("another context: %v", err)
	}
	for i := range sealed {
		sealed[i] ^= 1
		if _, err := k.Open(nil, sealed, context); !errors.Is(err, ErrForged) && !errors.Is(err, ErrUnknownKey) {
			t.Errorf("a flipped bit in byte %d: %v", i, err)
		}
		if _, err := k.Open(nil, sealed[:i], context); err == nil {
			t.Errorf("cut off at %d it was opened", i)
		}
		sealed[i] ^= 1
	}
}

func TestRotateAndRewrap(t *testing.T) {
	alice, aliceKey := identity(t)
	bob, bobKey := identity(t)
	file, err := New([]string{alice}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	first := open(t, file, aliceKey)
	old := first.Seal(nil, []byte("old"), nil)
	if file, err = first.Rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	second := open(t, file, aliceKey)
	if second.Current() == first.Current() || second.Keys() != 2 || second.Set() != first.Set() || second.Hash([]byte("x")) != first.Hash([]byte("x")) {
		t.Error("rotating did not add a key, or changed the hash key")
	}
	if got, err := second.Open(nil, old, nil); err != nil || string(got) != "old" {
		t.Errorf("what the old key sealed: %q %v", got, err)
	}
	if _, err := first.Open(nil, second.Seal(nil, []byte("new"), nil), nil); !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), second.Current()) {
		t.Errorf("what the new key sealed, with the old keyring: %v", err)
	}
	if !second.Covers(first) || first.Covers(second) {
		t.Error("which keyring covers which")
	}
	if file, err = second.Rewrap([]string{bob}); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, file, bobKey).Open(nil, old, nil); err != nil || string(got) != "old" {
		t.Errorf("rewrapped: %q %v", got, err)
	}
	if _, err := Open(file, strings.NewReader(aliceKey)); err == nil || !strings.Contains(err.Error(), "not wrapped for this identity") {
		t.Errorf("with the identity of a recipient removed: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	pub, priv := identity(t)
	file, err := New([]string{pub}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := New([]string{pub}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if open(t, file, priv).Hash([]byte("x")) == open(t, other, priv).Hash([]byte("x")) {
		t.Error("two keyrings name content alike")
	}
	if _, err := New(nil, time.Now()); err == nil || !strings.Contains(err.Error(), "recipient") {
		t.Errorf("no recipient: %v", err)
	}
	if _, err := New([]string{priv}, time.Now()); err == nil || strings.Contains(err.Error(), priv) {
		t.Errorf("a secret key as recipient: %v", err)
	}
	damaged := bytes.Clone(file)
	damaged[len(damaged)/2] ^= 1
	for name, c := range map[string]struct {
		file       []byte
		identities io.Reader
		says       string
	}{
		"not a keyring": {[]byte("hello"), strings.NewReader(priv), "not a keyring"},
		"no identity":   {file, strings.NewReader("hello"), "identity file"},
		"damaged":       {damaged, strings.NewReader(priv), "damaged"},
		"cut off":       {file[:len(file)-40], strings.NewReader(priv), "damaged"},
	} {
		if _, err := Open(c.file, c.identities); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error saying %q", name, err, c.says)
		}
	}
}

// FuzzOpen feeds the reader of keyring files anything.
func FuzzOpen(f *testing.F) {
	pub, priv := identity(f)
	file, err := New([]string{pub}, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := Open(b, strings.NewReader(priv)); err == nil && k.Keys() == 0 {
			t.Fatal("a keyring without keys was opened")
		}
	})
}

func BenchmarkHash(b *testing.B) {
	pub, priv := identity(b)
	file, _ := New([]string{pub}, time.Now())
	k := open(b, file, priv)
	content := make([]byte, 128<<10)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		k.Hash(content)
	}
}

func BenchmarkSeal(b *testing.B) {
	pub, priv := identity(b)
	file, _ := New([]string{pub}, time.Now())
	k := open(b, file, priv)
	content := make([]byte, 128<<10)
	var dst []byte
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		dst = k.Seal(dst[:0], content, nil)
	}
}

// However a keyring is printed or logged, its keys are not in it.
func TestKeyringPrintsNoKeys(t *testing.T) {
	k, err := newKeyring(secret{HashKey: bytes.Repeat([]byte{0xab}, 32), Keys: []dataKey{{Key: bytes.Repeat([]byte{0xcd}, 32)}}})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "keys", k)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %d %x", k, k, k, k, k, k), fmt.Sprint(k), log.String()} {
		if !strings.Contains(text, k.Set()) || strings.Contains(text, "abab") || strings.Contains(text, "cdcd") || strings.Contains(text, "171") {
			t.Errorf("printed: %s", text)
		}
	}
}
