package checkpoint

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint/seal"
)

// aKeyring returns a new keyring, and what opens its file.
func aKeyring(t testing.TB) (k *seal.Keyring, identity string) {
	t.Helper()
	id := must[*age.X25519Identity](t)(age.GenerateX25519Identity())
	file := must[[]byte](t)(seal.New([]string{id.Recipient().String()}, time.Now()))
	return must[*seal.Keyring](t)(seal.Open(file, strings.NewReader(id.String()))), id.String()
}

// nowhere fails if any file of the store holds the text.
func nowhere(t *testing.T, d *Dir, text string) {
	t.Helper()
	err := filepath.WalkDir(d.path, func(p string, de fs.DirEntry, err error) error {
		if err == nil && de.Type().IsRegular() {
			if b, rerr := os.ReadFile(p); rerr == nil && bytes.Contains(b, []byte(text)) {
				t.Errorf("%s shows %.40q", p, text)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEncryptedStore(t *testing.T) {
	t.Parallel()
	keys, identity := aKeyring(t)
	opt := small()
	opt.Compression = CompressionNone // so that what is not sealed can be seen
	opt.Keys = keys
	d, src := openDir(t, opt), state(t)
	reopen := func() {
		closeDir(t, d)
		d = must[*Dir](t)(OpenDir(d.path, opt))
	}
	defer func() { closeDir(t, d) }()
	save := func() forestall.Checkpoint {
		return must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	}
	restores := func(id string) {
		t.Helper()
		target := filepath.Join(t.TempDir(), "t")
		if err := d.Restore(t.Context(), id, target); err != nil {
			t.Fatal(err)
		}
		sameTree(t, readTree(t, src), readTree(t, target))
	}
	first := save()
	for _, text := range []string{"sorts between", "a-b", "weights", noise(1, 40<<10)[:64], "step 17 loss"} {
		nowhere(t, d, text)
	}
	restores(first.ID)
	if again := save(); again.Added != fileSize(t, d.manifestPath(again.ID)) {
		t.Errorf("%d bytes added for unchanged state", again.Added)
	}

	// A new data key: what the old one sealed is still shared.
	file := must[[]byte](t)(keys.Rotate(time.Now()))
	opt.Keys = must[*seal.Keyring](t)(seal.Open(file, strings.NewReader(identity)))
	reopen()
	writeFiles(t, src, map[string]string{"new": "after the rotation"})
	after := save()
	if after.Added > 4<<10 {
		t.Errorf("%d bytes added after a rotation", after.Added)
	}
	restores(after.ID)

	// With the keyring from before the rotation that cannot be read, and says so.
	opt.Keys = keys
	reopen()
	if err := d.Verify(t.Context(), after.ID); !errors.Is(err, ErrKey) || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "keyring lacks the key") {
		t.Errorf("with the old keyring: %v, want ErrKey", err)
	}
	if err := d.Verify(t.Context(), first.ID); err != nil {
		t.Errorf("what the old keyring has: %v", err)
	}
	if _, err := d.Scrub(t.Context(), 0); !errors.Is(err, ErrKey) {
		t.Errorf("scrub with the old keyring: %v, want ErrKey", err)
	}
	if _, err := d.GC(t.Context()); !errors.Is(err, ErrKey) {
		t.Errorf("GC with the old keyring: %v, want ErrKey", err)
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(d.path, rotDir))); len(left) > 0 {
		t.Errorf("chunks were put aside for want of a key: %v", left)
	}

	other, _ := aKeyring(t)
	for name, k := range map[string]*seal.Keyring{"without keys": nil, "with another keyring": other} {
		wrong := opt
		wrong.Keys = k
		closeDir(t, d)
		if _, err := OpenDir(d.path, wrong); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), keys.Set()) || !strings.Contains(err.Error(), "encryption_keyring") {
			t.Errorf("opened %s: %v, want ErrKey with the keyring's name and the remedy", name, err)
		}
		d = must[*Dir](t)(OpenDir(d.path, opt))
	}
}

// A store that becomes encrypted leans on nothing that is not.
func TestStoreBecomesEncrypted(t *testing.T) {
	t.Parallel()
	opt := rested()
	opt.Compression = CompressionNone
	d, src := openDir(t, opt), t.TempDir()
	defer func() { closeDir(t, d) }()
	writeFiles(t, src, map[string]string{"f": "an open secret " + noise(4, 20<<10)})
	mem := "another one " + noise(5, 9<<10)
	regions := func(base string) (forestall.Checkpoint, error) {
		return d.SaveRegions(t.Context(), Regions{Workload: "m", Base: base, Regions: []Region{{Name: "heap", Size: int64(len(mem)), Content: strings.NewReader(mem)}}})
	}
	plain := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	plainRegion := must[forestall.Checkpoint](t)(regions(""))
	closeDir(t, d)
	opt.Keys, _ = aKeyring(t)
	d = must[*Dir](t)(OpenDir(d.path, opt))
	for _, id := range []string{plain.ID, plainRegion.ID} {
		if err := d.Verify(t.Context(), id); err != nil {
			t.Errorf("what was there before: %v", err)
		}
	}
	sealed := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	if _, err := regions(plainRegion.ID); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "not encrypted") {
		t.Errorf("on a base that is not encrypted: %v, want ErrNotFound", err)
	}
	sealedRegion := must[forestall.Checkpoint](t)(regions(""))
	for _, id := range []string{plain.ID, plainRegion.ID} {
		if err := d.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	nowhere(t, d, "open secret")
	nowhere(t, d, "another one")
	for _, id := range []string{sealed.ID, sealedRegion.ID} {
		if err := d.Verify(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

// Peers need the same keyring, and say so.
func TestPushOfSealedChunks(t *testing.T) {
	t.Parallel()
	opt := small()
	opt.Keys, _ = aKeyring(t)
	d := openDir(t, opt)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: state(t)}))
	push := func(peer Peer) error {
		cfg := DefaultReplicatorConfig()
		cfg.Self, cfg.ClusterSize = Peer{Name: "n1"}, func() int { return 2 }
		cfg.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r := must[*Replicator](t)(NewReplicator(d, cfg, func() []Peer { return []Peer{peer} }))
		_, err := r.Push(t.Context(), cp.ID)
		return err
	}
	keyless, stop := serve(t, openDir(t, small()))
	defer stop()
	if err := push(keyless); !errors.Is(err, ErrKey) || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "same keyring") {
		t.Errorf("push to a node without keys: %v, want ErrKey", err)
	}
	same := openDir(t, opt)
	peer, stopPeer := serve(t, same)
	defer stopPeer()
	if err := push(peer); err != nil {
		t.Error(err)
	}
	if err := same.Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
}

