package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/stratoswarm/forestall/train"
)

// space keeps a number and its unit on one line.
const space = "\u00a0"

func known(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// number writes up to four digits, a dash where there is none.
func number(v float64) string {
	if !known(v) {
		return "–"
	}
	if a := math.Abs(v); a >= 10_000 && a < 1e15 {
		return count(int(math.Round(v)))
	}
	text := strconv.FormatFloat(v, 'g', 4, 64)
	return strings.Replace(text, "-", "−", 1)
}

// signed writes two decimals with their sign.
func signed(v float64) string {
	if !known(v) {
		return "–"
	}
	if math.Abs(v) < 0.005 {
		return "0.00"
	}
	return strings.Replace(fmt.Sprintf("%+.2f", v), "-", "−", 1)
}

func percent(share float64) string {
	if !known(share) {
		return "–"
	}
	return strconv.FormatFloat(100*share, 'g', 3, 64) + space + "%"
}

// probability writes a percentage that does not round to 0 or 100.
func probability(p float64) string {
	switch {
	case !known(p):
		return "–"
	case p > 0 && p < 0.00001:
		return "<" + space + "0.001" + space + "%"
	case p < 1 && p > 0.9999:
		return ">" + space + "99.99" + space + "%"
	case p < 1 && p >= 0.9995:
		return fmt.Sprintf("%.2f", 100*p) + space + "%"
	case p >= 0.1:
		return fmt.Sprintf("%.1f", 100*p) + space + "%"
	}
	return strconv.FormatFloat(100*p, 'g', 2, 64) + space + "%"
}

// span writes an interval, nothing where there is none.
func span(i train.Interval) string {
	if !known(i.Low) || !known(i.High) {
		return ""
	}
	return number(i.Low) + " to " + number(i.High)
}

func percents(i train.Interval) string {
	if !known(i.Low) || !known(i.High) {
		return ""
	}
	return fmt.Sprintf("%.3g to %.3g", 100*i.Low, 100*i.High) + space + "%"
}

// count groups the digits by thin spaces.
func count(n int) string {
	text := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, text = "−", text[1:]
	}
	var b strings.Builder
	for i, r := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(r)
	}
	return sign + b.String()
}

// at writes a time of a table as it stands there, a number shortened.
func at(unit train.TimeUnit, v float64) string {
	if unit.Text {
		return unit.Time(v)
	}
	return number(v)
}

// amount writes a number with its unit, in the singular of one.
func amount(v float64, unit string) string {
	text := number(v)
	if text == "1" && len(unit) > 3 { // not of ns
		unit = strings.TrimSuffix(unit, "s")
	}
	return text + " " + unit
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}
