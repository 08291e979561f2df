package model

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func smallCard() Card {
	return Card{
		Format: CardFormat, Name: "small", Version: "small-1", Kind: "gpu",
		Features: []string{"temp", "load", "none", "site"},
		Windows:  []Duration{Duration(10 * time.Second), Duration(time.Minute)},
		Horizon:  Duration(2 * time.Minute), Lead: Duration(5 * time.Second),
		Calibration: Calibration{Method: Platt, Slope: 0.01, Intercept: -1},
		Thresholds:  &Thresholds{Suspect: 0.1, Failing: 0.5},
		Training: Training{
			From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
			DataSHA256: strings.Repeat("0f", 32), Notes: "made for a test",
		},
		Trials: &Trials{
			Split: "by time", Metric: "ap", Mean: 0.5, Spread: 0.1, Searched: 9, Abandoned: 4, Ended: "interrupted",
			Folds:  []Fold{{Name: "hour 80 to 100", TrainRows: 800, TrainPositives: 8, Rows: 200, Positives: 2, Trees: 70, Value: 0.5}},
			Params: map[string]float64{"leaves": 15, "learning_rate": 0.05},
		},
		Reliability: &Reliability{
			Of: "the last 10 %", Rows: 100, Positives: 2, Unseen: true,
			Before: Probabilities{LogLoss: 0.2, Brier: 0.03, BrierSkill: -0.5, ECE: 0.1},
			After:  Probabilities{LogLoss: 0.1, Brier: 0.02, BrierSkill: 0.1, ECE: 0.01},
			Curve:  []ReliabilityPoint{{Rows: 98, Mean: 0.01, Observed: 0}, {Rows: 2, Mean: 0.5, Observed: 1}},
		},
		Unlike: &Unlike{
			Worst: 5, Clip: 100, Threshold: 2.5, Alarms: 1, Rows: 800, Days: 60,
			Levels: []Level{{"temp", 61, 7.5}, {"none", 0, 0.001}},
		},
		Metrics:  map[string]float64{"average_precision": 0.5},
		Monotone: map[string]int{"temp": 1, "load": -1},
	}
}

// TestSaveLoad: a model comes back as it was saved, over an older one too, and
// nothing else is left in the directory.
func TestSaveLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "model")
	old := smallCard()
	old.Version = "small-0"
	for _, card := range []Card{old, smallCard()} {
		if err := Save(dir, golden(t), card); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := smallCard()
	want.TreesSHA256 = Digest(golden(t))
	if d := cmp.Diff(want, m.Card); d != "" {
		t.Errorf("card (-want +got):\n%s", d)
	}
	p, err := m.Probability([]float64{50, 1, -1, 0}) // 121.5
	if want := Sigmoid(0.01*121.5 - 1); err != nil || p != want {
		t.Errorf("probability %v, %v; want %v", p, err, want)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("files %v, %v", files, err)
	}
}

// TestSaveRefuses: what Load would refuse is not written, and the old model
// stays.
func TestSaveRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := Save(dir, golden(t), smallCard()); err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, golden(t)[:200], smallCard()); !errors.Is(err, ErrFormat) {
		t.Errorf("error %v", err)
	}
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
}

