package main

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

// SMD: servers of an internet company, one row of 38 metrics a minute; the second
// half of each has labelled incidents. Nothing is learnt from a label and no
// threshold is chosen by one: detectors are fitted to the first half alone.
// Points are judged one by one, without point adjustment.

const (
	smdStudy     = "SMD" // for -only
	minutesOfDay = 24 * 60
)

// server is one machine: rows without labels to fit to, and rows to judge.
type server struct {
	name        string
	train, test [][]float64
	incident    []bool // of the test rows
}

func readServers(dir string) ([]server, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "machine-*_train.csv.gz"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, fs.ErrNotExist)
	}
	var servers []server
	for _, path := range paths {
		base := strings.TrimSuffix(path, "_train.csv.gz")
		s := server{name: strings.TrimPrefix(filepath.Base(base), "machine-")}
		if s.train, err = readRows(path); err != nil {
			return nil, err
		}
		if s.test, err = readRows(base + "_test.csv.gz"); err != nil {
			return nil, err
		}
		for i, row := range s.test {
			last := len(row) - 1
			s.incident = append(s.incident, row[last] == 1)
			s.test[i] = row[:last]
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// readRows reads a gzip CSV file of numbers without a header.
func readRows(path string) (rows [][]float64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		cells := strings.Split(lines.Text(), ",")
		if len(rows) > 0 && len(cells) != len(rows[0]) {
			return nil, fmt.Errorf("%s: line %d: %d columns, line 1 has %d", path, len(rows)+1, len(cells), len(rows[0]))
		}
		row := make([]float64, len(cells))
		for i, c := range cells {
			if row[i], err = strconv.ParseFloat(c, 64); err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", path, len(rows)+1, err)
			}
		}
		rows = append(rows, row)
	}
	return rows, lines.Err()
}

// watch is what a detector said of a server's test rows.
type watch struct {
	score     []float64
	threshold float64
}

// watchOurs fits our detector and lets it watch.
func watchOurs(s server) (w watch, err error) {
	d, err := anomaly.Fit(s.train, anomaly.DefaultConfig())
	if err != nil {
		return w, err
	}
	t := d.Track()
	w.threshold = d.Threshold()
	for _, row := range s.test {
		score, _, err := t.Push(row)
		if err != nil {
			return w, err
		}
		w.score = append(w.score, score)
	}
	return w, nil
}

// learnerAlarms are how many alarms a day are borne where the engine's path watches.
var learnerAlarms = []float64{1, 2, 3}

// watchLearner lets the engine's own path watch, a learner that bears so many alarms a
// day: under the threshold that it has when the training rows end, and as an engine
// has it, whose threshold is learnt on and falls and rises with what comes.
func watchLearner(s server, alarms float64) (frozen, goingOn watch, err error) {
	cfg := anomaly.DefaultLearnConfig()
	cfg.Alarms = alarms
	if err := cfg.Validate(); err != nil {
		return frozen, goingOn, err
	}
	l, at, gpu := anomaly.NewLearner(&cfg), simStart, forestall.GPU("smd", 0)
	names := make([]string, len(s.train[0]))
	for c := range names {
		names[c] = fmt.Sprint("m", c)
	}
	samples := make([]forestall.Sample, len(names))
	// push shows a row, and returns how the component stood with the row before.
	push := func(row []float64) anomaly.Standing {
		for c, v := range row {
			samples[c] = forestall.Sample{Component: gpu, Metric: names[c], Time: at, Value: v}
		}
		l.Scrape(at, samples)
		at = at.Add(anomaly.Step)
		return l.Standing()
	}
	for _, row := range s.train {
		push(row)
	}
	push(s.test[0])                                              // closes the last row of the training
	frozen.threshold = math.Nextafter(l.Standing().Threshold, 0) // a score that reaches it is unusual
	goingOn.threshold = 0.5
	for i := range s.test {
		standing := push(s.test[min(i+1, len(s.test)-1)])
		score, unusual := standing.Score, 0.0
		if math.IsNaN(score) {
			score = 0
		}
		if standing.State == forestall.Unusual {
			unusual = 1
		}
		frozen.score, goingOn.score = append(frozen.score, score), append(goingOn.score, unusual)
	}
	return frozen, goingOn, nil
}

// watchZ is the baseline: the largest deviation of a metric from its mean, in
// standard deviations. Its threshold is chosen as ours: fitted to the rows before
// the held out ones, the same quantile of what it says of these.
func watchZ(s server) watch {
	cfg := anomaly.DefaultConfig()
	before := len(s.train) - int(cfg.Holdout*float64(len(s.train)))
	held := largestZ(s.train[:before], s.train[before:])
	slices.Sort(held)
	return watch{largestZ(s.train, s.test), held[int(cfg.Quantile*float64(len(held)-1))]}
}

