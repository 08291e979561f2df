package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/builtin"
)

// TestFilesAreGenerated: what is embedded is what the tables give today.
func TestFilesAreGenerated(t *testing.T) {
	dir := t.TempDir()
	if err := generate(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gpu/model.txt", "gpu/card.json", "node/model.txt", "node/card.json"} {
		fresh, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fresh, kept) {
			t.Errorf("%s differs from its table; run: go generate ./predict/builtin", name)
		}
	}
}

// TestModelsFitTheirSchemas: every feature of a rule exists, and the models say
// that they are hand-made.
func TestModelsFitTheirSchemas(t *testing.T) {
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		m, err := builtin.Builtin(kind)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := predict.SchemaFor(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range m.Features() {
			if _, ok := schema.Index(name); !ok {
				t.Errorf("%s: no feature %s in schema %s", kind, name, schema.Version())
			}
		}
		if m.Card.Training.Notes != notes {
			t.Errorf("%s: notes are %q", kind, m.Card.Training.Notes)
		}
	}
	if _, err := builtin.Builtin(forestall.KindAgent); err == nil {
		t.Error("there is a model for agents")
	}
}
