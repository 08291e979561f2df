package model

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// Any name that a table may have goes through the text and back.
func TestNames(t *testing.T) {
	features := []string{"Air temperature [K]", "a=b", "100%", "100%25", "%20", "tab\there", "two\nlines\r", "ü", `"quoted", x`}
	trees := []Tree{{
		Splits: []Split{{Feature: 1, Threshold: 1, Left: ^0, Right: ^1}},
		Leaves: []Leaf{{Value: 1, Count: 3}, {Value: 2, Count: 4}},
	}}
	var text bytes.Buffer
	if err := WriteEnsemble(&text, features, "binary sigmoid:1", trees); err != nil {
		t.Fatal(err)
	}
	e, err := ReadEnsemble(bytes.NewReader(text.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Features(); !slices.Equal(got, features) {
		t.Errorf("names %q, want %q", got, features)
	}
	if !strings.Contains(text.String(), "\nfeature_names=Air%20temperature%20[K] a%3Db 100%25 100%2525 %2520 tab%09here two%0Alines%0D ü ") {
		t.Errorf("the text is\n%s", &text)
	}
	// leaves reads it too, and a card takes the names as they are.
	if _, err := New(text.Bytes(), Card{Format: CardFormat, Name: "x", Version: "1", Features: features}); err != nil {
		t.Error(err)
	}
}
