package train

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// TestHazardCMAPSS: engines that run to failure, horizons of 10, 20 and 30
// cycles, every row of the test engines.
func TestHazardCMAPSS(t *testing.T) {
	dir := filepath.Join(hazardData(t), "cmapss")
	for _, set := range []string{"FD001", "FD003"} {
		t.Run(set, func(t *testing.T) {
			train := engines(t, filepath.Join(dir, "train_"+set+".txt.gz"), "")
			test := engines(t, filepath.Join(dir, "test_"+set+".txt.gz"), filepath.Join(dir, "RUL_"+set+".txt.gz"))
			compareHazard(t, train, test, []float64{10, 20, 30}, map[string][]float64{
				"3 intervals": {10, 20, 30},
				"6 intervals": {5, 10, 15, 20, 25, 30},
			})
		})
	}
}

// numbersIn reads a file of lines of numbers.
func numbersIn(t *testing.T, path string) (rows [][]float64) {
	t.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		t.Skipf("%s is not there: set DATA to the directory of the public data sets", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var row []float64
		for field := range strings.FieldsSeq(lines.Text()) {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, v)
		}
		if len(row) > 0 {
			rows = append(rows, row)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// engines reads cycles with their sensors and the sensors' means over 5 and 15
// cycles. The file named by rul says how many cycles each engine had left.
func engines(t *testing.T, path, rul string) *lifetimes {
	t.Helper()
	rows := numbersIn(t, path)
	last := map[int]float64{}
	for _, row := range rows {
		last[int(row[0])] = row[1]
	}
	if rul != "" {
		for i, row := range numbersIn(t, rul) {
			last[i+1] += row[0]
		}
	}
	l := &lifetimes{names: []string{"cycle"}}
	for s := range 24 {
		n := strconv.Itoa(s)
		l.names = append(l.names, "now"+n, "mean5_"+n, "mean15_"+n)
	}
	begin := 0
	for i, row := range rows {
		if row[0] != rows[begin][0] {
			begin = i
		}
		out := []float64{row[1]}
		for s := range 24 {
			out = append(out, row[2+s], meanOf(rows[max(begin, i-4):i+1], 2+s), meanOf(rows[max(begin, i-14):i+1], 2+s))
		}
		engine := int(row[0])
		l.add(engine, out, last[engine]-row[1], true)
	}
	return l
}

func meanOf(rows [][]float64, column int) (sum float64) {
	for _, row := range rows {
		sum += row[column]
	}
	return sum / float64(len(rows))
}