// What is in clear text does not get into an encrypted store, but for a
// checkpoint from before there were keys that a recovery asks for by its ID.
func TestClearIntoEncrypted(t *testing.T) {
	t.Parallel()
	opt := small()
	opt.Keys, _ = aKeyring(t)
	sealed, plain := openDir(t, opt), openDir(t, small())
	src := state(t)
	cp := must[forestall.Checkpoint](t)(plain.Save(t.Context(), Snapshot{Workload: "w", Sequence: 99, Source: src}))
	p, stop := serve(t, sealed)
	defer stop()
	pushed := Copy(t.Context(), Remote(p, http.DefaultClient, time.Minute), Local(plain), cp.ID)
	put := Copy(t.Context(), Local(sealed), Local(plain), cp.ID)
	parcel := must[*Parcel](t)(plain.Parcel(cp.ID))
	defer parcel.Close()
	for how, err := range map[string]error{"push": pushed, "put": put, "take": sealed.Take(t.Context(), parcel)} {
		if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "keyring") {
			t.Errorf("%s: %v, want ErrKey with a remedy", how, err)
		}
	}
	nowhere(t, sealed, "sorts between")
	if _, known := sealed.newest("w"); known {
		t.Error("it is listed")
	}
	if err := sealed.TakeKnown(t.Context(), parcel); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "t")
	if err := sealed.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, readTree(t, src), readTree(t, target))
}

// An encrypted store whose keyset file has vanished is not opened without keys or
// with others.
func TestKeysetVanished(t *testing.T) {
	t.Parallel()
	opt := small()
	opt.Keys, _ = aKeyring(t)
	d := openDir(t, opt)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: state(t)}))
	closeDir(t, d)
	remove := func() {
		if err := os.Remove(filepath.Join(d.path, keysetFile)); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	other := small()
	other.Keys, _ = aKeyring(t)
	for name, o := range map[string]Options{"without keys": small(), "with others": other} {
		for how, open := range map[string]func(string, Options) (*Dir, error){"open": OpenDir, "read": OpenDirReadOnly} {
			if _, err := open(d.path, o); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), opt.Keys.Set()) {
				t.Errorf("%s %s: %v, want ErrKey naming the keyring", how, name, err)
			}
		}
	}
	for range 2 {
		d = must[*Dir](t)(OpenDir(d.path, opt))
		if err := d.Verify(t.Context(), cp.ID); err != nil {
			t.Error(err)
		}
		closeDir(t, d)
	}
	remove()
	if err := os.Remove(d.cataloguePath()); err != nil {
		t.Fatal(err)
	}
	// Nothing names the keyring any more, and what is sealed is not readable.
	d = must[*Dir](t)(OpenDir(d.path, small()))
	defer closeDir(t, d)
	if err := d.Verify(t.Context(), cp.ID); !errors.Is(err, ErrKey) {
		t.Errorf("verify: %v, want ErrKey", err)
	}
}
