package train

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

// TestHazardBackblaze: weekly snapshots of disks in 2014, horizons of 10, 20 and
// 30 days, judged on a third of the drives, three times. All drives
// that fail until the end of January 2015 are there, and one in five of the
// others.
func TestHazardBackblaze(t *testing.T) {
	dir := filepath.Join(hazardData(t), "backblaze-smart")
	all := snapshots(t, dir)
	for _, seed := range []uint64{9, 10, 11} {
		t.Run(fmt.Sprintf("third %d", seed), func(t *testing.T) {
			third := func(group int) bool { return scatter(seed, uint64(group))%3 == 0 }
			train, test := all.of(func(g int) bool { return !third(g) }), all.of(third)
			compareHazard(t, train, test, []float64{240, 480, 720}, map[string][]float64{"3 intervals": {240, 480, 720}})
		})
	}
}

const smartColumns = 9

// drive is what is constant of one; times are hours of its own clock.
type drive struct {
	begin, end float64 // first and last hour seen
	born       float64 // day of the first hour, since 1970
	failed     bool
	size       float64
	maker      float64
}

// forRows calls visit with each row of a compressed CSV file.
func forRows(t *testing.T, path string, visit func(row []string)) {
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
	r := csv.NewReader(z)
	r.ReuseRecord = true
	for first := true; ; first = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !first {
			visit(row)
		}
	}
}

func cell(text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

func day(text string) float64 {
	d, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return math.NaN()
	}
	return float64(d.Unix()) / 86400
}

// drives returns those whose clock agrees with the calendar within a week.
func drives(t *testing.T, path string) map[int]drive {
	t.Helper()
	out := map[int]drive{}
	makers := map[string]float64{"HGST": 0, "ST": 1, "WDC": 2}
	to := day("2015-02-01")
	forRows(t, path, func(row []string) {
		d := drive{
			begin: cell(row[7]), end: cell(row[8]), born: day(row[5]), failed: row[10] == "1",
			size: cell(row[4]), maker: makers[row[3]],
		}
		number := int(cell(row[0]))
		died := d.born + (d.end-d.begin)/24
		if math.Abs(died-day(row[6])) > 7 {
			return
		}
		if d.failed && died < to || scatter(3, uint64(number))%5 == 0 {
			out[number] = d
		}
	})
	return out
}

// smart holds from an hour on.
type smart struct {
	from   float64
	values [smartColumns]float64
}

// snapshots returns one row for each week of 2014 from February on and drive.
func snapshots(t *testing.T, dir string) *lifetimes {
	t.Helper()
	known := drives(t, filepath.Join(dir, "drives.csv.gz"))
	l := &lifetimes{names: []string{"hours", "size", "maker", "unchanged"}, categorical: []string{"maker"}}
	for s := range smartColumns {
		n := strconv.Itoa(s)
		l.names = append(l.names, "now"+n, "week"+n, "month"+n)
	}
	current, history := -1, []smart(nil)
	finish := func() {
		if d, ok := known[current]; ok {
			weekly(l, current, d, history)
		}
		history = history[:0]
	}
	forRows(t, filepath.Join(dir, "intervals.csv.gz"), func(row []string) {
		if number := int(cell(row[0])); number != current {
			finish()
			current = number
		}
		s := smart{from: cell(row[1])}
		for i := range s.values {
			s.values[i] = cell(row[4+i])
		}
		history = append(history, s)
	})
	finish()
	return l
}

// weekly adds the snapshots of a drive. A snapshot knows what held before it.
func weekly(l *lifetimes, number int, d drive, history []smart) {
	hourOf := func(date string) float64 { return d.begin + (day(date)-d.born)*24 }
	at := func(hour float64) (i int) {
		i = -1
		for i+1 < len(history) && history[i+1].from < hour {
			i++
		}
		return i
	}
	for hour := hourOf("2014-02-01"); hour < min(hourOf("2015-01-01"), d.end); hour += 7 * 24 {
		now := at(hour)
		if now < 0 {
			continue
		}
		row := []float64{hour, d.size, d.maker, hour - history[now].from}
		for s := range smartColumns {
			v := history[now].values[s]
			row = append(row, v)
			for _, ago := range []float64{7 * 24, 30 * 24} {
				change := math.NaN()
				if before := at(hour - ago); before >= 0 {
					change = v - history[before].values[s]
				}
				row = append(row, change)
			}
		}
		l.add(number, row, d.end-hour, d.failed)
	}
}
