package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/seal"
)

// bench is one run.
type bench struct {
	ctx             context.Context
	work            string
	binary, peerDir string
	short           bool
	size            int64
	scale           float64 // of bars in seconds: size over 1 GiB
	rounds          int
	workers         int

	gen    *generator
	mem    []byte // the state, as memory
	source string // the state, as files
	keys   keys

	tools            []*tool
	versions, absent []string
	samples          map[phase]map[string][]result // by name of the tool
	floors           []time.Duration               // klauspost's, of each round
	rows             []row
}

// keys is a keyring, and the files that the command needs to open it.
type keys struct {
	ring              *seal.Keyring
	keyring, identity string
}

func (b *bench) prepare() (err error) {
	b.gen = newGenerator(42)
	b.mem = b.gen.memory(b.size)
	b.source = filepath.Join(b.work, "state")
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if err := b.newKeys(); err != nil {
		return err
	}
	b.findPeers()
	// Ours are last: what they save has then rested, and is rested for all.
	for _, sealed := range []bool{false, true} {
		b.tools = append(b.tools, b.command(sealed), b.library(sealed))
	}
	return nil
}

func (b *bench) newKeys() error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	file, err := seal.New([]string{id.Recipient().String()}, time.Now())
	if err != nil {
		return err
	}
	k := keys{keyring: filepath.Join(b.work, "keyring"), identity: filepath.Join(b.work, "identity")}
	if err := os.WriteFile(k.keyring, file, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(k.identity, []byte(id.String()+"\n"), 0o600); err != nil {
		return err
	}
	if k.ring, err = seal.Open(file, strings.NewReader(id.String())); err != nil {
		return err
	}
	b.keys = k
	return nil
}

// open makes a store. In a short run its clock is an hour ahead, so that files
// have rested without anybody waiting for it.
func (b *bench) open(name string, sealed bool) (*checkpoint.Dir, error) {
	opt := checkpoint.DefaultOptions()
	opt.Workers = b.workers
	if sealed {
		opt.Keys = b.keys.ring
	}
	if b.short {
		opt.Now = func() time.Time { return time.Now().Add(time.Hour) }
	}
	return checkpoint.OpenDir(filepath.Join(b.work, name), opt)
}

// note adds a sample.
func (b *bench) note(p phase, r result) {
	if b.samples[p] == nil {
		b.samples[p] = make(map[string][]result)
	}
	b.samples[p][r.name] = append(b.samples[p][r.name], r)
}

// median is what a tool took in a phase; ok is false where it took no part.
func (b *bench) median(p phase, name string) (r result, ok bool) {
	all := b.samples[p][name]
	if len(all) == 0 {
		return r, false
	}
	return middle(all), true
}

// medians is what the peers took in a phase.
func (b *bench) medians(p phase) (out []result) {
	for _, t := range b.tools {
		if r, ok := b.median(p, t.name); ok && !t.ours {
			out = append(out, r)
		}
	}
	return out
}

func name(base string, sealed bool) string {
	if sealed {
		return base + ", encrypted"
	}
	return base
}

func must(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
