package main

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/train"
)

// parsedTrain returns the command that the arguments of train mean, and the names of
// its flags.
func parsedTrain(t *testing.T, args ...string) (*trainCmd, map[string]bool) {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, kong.Vars{"default_config": "", "version": ""})
	if err != nil {
		t.Fatal(err)
	}
	command, err := parser.Parse(append([]string{"train"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]bool{}
	for _, f := range command.Selected().Flags {
		flags["--"+f.Name] = true
	}
	return &c.Train, flags
}

// required is the shortest command line.
var required = []string{"--table", "t", "--label", "l", "--out", "o"}

// The defaults of the flags are those of the package.
func TestTrainDefaults(t *testing.T) {
	c, _ := parsedTrain(t, required...)
	got, err := c.params()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(train.DefaultParams(), got); d != "" {
		t.Errorf("no flag (-DefaultParams +flags):\n%s", d)
	}
	c, _ = parsedTrain(t, append(required, "--start", "1")...)
	if got, err = c.params(); err != nil || got.SampleRows != 0.9 {
		t.Errorf("--start 1: a share of %v of the rows, %v; want 0.9", got.SampleRows, err)
	}
	c, _ = parsedTrain(t, append(required, "--goss", "0.2,0.1")...)
	if got, err = c.params(); err != nil || got.SampleRows != 1 || got.GOSSTop != 0.2 {
		t.Errorf("--goss alone: %+v, %v; want it to choose among all rows", got, err)
	}
}

// invalid returns for each field of a struct, but those named, a copy of it with
// a value there that no field accepts.
func invalid[T any](valid T, but ...string) map[string]T {
	broken := map[string]T{}
	for i := range reflect.TypeFor[T]().NumField() {
		name := reflect.TypeFor[T]().Field(i).Name
		v := valid
		f := reflect.ValueOf(&v).Elem().Field(i)
		switch f.Kind() {
		case reflect.Int:
			f.SetInt(-1)
		case reflect.Float64:
			f.SetFloat(math.NaN())
		case reflect.String:
			f.SetString("nonsense")
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]int{"nonsense": 1}))
		}
		broken[name] = v
	}
	for _, name := range but {
		delete(broken, name)
	}
	return broken
}

// Whatever is wrong with a parameter, the error begins with its flag.
func TestFlagErrors(t *testing.T) {
	_, flags := parsedTrain(t, required...)
	d, err := train.NewDataset([]string{"a"}, [][]float64{{1, 2, 3}}, []float64{0, 1, 0}, nil, train.Spec{Objective: train.Binary})
	if err != nil {
		t.Fatal(err)
	}
	errs := map[string]error{} // by what is wrong
	for name, p := range invalid(train.DefaultParams(), "Seed") {
		errs[name] = errors.Join(p.Validate(), p.ValidateFor(d))
	}
	for name, s := range invalid(train.Spec{Label: "l", Objective: train.Binary, MaxBin: 8}, "Label", "Drop", "Weight", "Categorical", "ZeroMissing", "Seed", "Base", "Progress") {
		errs["spec "+name] = s.Validate()
	}
	for name, b := range invalid(train.Bag{Members: 3, Negatives: 0.5, HalfLife: 1}) {
		errs["bag "+name] = b.Validate()
	}
	for _, s := range []train.Split{
		{Kind: train.ByTime, Holdout: 0.5},
		{Kind: train.Prequential, TrainWindow: 1, TestWindow: 1},
		{Kind: train.ByGroup, Folds: 3},
	} {
		for name, broken := range invalid(s, "Seed") {
			if err := broken.Validate(); err != nil {
				errs["split "+name] = err
			}
		}
	}
	for name := range invalid(train.Split{}, "Seed") {
		if errs["split "+name] == nil {
			t.Errorf("no split finds a wrong %s", name)
		}
	}
	for name, err := range errs {
		if err == nil {
			t.Errorf("%s: it is valid", name)
			continue
		}
		text := flagError(err).Error()
		first := text[:strings.IndexAny(text, " :")]
		if !flags[first] || strings.Contains(text, "_") {
			t.Errorf("%s: %q names no flag", name, text)
		}
	}
	for text, want := range map[string]string{
		"none of the 5 rows to train on is positive; lengthen the train_window": "none of the 5 rows to train on is positive; lengthen --train-window",
		"fold 1 (3 to 4): there are no rows to judge by; make fewer folds":      "fold 1 (3 to 4): there are no rows to judge by; make fewer folds",
		"3 of the 3 rows to train on are positive":                              "3 of the 3 rows to train on are positive",
	} {
		if got := flagError(errors.New(text)).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if flagError(nil) != nil {
		t.Error("no error became one")
	}
}
