package main

import (
	"testing"

	"github.com/stratoswarm/forestall/train"
)

// Why there are no more trees is said where it is not that so many were asked for.
func TestTextEnd(t *testing.T) {
	for want, r := range map[string]train.Result{
		"":                {},
		"; interrupted":   {Interrupted: true, Stopped: true},
		"; stopped early": {Stopped: true},
		"; no more, for their text would be larger than the 256 MiB that a model may have": {Full: true, Stopped: true},
	} {
		if got := (&fitted{Result: &r}).textEnd(); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
}