func largestZ(fit, judge [][]float64) []float64 {
	width := len(fit[0])
	mean, spread := make([]float64, width), make([]float64, width)
	for c := range width {
		sum, squares := 0.0, 0.0
		for _, row := range fit {
			sum += row[c]
			squares += row[c] * row[c]
		}
		n := float64(len(fit))
		mean[c] = sum / n
		spread[c] = max(1e-3, math.Sqrt(max(0, squares/n-mean[c]*mean[c])))
	}
	out := make([]float64, len(judge))
	for i, row := range judge {
		for c, v := range row {
			out[i] = max(out[i], math.Abs(v-mean[c])/spread[c])
		}
	}
	return out
}

// watchZLearner is the baseline of watchLearner, run as that is: the largest |z| of a
// metric under a mean and a deviation that are learnt as rows come (over the same
// memory, a wild value at most doubling the variance), and a threshold that is learnt
// from how often it was crossed in the training, so many times a day. It is of
// log(1+z²), which has the order of |z|.
func watchZLearner(s server, alarms float64) (frozen, goingOn watch) {
	cfg := anomaly.DefaultLearnConfig()
	memory := cfg.Memory.Minutes()
	keep, seen := 1-cfg.Hysteresis, max(memory, 3/alarms*minutesOfDay)
	var grid []float64 // no z is beyond it
	for at := 0.05; at < 100; at *= 1.086 {
		grid = append(grid, at)
	}
	width := len(s.train[0])
	mean, square := make([]float64, width), make([]float64, width)
	crossed, above := make([]float64, len(grid)), make([]bool, len(grid))
	rows, days, began := 0.0, 0.0, math.NaN()
	threshold := func() float64 {
		at := math.Inf(1)
		for i := len(grid) - 1; i >= 0 && crossed[i]+2.0/3 <= alarms*days; i-- {
			at = grid[i]
		}
		return at
	}
	push := func(row []float64) (score float64) {
		n := min(rows+1, memory)
		for c, v := range row {
			spread := max(1e-3, math.Sqrt(square[c]), 1e-3*math.Abs(mean[c]))
			if z := math.Abs(v-mean[c]) / spread; rows >= 60 {
				score = max(score, math.Log1p(z*z))
				far := math.Sqrt(n) * spread
				v = min(max(v, mean[c]-far), mean[c]+far)
			}
			d := v - mean[c]
			mean[c] += d / n
			square[c] += (d*(v-mean[c]) - square[c]) / n
		}
		if rows++; rows <= minutesOfDay {
			return score
		}
		at := threshold()
		if days += 1.0 / minutesOfDay; days > seen/minutesOfDay {
			fade := 1 - 1/seen
			days *= fade
			for i := range crossed {
				crossed[i] *= fade
			}
		}
		for i := range grid {
			switch {
			case !above[i] && score >= grid[i]:
				above[i] = true
				crossed[i]++
			case above[i] && score < keep*grid[i]:
				above[i] = false
			}
		}
		switch {
		case score < began*keep:
			began = math.NaN()
		case math.IsNaN(began) && score >= at:
			began = at
		}
		return score
	}
	for _, row := range s.train {
		push(row)
	}
	frozen.threshold, goingOn.threshold = math.Nextafter(threshold(), 0), 0.5
	for _, row := range s.test {
		frozen.score = append(frozen.score, push(row))
		unusual := 0.0
		if !math.IsNaN(began) {
			unusual = 1
		}
		goingOn.score = append(goingOn.score, unusual)
	}
	return frozen, goingOn
}

// alarmsOf counts how points and incidents fare above a threshold. A false alarm
// is a run of rows above it of which none is of an incident.
type alarmsOf struct {
	truePoints, falsePoints, missedPoints int
	incidents, caught, falseAlarms        int
	days                                  float64
}

func judgeWatch(score []float64, incident []bool, threshold float64) (a alarmsOf) {
	a.days = float64(len(score)) / minutesOfDay
	caught, run, touched := false, false, false
	for i, s := range score {
		above := s > threshold
		switch {
		case above && incident[i]:
			a.truePoints++
		case above:
			a.falsePoints++
		case incident[i]:
			a.missedPoints++
		}
		if incident[i] && (i == 0 || !incident[i-1]) {
			a.incidents++
			caught = false
		}
		if above && incident[i] && !caught {
			a.caught++
			caught = true
		}
		if above {
			touched = run && touched || incident[i]
		}
		if run = above; run && (i+1 == len(score) || !(score[i+1] > threshold)) && !touched {
			a.falseAlarms++
		}
	}
	return a
}

func (a alarmsOf) f1() float64 {
	return 2 * float64(a.truePoints) / float64(max(1, 2*a.truePoints+a.falsePoints+a.missedPoints))
}

func (a alarmsOf) cells() string {
	return fmt.Sprintf("%.3f | %d of %d | %.2f", a.f1(), a.caught, a.incidents, float64(a.falseAlarms)/a.days)
}

// atRate returns what the lowest threshold gives that keeps to so many false
// alarms a day.
func (w watch) atRate(incident []bool, perDay float64) (best alarmsOf) {
	levels := slices.Clone(w.score)
	slices.Sort(levels)
	for k := range 400 {
		// Quantiles, closer and closer to the top.
		q := 1 - math.Pow(0.5, float64(k)/25)
		a := judgeWatch(w.score, incident, levels[int(q*float64(len(levels)-1))])
		if k > 0 && float64(a.falseAlarms) <= perDay*a.days {
			return a
		}
	}
	return best
}

