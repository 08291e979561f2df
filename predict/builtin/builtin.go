// Package builtin holds the models that Forestall ships with, as LightGBM text
// and cards. They are hand-made: their thresholds come from engineering
// judgement. Nothing in them is trained, and their probabilities are not
// calibrated on failures; they serve until a cluster's own history gives better
// ones.
//
// builtin/gen writes the files from a table of rules.
package builtin

import (
	"embed"
	"fmt"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/model"
)

//go:generate go run ./gen

//go:embed gpu node
var files embed.FS

// Builtin returns the shipped model for GPUs or for nodes; other kinds have
// none, which is an error.
func Builtin(kind forestall.Kind) (*model.Model, error) {
	switch kind {
	case forestall.KindGPU, forestall.KindNode:
	default:
		return nil, fmt.Errorf("there is no built-in model for components of kind %s; gpu and node have one", kind)
	}
	m, err := model.LoadFS(files, kind.String())
	if err != nil {
		return nil, fmt.Errorf("load the built-in %s model: %w", kind, err)
	}
	return m, nil
}