func TestLoadErrors(t *testing.T) {
	card := smallCard()
	card.TreesSHA256 = Digest(golden(t))
	encode := func(change func(*Card)) []byte {
		c := smallCard() // what it points at is its own
		c.TreesSHA256 = card.TreesSHA256
		change(&c)
		b, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := encode(func(*Card) {})
	for _, c := range []struct {
		name       string
		trees      []byte
		card       []byte
		want       error
		mentioning string
	}{
		{"good", golden(t), good, nil, ""},
		{"no card", golden(t), nil, fs.ErrNotExist, "card.json"},
		{"no trees", nil, good, fs.ErrNotExist, "model.txt"},
		{"other trees", append(golden(t), '\n'), good, ErrMismatch, "SHA-256"},
		{"no digest", golden(t), encode(func(c *Card) { c.TreesSHA256 = "" }), ErrCard, "trees_sha256"},
		{"feature name", golden(t), encode(func(c *Card) { c.Features, c.Monotone = []string{"temp", "load", "none", "sight"}, nil }), ErrMismatch, "sight"},
		{"feature count", golden(t), encode(func(c *Card) { c.Features, c.Monotone, c.Unlike = []string{"temp"}, nil, nil }), ErrMismatch, "1"},
		{"not JSON", golden(t), []byte("{"), ErrCard, ""},
		{"unknown field", golden(t), bytes.Replace(good, []byte(`"name"`), []byte(`"nome"`), 1), ErrCard, "nome"},
		{"format", golden(t), bytes.Replace(good, []byte(`"format": 1`), []byte(`"format": 2`), 1), ErrCard, "format is 2"},
		{"twice", golden(t), append(good, good...), ErrCard, ""},
		{"horizon", golden(t), encode(func(c *Card) { c.Horizon = 0 }), ErrCard, "horizon"},
		{"windows", golden(t), encode(func(c *Card) { c.Windows = []Duration{2, 1} }), ErrCard, "windows"},
		{"thresholds", golden(t), encode(func(c *Card) { c.Thresholds = &Thresholds{Suspect: 0.5, Failing: 0.1} }), ErrCard, "thresholds"},
		{"monotone", golden(t), encode(func(c *Card) { c.Monotone = map[string]int{"temp": 2} }), ErrCard, "temp"},
		{"monotone name", golden(t), encode(func(c *Card) { c.Monotone = map[string]int{"x": 1} }), ErrCard, `"x"`},
		{"calibration", golden(t), encode(func(c *Card) { c.Calibration = Calibration{Method: "magic"} }), ErrCard, "magic"},
		{"folds", golden(t), encode(func(c *Card) { c.Trials.Folds = nil }), ErrCard, "trials folds is empty"},
		{"fold", golden(t), encode(func(c *Card) { c.Trials.Folds[0].Positives = 201 }), ErrCard, "fold 0 \"hour 80"},
		{"abandoned", golden(t), encode(func(c *Card) { c.Trials.Abandoned = 10 }), ErrCard, "10 of 9"},
		{"spread", golden(t), encode(func(c *Card) { c.Trials.Spread = -1 }), ErrCard, "spread is -1"},
		{"reliability", golden(t), encode(func(c *Card) { c.Reliability.Positives = 101 }), ErrCard, "101 positives of 100"},
		{"curve", golden(t), encode(func(c *Card) { c.Reliability.Curve[1].Mean = 0.001 }), ErrCard, "curve point 1"},
		{"unlike", golden(t), encode(func(c *Card) { c.Unlike.Threshold = 9.3 }), ErrCard, "unlike threshold is 9.3; it must be above 0 and below 9.21"},
		{"unlike none", golden(t), encode(func(c *Card) { c.Unlike.Levels = nil }), ErrCard, "unlike it has no levels"},
		{"unlike spread", golden(t), encode(func(c *Card) { c.Unlike.Levels[1].Spread = 0 }), ErrCard, `unlike level of "none"`},
		{"unlike feature", golden(t), encode(func(c *Card) { c.Unlike.Levels[0].Feature = "tmp" }), ErrCard, `unlike level of "tmp"`},
		{"unlike twice", golden(t), encode(func(c *Card) { c.Unlike.Levels[1].Feature = "temp" }), ErrCard, `unlike level of "temp"`},
		{"unlike days", golden(t), encode(func(c *Card) { c.Unlike.Days = 0 }), ErrCard, "0 days must be above 0"},
		{"unlike worst", golden(t), encode(func(c *Card) { c.Unlike.Worst = 0 }), ErrCard, "unlike worst is 0"},
		{"slope", golden(t), encode(func(c *Card) { c.Calibration = Calibration{Method: Platt, Slope: -1} }), ErrCard, "slope"},
		{"points", golden(t), encode(func(c *Card) {
			c.Calibration = Calibration{Method: Isotonic, Points: []Point{{0, 0.5}, {1, 0.4}}}
		}), ErrCard, "point 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			if c.trees != nil {
				fsys["m/model.txt"] = &fstest.MapFile{Data: c.trees}
			}
			if c.card != nil {
				fsys["m/card.json"] = &fstest.MapFile{Data: c.card}
			}
			_, err := LoadFS(fsys, "m")
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.mentioning) {
				t.Errorf("error %v; want %v mentioning %q", err, c.want, c.mentioning)
			}
		})
	}
}

