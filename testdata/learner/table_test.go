package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/train"
)

// TestWriteTables: a trainer reads what a fold's snapshots hold, a missing value
// as missing, and the second time nothing is written.
func TestWriteTables(t *testing.T) {
	made := 0
	rows := func(emit func(snapshot) error) error {
		made++
		for _, s := range []snapshot{
			{true, 7, 16000, []float64{1.5, none}},
			{false, 8, 16007, []float64{-2e-7, 3}},
		} {
			if err := emit(s); err != nil {
				return err
			}
		}
		return nil
	}
	dir := t.TempDir()
	f := fold{name: "x", features: []string{"a", "b"}, train: rows, test: rows}
	for range 2 {
		got, err := writeTables(t.Context(), dir, f)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]bool{true, false}, got.label); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]int{7, 8}, got.component); diff != "" {
			t.Error(diff)
		}
	}
	if made != 2 {
		t.Errorf("the snapshots were made %d times for two tables", made)
	}
	text, err := os.ReadFile(filepath.Join(dir, "train.csv"))
	if err != nil {
		t.Fatal(err)
	}
	want := "fails,a,b,component,time\n1,1.5,nan,7,16000\n0,-2e-07,3,8,16007\n"
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	d, err := train.ReadDataset(t.Context(), filepath.Join(dir, "train.csv"), train.Spec{
		Label: labelColumn, Drop: []string{componentColumn, timeColumn}, Objective: train.Binary,
	})
	if err != nil || d.Rows() != 2 || d.Positives() != 1 {
		t.Errorf("read back: %v (%v)", d, err)
	}
}

func TestWithoutHeader(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := os.WriteFile(from, []byte("a,b\n1,2\n3,4\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := withoutHeader(from, to); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(to); string(got) != "1,2\n3,4\n" {
		t.Errorf("%q", got)
	}
}
