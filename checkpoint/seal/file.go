package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// header is the first line of a keyring file; an armored age file follows.
const header = "forestall checkpoint keys 1\n"

// secret is what a keyring file holds, as JSON.
type secret struct {
	HashKey    []byte    `json:"hash_key"`
	Keys       []dataKey `json:"keys"` // the last seals
	Recipients []string  `json:"recipients"`
}

type dataKey struct {
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`
}

func newKey() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}

// New returns the file of a new keyring, which the recipients' identities open.
// Recipients are public keys such as "age1...".
func New(recipients []string, now time.Time) (file []byte, err error) {
	return secret{HashKey: newKey(), Keys: []dataKey{{now.UTC(), newKey()}}, Recipients: recipients}.wrap()
}

// wrap encrypts a keyring to its recipients.
func (s secret) wrap() ([]byte, error) {
	if len(s.Recipients) == 0 {
		return nil, errors.New("a keyring needs at least one recipient, such as age1...; age-keygen makes one")
	}
	var to []age.Recipient
	for _, r := range s.Recipients {
		x, err := age.ParseX25519Recipient(r)
		if err != nil {
			return nil, fmt.Errorf("recipient %q: want a public key such as age1..., as age-keygen prints it", public(r))
		}
		to = append(to, x)
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	out := bytes.NewBufferString(header)
	text := armor.NewWriter(out)
	w, err := age.Encrypt(text, to...)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = errors.Join(w.Close(), text.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("wrap keyring: %w", err)
	}
	return out.Bytes(), nil
}

// public is what may be shown of what should be a public key.
func public(recipient string) string {
	if strings.HasPrefix(strings.ToUpper(recipient), "AGE-SECRET-KEY") {
		return "(a secret key)"
	}
	return recipient[:min(len(recipient), 80)]
}

// maxFile bounds a keyring file: some 1,000 keys and recipients.
const maxFile = 1 << 20

// Open reads a keyring file with identities, which are lines such as
// "AGE-SECRET-KEY-1...", as age-keygen writes them. Errors name neither file and
// show nothing of their content.
func Open(file []byte, identities io.Reader) (*Keyring, error) {
	if len(file) > maxFile || !bytes.HasPrefix(file, []byte(header)) {
		return nil, fmt.Errorf("it is not a keyring: it does not begin with %q", strings.TrimSpace(header))
	}
	ids, err := age.ParseIdentities(identities)
	if err != nil {
		return nil, errors.New("the identity file is not one: want lines such as AGE-SECRET-KEY-1..., as age-keygen writes them")
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(file[len(header):])), ids...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, errors.New("the keyring is not wrapped for this identity; use another, or let somebody who can open it add this one's recipient")
	}
	if err != nil {
		return nil, fmt.Errorf("the keyring is damaged: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return nil, fmt.Errorf("the keyring is damaged: %w", err)
	}
	var s secret
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return nil, errors.New("the keyring holds something else")
	}
	return newKeyring(s)
}

// Recipients returns for whom the keyring is wrapped.
func (k *Keyring) Recipients() []string { return append([]string(nil), k.secret.Recipients...) }

// Rewrap returns a file with the same keys for other recipients. Who could open
// the old file still knows the keys in it: rotate as well to keep them from what
// is sealed from now on.
func (k *Keyring) Rewrap(recipients []string) (file []byte, err error) {
	s := k.secret
	s.Recipients = recipients
	return s.wrap()
}

// Rotate returns a file with a new data key, which seals from now on; what the
// others have sealed stays readable. Every node needs the file before the first
// seals with it.
func (k *Keyring) Rotate(now time.Time) (file []byte, err error) {
	s := k.secret
	s.Keys = append(append([]dataKey(nil), s.Keys...), dataKey{now.UTC(), newKey()})
	return s.wrap()
}

// Covers reports whether k has every key of other, of the same keyring.
func (k *Keyring) Covers(other *Keyring) bool {
	if k.hashKey != other.hashKey {
		return false
	}
	for id := range other.aeads {
		if _, ok := k.aeads[id]; !ok {
			return false
		}
	}
	return true
}
