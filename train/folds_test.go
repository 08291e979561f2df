package train

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tiny is a dataset of one feature, the number of the row.
func tiny(t *testing.T, label ...float64) *Dataset {
	t.Helper()
	column := make([]float64, len(label))
	for i := range column {
		column[i] = float64(i)
	}
	d, err := NewDataset([]string{"row"}, [][]float64{column}, label, nil, Spec{Objective: Binary})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// everyOther labels n rows 0 and 1 in turn.
func everyOther(n int) []float64 {
	label := make([]float64, n)
	for i := range label {
		label[i] = float64(i % 2)
	}
	return label
}

func TestCutByTime(t *testing.T) {
	d := tiny(t, everyOther(10)...)
	rising := []float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for _, tc := range []struct {
		name         string
		time         []float64
		rows         []int
		holdout      float64
		embargo      float64
		train, valid []int
	}{
		{"in order", rising, nil, 0.2, 0, []int{0, 1, 2, 3, 4, 5, 6, 7}, []int{8, 9}},
		{"embargo", rising, nil, 0.2, 3, []int{0, 1, 2, 3, 4}, []int{8, 9}},
		{"newest first", []float64{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, nil, 0.2, 1, []int{9, 8, 7, 6, 5, 4, 3}, []int{1, 0}},
		{"one time stays together", []float64{0, 0, 1, 1, 2, 2, 3, 3, 3, 3}, nil, 0.2, 0, []int{0, 1, 2, 3, 4, 5}, []int{6, 7, 8, 9}},
		{"of some rows", rising, []int{0, 1, 2, 3, 4, 5}, 0.34, 0, []int{0, 1, 2, 3}, []int{4, 5}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rows := tc.rows
			if rows == nil {
				rows = d.AllRows()
			}
			s := Split{Kind: ByTime, Holdout: tc.holdout, Embargo: tc.embargo}
			folds, err := s.Cut(d, Keys{Time: tc.time}, rows)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([][]int{tc.train, tc.valid}, [][]int{folds[0].Train, folds[0].Valid}); diff != "" {
				t.Errorf("train and valid (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCutPrequential(t *testing.T) {
	d := tiny(t, everyOther(20)...)
	var k Keys
	for i := range 20 {
		k.Time = append(k.Time, float64(i))
	}
	s := Split{Kind: Prequential, TrainWindow: 8, TestWindow: 4, Embargo: 1}
	folds, err := s.Cut(d, k, d.AllRows())
	if err != nil {
		t.Fatal(err)
	}
	want := []Fold{
		{Name: "9 to 13", Train: []int{0, 1, 2, 3, 4, 5, 6, 7}, Valid: []int{9, 10, 11, 12}},
		{Name: "13 to 17", Train: []int{4, 5, 6, 7, 8, 9, 10, 11}, Valid: []int{13, 14, 15, 16}},
		{Name: "17 to 21", Train: []int{8, 9, 10, 11, 12, 13, 14, 15}, Valid: []int{17, 18, 19}},
	}
	if diff := cmp.Diff(want, folds); diff != "" {
		t.Errorf("folds (-want +got):\n%s", diff)
	}
	// A window of which only two hours of five are there is left out.
	s.TestWindow = 5
	if folds, err = s.Cut(d, k, d.AllRows()); err != nil || len(folds) != 2 {
		t.Errorf("%d folds, %v", len(folds), err)
	}
	if got := s.Newest(k, d.AllRows()); !slices.Equal(got, []int{12, 13, 14, 15, 16, 17, 18, 19}) {
		t.Errorf("the last window holds %v", got)
	}
}

// A time in microseconds is told with all of its digits.
func TestSpan(t *testing.T) {
	hours := ParseTimeUnit("hours")
	hours.Text = true
	for want, tc := range map[string]struct {
		unit       TimeUnit
		begin, end float64
	}{
		"1577836800000000 to 1577836800000000.5":           {TimeUnit{}, 1577836800000000, 1577836800000000.5},
		"-0.1 to 30":                                       {ParseTimeUnit("hours"), -0.1, 30},
		"1969-12-31T23:30:00Z to 2020-01-01T00:00:00.036Z": {hours, -0.5, 438288.00001},
	} {
		if got := (Keys{Unit: tc.unit}).span(tc.begin, tc.end); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Components stay whole, each judges once, and positives are shared out evenly.
func TestCutByGroup(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var k Keys
	var label []float64
	for component := range 40 {
		for range 1 + rng.IntN(9) {
			k.Group = append(k.Group, component)
			y := 0.0
			if component < 8 { // each has one positive row
				y = 1
			}
			label = append(label, y)
		}
	}
	d := tiny(t, label...)
	s := Split{Kind: ByGroup, Folds: 4, Seed: 3}
	folds, err := s.Cut(d, k, d.AllRows())
	if err != nil {
		t.Fatal(err)
	}
	judged := map[int]int{}
	for i, f := range folds {
		trained := map[int]bool{}
		for _, row := range f.Train {
			trained[k.Group[row]] = true
		}
		for _, row := range f.Valid {
			judged[row]++
			if trained[k.Group[row]] {
				t.Fatalf("fold %d: component %d trains and judges", i, k.Group[row])
			}
		}
		if len(f.Train)+len(f.Valid) != d.Rows() {
			t.Errorf("fold %d: %d rows train and %d judge of %d", i, len(f.Train), len(f.Valid), d.Rows())
		}
		if n := len(f.Valid); n < d.Rows()/4-4 || n > d.Rows()/4+4 {
			t.Errorf("fold %d has %d of %d rows", i, n, d.Rows())
		}
		if p := d.PositivesOf(f.Valid); p < 8 || p > 17 {
			t.Errorf("fold %d has %d of %d positives", i, p, d.Positives())
		}
	}
	if len(judged) != d.Rows() {
		t.Errorf("%d of %d rows judge", len(judged), d.Rows())
	}
	again, err := s.Cut(d, k, d.AllRows())
	if err != nil || cmp.Diff(folds, again) != "" {
		t.Errorf("the same split differs: %v", err)
	}
}

func TestCutErrors(t *testing.T) {
	rising := make([]float64, 12)
	group := make([]int, 12)
	for i := range rising {
		rising[i], group[i] = float64(i), i/3
	}
	k := Keys{Time: rising, Group: group}
	early := tiny(t, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)
	for want, s := range map[string]Split{
		"holdout is 1":                  {Kind: ByTime, Holdout: 1},
		"embargo is -1":                 {Kind: ByTime, Holdout: 0.5, Embargo: -1},
		"train_window is 0":             {Kind: Prequential, TestWindow: 1},
		"test_window is 0":              {Kind: Prequential, TrainWindow: 1},
		"folds is 1":                    {Kind: ByGroup, Folds: 1},
		`split is "random"; it must be`: {Kind: "random"},
		"fold 1 (9 to 11): none of the 3 rows to judge by is positive; hold out more":           {Kind: ByTime, Holdout: 0.25},
		"fold 1 (6 to 11): there are no rows to train on; hold out less":                        {Kind: ByTime, Holdout: 0.5, Embargo: 6},
		"fold 1 (4 to 8): none of the 4 rows to judge by is positive; lengthen the test_window": {Kind: Prequential, TrainWindow: 4, TestWindow: 4},
		"no room for a train_window of 20":                                                      {Kind: Prequential, TrainWindow: 20, TestWindow: 1},
		"makes 10995 folds":                                                                     {Kind: Prequential, TrainWindow: 0.5, TestWindow: 0.000955},
		"the number of components that have any is 2 of 4; make at most 2 folds":                {Kind: ByGroup, Folds: 3},
		"the number of components is 4; make at most 4 folds":                                   {Kind: ByGroup, Folds: 5},
	} {
		if _, err := s.Cut(early, k, early.AllRows()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v does not say %q", s, err, want)
		}
	}
	for _, s := range []Split{{Kind: ByTime, Holdout: 0.5}, {Kind: ByGroup, Folds: 2}} {
		if _, err := s.Cut(early, Keys{}, early.AllRows()); err == nil || !strings.Contains(err.Error(), "needs the") {
			t.Errorf("%s without keys: %v", s.Kind, err)
		}
	}
}

func TestHold(t *testing.T) {
	d := tiny(t, everyOther(100)...)
	var k Keys
	for i := range 100 {
		k.Time, k.Group = append(k.Time, float64(i)), append(k.Group, i/5)
	}
	rest, held, err := Split{Kind: ByTime, Embargo: 5}.Hold(k, d.AllRows(), 0.1)
	if err != nil || len(held) != 10 || held[0] != 90 || len(rest) != 85 || rest[84] != 84 {
		t.Errorf("by time: %d rest, held %v, %v", len(rest), held, err)
	}
	rest, held, err = Split{Kind: ByGroup, Seed: 7}.Hold(k, d.AllRows(), 0.1)
	if err != nil || len(held) != 10 || len(rest) != 90 {
		t.Fatalf("by group: %d rest, held %v, %v", len(rest), held, err)
	}
	for _, row := range rest {
		if k.Group[row] == k.Group[held[0]] || k.Group[row] == k.Group[held[9]] {
			t.Errorf("row %d of component %d is in neither place alone", row, k.Group[row])
		}
	}
	if _, _, err = (Split{Kind: ByTime}).Hold(k, d.AllRows(), 0.999); err == nil {
		t.Error("everything is held")
	}
}

// A subset trains as a dataset of the same rows with the same bins would.
func TestSubset(t *testing.T) {
	s := makeSynthetic(2000, 9, 5)
	weight := make([]float64, 2000)
	for i := range weight {
		weight[i] = float64(i)
	}
	d, err := NewDataset(s.names, s.columns, s.label, weight, Spec{Objective: Binary})
	if err != nil {
		t.Fatal(err)
	}
	rows := []int{1999, 3, 3, 1000}
	sub := d.Subset(rows)
	for i, row := range rows {
		if sub.label[i] != d.label[row] || sub.weight[i] != float64(row) {
			t.Errorf("row %d: label %v, weight %v", row, sub.label[i], sub.weight[i])
		}
		for f := range s.names {
			if sub.at(i, f) != d.at(row, f) {
				t.Errorf("row %d, feature %d: bin %d, not %d", row, f, sub.at(i, f), d.at(row, f))
			}
		}
	}
	whole := d.Subset(d.AllRows())
	a, err := mustTrain(t, d, DefaultParams()).Text()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mustTrain(t, whole, DefaultParams()).Text()
	if err != nil || string(a) != string(b) {
		t.Error("a subset of all rows trains another model", err)
	}
}

func TestTreesFor(t *testing.T) {
	folds := []FoldResult{{Trees: 80, TrainRows: 900}, {Trees: 121, TrainRows: 700}}
	for _, tc := range []struct{ rows, most, want int }{
		{800, 1000, 101},  // the mean, 100.5
		{400, 1000, 101},  // no fewer for fewer rows
		{880, 1000, 111},  // a tenth more rows
		{8000, 1000, 126}, // a quarter more at most
		{8000, 120, 120},
	} {
		t.Run(fmt.Sprint(tc), func(t *testing.T) {
			if got, err := TreesFor(folds, tc.rows, tc.most); err != nil || got != tc.want {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
	if _, err := TreesFor(nil, 1, 1); err == nil {
		t.Error("no folds make no error")
	}
}

// A subset goes on from the same model as its dataset.
func TestSubsetGoesOn(t *testing.T) {
	s := makeSynthetic(500, 4, 6)
	base := mustBase(t, mustText(t, mustTrain(t, s.dataset(t, Spec{}), DefaultParams())))
	d := s.dataset(t, Spec{Base: base})
	folds, err := Split{Kind: ByGroup, Folds: 2}.Cut(d, groupsOf(500), d.AllRows())
	if err != nil {
		t.Fatal(err)
	}
	sub := d.Subset(folds[0].Valid)
	for i, row := range folds[0].Valid {
		if sub.start[i] != d.start[row] {
			t.Fatalf("row %d begins at %v, not %v", row, sub.start[i], d.start[row])
		}
	}
	p := DefaultParams()
	p.Trees = 3
	got, err := NewCrossValidation(d, folds).Run(t.Context(), p, nil, nil)
	if err != nil || got[0].Trees != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestKeysSubset(t *testing.T) {
	k := Keys{Time: []float64{5, 6, 7}, Group: []int{0, 1, 0}}
	rows := []int{2, 0}
	if diff := cmp.Diff(Keys{Time: []float64{7, 5}, Group: []int{0, 0}}, k.Subset(rows)); diff != "" {
		t.Errorf("both keys (-want +got):\n%s", diff)
	}
	k.Group = nil
	if diff := cmp.Diff(Keys{Time: []float64{7, 5}}, k.Subset(rows)); diff != "" {
		t.Errorf("times only (-want +got):\n%s", diff)
	}
}
