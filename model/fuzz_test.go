package model

import (
	"bytes"
	"math"
	"testing"
	"time"
)

// FuzzReadEnsemble: no text makes the reader panic or hoard memory, and a model
// that is accepted evaluates to a number, explains itself and gets the same
// verdict from leaves.
func FuzzReadEnsemble(f *testing.F) {
	text := golden(f)
	f.Add(text)
	f.Add(bytes.Replace(text, []byte("right_child=1 -3"), []byte("right_child=9 -3"), 1))
	f.Add(bytes.Replace(text, []byte("num_leaves=3"), []byte("num_leaves=1000000000"), 1))
	f.Add(bytes.Replace(text, []byte("cat_boundaries=0 2"), []byte("cat_boundaries=0 1"), 1))
	f.Add(bytes.Replace(text, []byte("num_cat=1"), []byte("num_cat=1000000000"), 1))
	f.Add(bytes.Replace(text, []byte("version=v4"), []byte("version=v3"), 1))
	f.Add(bytes.Replace(text, []byte("max_feature_idx=3"), []byte("max_feature_idx=16777215"), 1))
	f.Add(text[:len(text)/2])
	f.Add(bytes.ReplaceAll(text, []byte("\n\n\n"), []byte("\n\n\n\n")))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := ReadEnsemble(bytes.NewReader(text))
		if err != nil {
			return
		}
		if nodes := len(e.nodes); nodes > len(text) {
			t.Fatalf("%d nodes from %d bytes", nodes, len(text))
		}
		for _, c := range e.program.categorical {
			if len(c.table) > setsPerColumn*len(c.sets) {
				t.Fatalf("a table of %d keys for %d sets", len(c.table), len(c.sets))
			}
		}
		row, dst := make([]float64, e.NumFeatures()), make([]float64, e.NumFeatures()+1)
		for _, v := range []float64{0, nan, -1, 33, 1e300, math.Inf(1), math.Inf(-1)} {
			for i := range row {
				row[i] = v
			}
			raw, err := e.Raw(row)
			if err != nil || math.IsNaN(raw) || math.IsInf(raw, 0) {
				t.Fatalf("score %v, %v", raw, err)
			}
			if want := e.definition(row); raw != want {
				t.Fatalf("row of %v: score %v, by definition %v", v, raw, want)
			}
			if err := e.Contributions(row, dst); err != nil && e.cover != nil {
				t.Fatal(err)
			}
		}
		card := Card{Format: CardFormat, Name: "x", Version: "1", Features: e.Features(), Horizon: Duration(time.Hour)}
		card.Calibration = Calibration{Method: Platt, Slope: 1}
		_, _ = New(text, card) // must not panic, whatever leaves makes of the text
	})
}

// FuzzReadCard: a card that is accepted is written and read back the same.
func FuzzReadCard(f *testing.F) {
	card := smallCard()
	text, err := card.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":1,"name":"a","version":"b","features":["x"],"horizon":"1m"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		card, err := ReadCard(bytes.NewReader(text))
		if err != nil {
			return
		}
		once, err := card.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ReadCard(bytes.NewReader(once))
		if err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
		twice, err := again.encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v\n%s\n%s", err, once, twice)
		}
	})
}
