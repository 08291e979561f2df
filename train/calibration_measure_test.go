package train

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// TestCalibrationRule measures from how many positive rows on isotonic
// calibration beats Platt's: trained on a third of the components, calibrated on
// some of another, judged on the last. It needs the data sets:
// DATA=../shared/data go test ./train -run CalibrationRule -v
func TestCalibrationRule(t *testing.T) {
	data := hazardData(t)
	cmapss := func(set string) func(t *testing.T) *lifetimes {
		return func(t *testing.T) *lifetimes {
			return engines(t, filepath.Join(data, "cmapss", "train_"+set+".txt.gz"), "")
		}
	}
	for _, set := range []struct {
		name     string
		rows     func(t *testing.T) *lifetimes
		horizons []float64
	}{
		{"backblaze", func(t *testing.T) *lifetimes { return snapshots(t, filepath.Join(data, "backblaze-smart")) }, []float64{240, 720}},
		{"FD001", cmapss("FD001"), []float64{30}},
		{"FD003", cmapss("FD003"), []float64{30}},
	} {
		t.Run(set.name, func(t *testing.T) {
			all := set.rows(t)
			part := func(n uint64) *lifetimes {
				return all.of(func(g int) bool { return scatter(21, uint64(g))%3 == n })
			}
			train, pool, test := part(0), part(1), part(2)
			for _, horizon := range set.horizons {
				e := train.learn(t, train.one(horizon), false)
				want := test.held(t, e, horizon)
				for _, share := range []uint64{2, 5, 10, 20, 50, 100} {
					var sum [3][3]float64 // before, platt, isotonic: log loss, Brier, ECE
					positives, draws := 0, 0
					for draw := range uint64(10) {
						some := pool.of(func(g int) bool { return scatter(100+draw, uint64(g))%100 < share })
						h := some.held(t, e, horizon)
						if !slices.Contains(h.Label, true) || !slices.Contains(h.Label, false) {
							continue // too few components
						}
						for _, y := range h.Label {
							if y {
								positives++
							}
						}
						draws++
						for i, method := range []model.Method{model.None, model.Platt, model.Isotonic} {
							p := want.Before
							if method != model.None {
								c, err := fitCalibration(h.Raw, h.Label, method)
								if err != nil {
									t.Fatal(err)
								}
								p = make([]float64, len(want.Raw))
								for i, raw := range want.Raw {
									p[i] = c.Probability(raw)
								}
							}
							sum[i][0] += model.LogLoss(p, want.Label)
							sum[i][1] += model.Brier(p, want.Label)
							sum[i][2] += model.ECE(p, want.Label, 10)
						}
						if share == 100 {
							break
						}
					}
					n := float64(draws)
					t.Logf("| %s %g | %d | %.5f | %.5f | %.5f | %.5f | %.5f | %.5f | %.4f | %.4f | %.4f |", set.name, horizon, positives/max(draws, 1),
						sum[0][0]/n, sum[1][0]/n, sum[2][0]/n, sum[0][1]/n, sum[1][1]/n, sum[2][1]/n, sum[0][2]/n, sum[1][2]/n, sum[2][2]/n)
				}
			}
		})
	}
}

// held are the rows whose outcome is known, as a model scores them.
func (l *lifetimes) held(t *testing.T, e *model.Ensemble, horizon float64) (h Held) {
	t.Helper()
	row := make([]float64, e.NumFeatures())
	for _, r := range l.one(horizon) {
		for f := range row {
			row[f] = l.columns[f][r.row]
		}
		raw, err := e.Raw(row)
		if err != nil {
			t.Fatal(err)
		}
		h.Raw, h.Before = append(h.Raw, raw), append(h.Before, model.Sigmoid(raw))
		h.Label, h.Group = append(h.Label, r.label == 1), append(h.Group, l.group[r.row])
	}
	return h
}