// TestLoadNoFiles: what is in the place of a file and is none is not opened.
func TestLoadNoFiles(t *testing.T) {
	for _, mode := range []fs.FileMode{fs.ModeNamedPipe, fs.ModeSocket, fs.ModeDevice} {
		for name, want := range map[string]error{TreesFile: ErrFormat, CardFile: ErrCard} {
			fsys := fstest.MapFS{"m/model.txt": {Data: golden(t)}, "m/card.json": {Data: []byte("{")}}
			fsys["m/"+name].Mode = mode
			_, err := LoadFS(fsys, "m")
			if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), name+": ") || !strings.HasSuffix(err.Error(), ": it is a pipe, a socket or a device, not a file") {
				t.Errorf("%s, mode %v: error %v", name, mode, err)
			}
		}
	}
}

// TestRegressionNeedsCalibration: a regression score is no probability.
func TestRegressionNeedsCalibration(t *testing.T) {
	text := bytes.Replace(golden(t), []byte("objective=binary sigmoid:1"), []byte("objective=regression"), 1)
	card := smallCard()
	if _, err := New(text, card); err != nil {
		t.Error(err)
	}
	card.Calibration = Calibration{}
	if _, err := New(text, card); !errors.Is(err, ErrNoProbability) {
		t.Errorf("error %v", err)
	}
	card.Kind, card.Horizon = "", 0
	m, err := New(text, card)
	if err != nil {
		t.Fatalf("a model of a plain table: %v", err)
	}
	if _, err := m.Probability(make([]float64, m.NumFeatures())); !errors.Is(err, ErrNoProbability) {
		t.Errorf("probability of a regression: error %v", err)
	}
	if err := m.Probabilities(nil, nil); !errors.Is(err, ErrNoProbability) {
		t.Errorf("error %v", err)
	}
}

// TestSecondOpinion: an evaluator that differs is found out, wherever the
// difference is. It stands for a defect in ours.
func TestSecondOpinion(t *testing.T) {
	text := golden(t)
	if err := secondOpinion(text, mustRead(t, text)); err != nil {
		t.Fatal(err)
	}
	honest := mustRead(t, text)
	for i, n := range honest.nodes {
		lying := mustRead(t, text)
		switch {
		case n.meta&flagLeaf != 0:
			lying.nodes[i].threshold += 1e-6
		case n.meta&flagSet != 0:
			lying.sets[0] = []uint32{32, 2}
		default:
			lying.nodes[i].threshold += 1e-6
		}
		lying.compile()
		if err := secondOpinion(text, lying); !errors.Is(err, ErrSecondOpinion) {
			t.Errorf("node %d changed: error %v", i, err)
		}
		if n.meta&(flagLeaf|flagSet) != 0 || !slices.Contains(honest.roots, uint32(i)) {
			continue // below the root a missing value has been decided already
		}
		lying = mustRead(t, text)
		if n.meta&flagNaNZero != 0 {
			lying.nodes[i].meta ^= flagNaNZero
			if n.threshold < 0 {
				lying.nodes[i].meta ^= flagNaNLeft
			}
		} else {
			lying.nodes[i].meta ^= flagNaNLeft
		}
		lying.compile()
		if err := secondOpinion(text, lying); !errors.Is(err, ErrSecondOpinion) {
			t.Errorf("node %d sends missing values the other way: error %v", i, err)
		}
	}
	if err := secondOpinion([]byte("tree\n"), honest); !errors.Is(err, ErrSecondOpinion) {
		t.Errorf("error %v", err)
	}
}

var update = flag.Bool("update", false, "write testdata/card.json anew")

// TestCardGolden: the card's file reads as docs/format/model.md says. Write it
// anew with -update and read the difference.
func TestCardGolden(t *testing.T) {
	const name = "testdata/card.json"
	card := smallCard()
	card.TreesSHA256 = Digest(golden(t))
	got, err := card.encode()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// TestOldCard: a card from before trials and reliability were held loads.
func TestOldCard(t *testing.T) {
	const old = `{
  "format": 1, "name": "disk", "version": "0a1b2c3d4e5f", "features": ["wear", "temp"], "horizon": "240h0m0s",
  "calibration": {"method": "platt", "slope": 1, "intercept": -1.0986122886681098},
  "training": {"data_sha256": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "notes": "label fails; 1000 rows"},
  "metrics": {"valid_logloss": 0.1}, "monotone_constraints": {"wear": 1},
  "trees_sha256": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"
}`
	c, err := ReadCard(strings.NewReader(old))
	if err != nil || c.Trials != nil || c.Reliability != nil || c.Unlike != nil || c.Name != "disk" {
		t.Errorf("%+v, %v", c, err)
	}
}
