package main

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stratoswarm/forestall"
)

// sgr is a terminal colour code; sgrNone leaves text as it is.
type sgr string

const (
	sgrNone    sgr = ""
	sgrBold    sgr = "1"
	sgrRed     sgr = "1;31"
	sgrGreen   sgr = "32"
	sgrYellow  sgr = "33"
	sgrMagenta sgr = "35"
)

func (v view) paint(s string, c sgr) string {
	if !v.color || c == sgrNone {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

type textCell struct {
	text  string
	color sgr
}

func cellOf(s string) textCell { return textCell{text: s} }

// textTable aligns columns; a header that begins with '>' aligns to the right.
// A column without any text is left out, and so is space at a line's end.
type textTable struct {
	header []string
	rows   [][]textCell
}

func (t *textTable) add(cells ...textCell) {
	for i := range cells {
		cells[i].text = textClean(cells[i].text)
	}
	t.rows = append(t.rows, cells)
}

// writeOr writes the table, or the sentence when there are no rows.
func (t *textTable) writeOr(v view, sentence string) {
	if len(t.rows) == 0 {
		fmt.Fprintln(v.out, sentence)
		return
	}
	t.write(v)
}

func (t *textTable) write(v view) {
	width := make([]int, len(t.header))
	for _, row := range t.rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	head := make([]textCell, len(t.header))
	for i, h := range t.header {
		head[i] = textCell{strings.TrimPrefix(h, ">"), sgrBold}
		if width[i] > 0 {
			width[i] = max(width[i], len(head[i].text))
		}
	}
	for _, row := range append([][]textCell{head}, t.rows...) {
		var line strings.Builder
		for i, c := range row {
			if width[i] == 0 {
				continue
			}
			pad := strings.Repeat(" ", max(0, width[i]-utf8.RuneCountInString(c.text)))
			text := v.paint(c.text, c.color)
			if c.text == "" {
				text = ""
			}
			if strings.HasPrefix(t.header[i], ">") {
				line.WriteString(pad + text + "  ")
			} else {
				line.WriteString(text + pad + "  ")
			}
		}
		fmt.Fprintln(v.out, strings.TrimRight(line.String(), " "))
	}
}

// textClean replaces what a terminal would obey: an answer may quote the output of
// a workload.
func textClean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// textRisk writes a risk as a percentage with three significant digits at
// most, and "unknown" where there is none.
func textRisk(r forestall.Risk) string {
	p := 100 * r.Probability
	switch {
	case r.Grade == forestall.Unknown || math.IsNaN(p):
		return "unknown"
	case p > 99.9:
		return ">99.9 %"
	case p >= 10:
		return fmt.Sprintf("%.1f %%", p)
	case p >= 0.01 || p == 0:
		return fmt.Sprintf("%.2f %%", p)
	}
	return "<0.01 %"
}

// textDuration writes a time span with its greatest unit, with three digits
// below a minute and with its seconds below ten.
func textDuration(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/float64(time.Microsecond))
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d < 10*time.Minute && d%time.Minute >= time.Second:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// textBytes writes a size in binary units.
func textBytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1024, 0
	for f >= 1023.5 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if f < 10 {
		return fmt.Sprintf("%.1f %ciB", f, units[u])
	}
	return fmt.Sprintf("%.0f %ciB", f, units[u])
}

func textCount(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
