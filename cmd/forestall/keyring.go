package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/stratoswarm/forestall/checkpoint/seal"
	"github.com/stratoswarm/forestall/internal/durable"
)

// keyringCmd is about the keys of encrypted checkpoint stores.
type keyringCmd struct {
	Identity keyringIdentityCmd `cmd:"" help:"Make an identity, which opens keyrings, and print its public recipient."`
	New      keyringNewCmd      `cmd:"" help:"Make a keyring for recipients."`
	Show     keyringShowCmd     `cmd:"" help:"Show a keyring's name, number of keys and recipients; no key is shown."`
	Rotate   keyringRotateCmd   `cmd:"" help:"Add a data key, which seals from now on."`
	Rewrap   keyringRewrapCmd   `cmd:"" help:"Wrap a keyring for other recipients."`
}

// Help adds to the command's help.
func (keyringCmd) Help() string {
	return "A keyring holds the data keys of a cluster's checkpoint stores, encrypted to one or more recipients (age). All nodes have the same keyring file and each an identity that opens it: checkpoint.encryption_keyring and checkpoint.encryption_identity. A lost keyring, or the loss of every identity, is the loss of what was sealed: keep a copy of both elsewhere."
}

type keyringIdentityCmd struct {
	Out string `required:"" type:"path" placeholder:"FILE" help:"Where to write it; not overwritten."`
}

func (c keyringIdentityCmd) Run(g *globals) error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	text := fmt.Sprintf("# recipient: %s\n%s\n", id.Recipient(), id)
	if err := durable.Create(durable.OS{}, c.Out, []byte(text)); err != nil {
		return err
	}
	_, err = fmt.Fprintln(g.out, id.Recipient())
	return err
}

type keyringNewCmd struct {
	Out       string   `required:"" type:"path" placeholder:"FILE" help:"Where to write it; not overwritten."`
	Recipient []string `required:"" placeholder:"age1..." help:"Public key of an identity that is to open it; once for each."`
}

func (c keyringNewCmd) Run(g *globals) error {
	file, err := seal.New(c.Recipient, g.now())
	if err != nil {
		return err
	}
	return durable.Create(durable.OS{}, c.Out, file)
}

// keyringFlags open a keyring.
type keyringFlags struct {
	File     string `arg:"" type:"existingfile" help:"The keyring."`
	Identity string `required:"" type:"existingfile" placeholder:"FILE" help:"Identity that opens it."`
}

func (f keyringFlags) open() (*seal.Keyring, error) {
	file, err := os.ReadFile(f.File)
	if err != nil {
		return nil, err
	}
	id, err := os.ReadFile(f.Identity)
	if err != nil {
		return nil, err
	}
	k, err := seal.Open(file, bytes.NewReader(id))
	if err != nil {
		return nil, fmt.Errorf("open %s with %s: %w", f.File, f.Identity, err)
	}
	return k, nil
}

type keyringShowCmd struct {
	keyringFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c keyringShowCmd) Run(g *globals) error {
	k, err := c.open()
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(g.out)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			Keyring    string   `json:"keyring"`
			Keys       int      `json:"keys"`
			Sealing    string   `json:"sealing_key"`
			Recipients []string `json:"recipients"`
		}{k.Set(), k.Keys(), k.Current(), k.Recipients()})
	}
	fmt.Fprintf(g.out, "keyring     %s\ndata keys   %d, of which %s seals\n", k.Set(), k.Keys(), k.Current())
	for _, r := range k.Recipients() {
		fmt.Fprintf(g.out, "recipient   %s\n", r)
	}
	return nil
}

type keyringRotateCmd struct{ keyringFlags }

func (c keyringRotateCmd) Run(g *globals) error {
	k, err := c.open()
	if err != nil {
		return err
	}
	file, err := k.Rotate(g.now())
	if err != nil {
		return err
	}
	if err := replaceSecret(c.File, file); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "%s has %d data keys now; bring it to every node, then restart the engines one after the other\n", c.File, k.Keys()+1)
	return nil
}

type keyringRewrapCmd struct {
	keyringFlags
	Recipient []string `required:"" placeholder:"age1..." help:"Public key of an identity that is to open it; once for each. Others no longer can."`
}

func (c keyringRewrapCmd) Run(g *globals) error {
	k, err := c.open()
	if err != nil {
		return err
	}
	file, err := k.Rewrap(c.Recipient)
	if err != nil {
		return err
	}
	if err := replaceSecret(c.File, file); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "%s is wrapped for %d recipients now; who could open it before may have kept its keys: rotate as well to shut them out of what is sealed from now on\n", c.File, len(c.Recipient))
	return nil
}

// replaceSecret writes a secret file anew in one step.
func replaceSecret(path string, b []byte) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	os.Remove(tmp)
	return durable.Replace(durable.OS{}, path, tmp, b)
}
