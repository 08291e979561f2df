// Package seal encrypts what a checkpoint store keeps. The nouns:
//
//   - A data key is an AES-256 key. What it has sealed names it.
//   - A keyring is the data keys of a cluster, the newest of which seals, and one
//     hash key, by which chunks get names that tell nobody what is in them.
//   - A keyring file is a keyring encrypted to recipients (age, X25519): any of
//     their identities opens it. Adding or removing recipients wraps it anew;
//     rotating the data key leaves what is sealed readable.
//
// What it does not do: it keeps no identities, writes no files and logs nothing.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/zeebo/blake3"
)

// What goes wrong with keys.
var (
	// ErrUnknownKey: the data key that sealed it is not in the keyring.
	ErrUnknownKey = errors.New("the keyring lacks the key")
	// ErrForged: it is not what the key has sealed: damaged, or put together by
	// somebody who does not have the key.
	ErrForged = errors.New("authentication failed")
)

// Overhead is by how many bytes sealing makes a text longer: name of the key,
// nonce, tag.
const Overhead = idLen + 12 + 16

const idLen = 8

// keyID names a data key in public.
type keyID [idLen]byte

func (id keyID) String() string { return hex.EncodeToString(id[:]) }

// Keyring seals and opens. Its methods may be called at once from any
// goroutine.
type Keyring struct {
	secret  secret
	aeads   map[keyID]cipher.AEAD
	current keyID
	hashKey [32]byte
	cutKey  [32]byte
	hashers sync.Pool
}

// newKeyring prepares what is in s.
func newKeyring(s secret) (*Keyring, error) {
	if len(s.Keys) == 0 || len(s.HashKey) != 32 {
		return nil, errors.New("keyring has no keys")
	}
	k := &Keyring{secret: s, aeads: make(map[keyID]cipher.AEAD), hashKey: [32]byte(s.HashKey)}
	k.hashers.New = func() any {
		h, err := blake3.NewKeyed(s.HashKey)
		if err != nil {
			panic(err) // a key of 32 bytes is right
		}
		return h
	}
	blake3.DeriveKey("forestall 2026-11 where checkpoint files are cut", s.HashKey, k.cutKey[:])
	for _, key := range s.Keys {
		if len(key.Key) != 32 {
			return nil, fmt.Errorf("keyring has a key of %d bytes, want 32", len(key.Key))
		}
		block, err := aes.NewCipher(key.Key)
		if err != nil {
			return nil, err
		}
		id := idOf(key.Key)
		if k.aeads[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
		k.current = id
	}
	return k, nil
}

// idOf is public: a one-way function of the key.
func idOf(key []byte) (id keyID) {
	blake3.DeriveKey("forestall 2026-11 name of a checkpoint data key", key, id[:])
	return id
}

// Hash names content: its BLAKE3-256 under the hash key.
func (k *Keyring) Hash(content []byte) (sum [32]byte) {
	h := k.hashers.Get().(*blake3.Hasher)
	defer k.hashers.Put(h)
	h.Reset()
	_, _ = h.Write(content)
	h.Sum(sum[:0])
	return sum
}

// CutKey makes the places where files are cut depend on a secret, so that the
// lengths of chunks do not give away which known file it is.
func (k *Keyring) CutKey() []byte { return append([]byte(nil), k.cutKey[:]...) }

// Current names the data key that seals, in public.
func (k *Keyring) Current() string { return k.current.String() }

// Set names the keyring in public, whichever data keys it has.
func (k *Keyring) Set() string {
	var id keyID
	blake3.DeriveKey("forestall 2026-11 name of a checkpoint keyring", k.hashKey[:], id[:])
	return id.String()
}

// LogValue shows a keyring's public name and nothing of its keys.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue("keyring " + k.Set()) }

// Format prints what LogValue shows, whatever the verb.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "keyring "+k.Set()) }

// Keys returns how many data keys there are.
func (k *Keyring) Keys() int { return len(k.aeads) }

// Seal appends text, sealed with the newest data key and bound to context, to
// dst. A data key may seal 2^32 texts: nonces are random.
func (k *Keyring) Seal(dst, text, context []byte) []byte {
	dst = append(dst, k.current[:]...)
	return k.aeads[k.current].Seal(dst, nil, text, context)
}

// Open appends the text that was sealed in the context to dst. Errors wrap
// [ErrUnknownKey] or [ErrForged].
func (k *Keyring) Open(dst, sealed, context []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return dst, fmt.Errorf("%w: it is cut off", ErrForged)
	}
	id := keyID(sealed[:idLen])
	aead, ok := k.aeads[id]
	if !ok {
		return dst, fmt.Errorf("%w %s; this one has %d, the newest %s", ErrUnknownKey, id, len(k.aeads), k.current)
	}
	out, err := aead.Open(dst, nil, sealed[idLen:], context)
	if err != nil {
		return dst, fmt.Errorf("%w with key %s", ErrForged, id)
	}
	return out, nil
}

// KeyOf names the key that sealed it, in public; "" when it is cut off.
func KeyOf(sealed []byte) string {
	if len(sealed) < idLen {
		return ""
	}
	return keyID(sealed[:idLen]).String()
}