// watched is how a way of watching fared on all servers.
type watched struct {
	name   string
	f1     float64 // mean
	alarms alarmsOf
}

func (w *watched) add(a alarmsOf, servers int) {
	w.f1 += a.f1() / float64(servers)
	w.alarms.incidents += a.incidents
	w.alarms.caught += a.caught
	w.alarms.falseAlarms += a.falseAlarms
	w.alarms.days += a.days
}

// watchServers prints the reactive path on SMD and reports whether it keeps its
// bar.
func watchServers(dir string) (ok bool, err error) {
	servers, err := readServers(dir)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Printf("\nSkipped SMD: %v.\n", err)
		return true, nil
	}
	if err != nil {
		return false, err
	}
	fmt.Print("\n### SMD servers: incidents, without labels\n\nThe threshold is chosen on the training rows alone; points one by one, without point adjustment.\n\n")
	fmt.Printf("| server | rows | point F1, detector | incidents caught | false alarms a day | point F1 z-score | incidents caught | false alarms a day | at 1 false alarm a day: caught by the detector | z-score |\n%s\n", rule(10))
	detector, z := &watched{name: "detector, fitted to each server"}, &watched{name: "z-score, fitted to each server"}
	var learners, zLearners []*watched // of each number of alarms, frozen and going on
	for _, alarms := range learnerAlarms {
		for _, how := range []string{"threshold of the training", "as it runs"} {
			learners = append(learners, &watched{name: fmt.Sprintf("the engine's, %v a day borne, %s", alarms, how)})
			zLearners = append(zLearners, &watched{name: fmt.Sprintf("z-score in the same way, %v a day borne, %s", alarms, how)})
		}
	}
	var caught, zCaught, learnerCaught int
	for _, s := range servers {
		ours, err := watchOurs(s)
		if err != nil {
			return false, fmt.Errorf("server %s: %w", s.name, err)
		}
		base := watchZ(s)
		a, b := judgeWatch(ours.score, s.incident, ours.threshold), judgeWatch(base.score, s.incident, base.threshold)
		oursAt, zAt := ours.atRate(s.incident, 1), base.atRate(s.incident, 1)
		fmt.Printf("| %s | %d | %s | %s | %d of %d | %d |\n", s.name, len(s.test), a.cells(), b.cells(), oursAt.caught, a.incidents, zAt.caught)
		detector.add(a, len(servers))
		z.add(b, len(servers))
		caught, zCaught = caught+oursAt.caught, zCaught+zAt.caught
		for i, alarms := range learnerAlarms {
			frozen, goingOn, err := watchLearner(s, alarms)
			if err != nil {
				return false, fmt.Errorf("server %s: %w", s.name, err)
			}
			if i == len(learnerAlarms)-1 {
				learnerCaught += frozen.atRate(s.incident, 1).caught
			}
			learners[2*i].add(judgeWatch(frozen.score, s.incident, frozen.threshold), len(servers))
			learners[2*i+1].add(judgeWatch(goingOn.score, s.incident, goingOn.threshold), len(servers))
			frozen, goingOn = watchZLearner(s, alarms)
			zLearners[2*i].add(judgeWatch(frozen.score, s.incident, frozen.threshold), len(servers))
			zLearners[2*i+1].add(judgeWatch(goingOn.score, s.incident, goingOn.threshold), len(servers))
		}
	}
	fmt.Printf("\nAll %d, and beside them what an engine runs, `anomaly.Learner`:\n\n| | mean point F1 | incidents caught | false alarms a day |\n%s\n", len(servers), rule(4))
	for _, w := range slices.Concat(learners, zLearners, []*watched{detector, z}) {
		fmt.Printf("| %s | %.3f | %d of %d | %.2f |\n", w.name, w.f1, w.alarms.caught, w.alarms.incidents, float64(w.alarms.falseAlarms)/w.alarms.days)
	}
	fmt.Print("\n| bar: mean point F1 above that of | figure | |\n|---|---|---|\n")
	ok = true
	bar := func(w, z *watched) {
		fmt.Printf("| %s: %s | %.3f, %.3f | %s |\n", w.name, z.name, w.f1, z.f1, verdict(w.f1 > z.f1))
		ok = ok && w.f1 > z.f1
	}
	for i, w := range learners {
		bar(w, zLearners[i])
	}
	bar(detector, z)
	for _, w := range learners[len(learners)-2:] { // of the number of alarms nearest to z's quantile, which is of 2.9 minutes a day
		bar(w, z)
	}
	fmt.Printf("\nAt one false alarm a day, by a threshold that is chosen on the test rows: the engine's %d of %d incidents, the detector %d, z-score %d.\n", learnerCaught, detector.alarms.incidents, caught, zCaught)
	return ok, nil
}
