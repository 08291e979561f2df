package report

import (
	"fmt"
	"html"
	"html/template"
	"strings"

	"github.com/stratoswarm/forestall/train"
)

// The drawing's size and margins, in its own units.
const (
	chartWidth, chartHeight = 520, 330
	marginLeft              = 58
	marginRight             = 18
	marginTop               = 14
	marginBottom            = 48
)

// figure is a drawing, what it says in words and numbers, and its legend.
type figure struct {
	ID, Title, Desc string
	SVG             template.HTML
	Legend          []legend
	Head            []string // of the table of its numbers
	Numbers         [][]string
}

type legend struct{ Class, Text string }

// chart draws a figure. Colours are the style sheet's, by class.
type chart struct {
	strings.Builder
	x, y scale
}

func newChart(x, y scale, xLabel, yLabel string) *chart {
	c := &chart{x: x, y: y}
	for _, t := range y.ticks {
		at := c.py(t.at)
		fmt.Fprintf(c, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%[3]f"/>`, marginLeft, chartWidth-marginRight, at)
		c.text(marginLeft-8, at+4, "end", "tick", t.text)
	}
	for _, t := range x.ticks {
		at := c.px(t.at)
		fmt.Fprintf(c, `<line class="grid" x1="%.1f" x2="%[1]f" y1="%d" y2="%d"/>`, at, marginTop, chartHeight-marginBottom)
		c.text(at, chartHeight-marginBottom+18, "middle", "tick", t.text)
	}
	c.text((marginLeft+chartWidth-marginRight)/2., chartHeight-8, "middle", "axis", xLabel)
	fmt.Fprintf(c, `<text class="axis" text-anchor="middle" transform="translate(13 %d) rotate(-90)">%s</text>`,
		(marginTop+chartHeight-marginBottom)/2, html.EscapeString(yLabel))
	return c
}

func (c *chart) px(v float64) float64 {
	return marginLeft + c.x.place(v)*(chartWidth-marginLeft-marginRight)
}

func (c *chart) py(v float64) float64 {
	return chartHeight - marginBottom - c.y.place(v)*(chartHeight-marginTop-marginBottom)
}

func (c *chart) text(x, y float64, anchor, class, text string) {
	fmt.Fprintf(c, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, class, x, y, anchor, html.EscapeString(text))
}

// line joins the points.
func (c *chart) line(class string, points []train.XY) {
	c.path("line "+class, points, false)
}

// steps joins the points by level lines, each at the height of the point at its
// right end.
func (c *chart) steps(class string, points []train.XY) {
	var at []train.XY
	for i, p := range points {
		if i > 0 {
			at = append(at, train.XY{X: points[i-1].X, Y: p.Y})
		}
		at = append(at, p)
	}
	c.path("line "+class, at, false)
}

// area fills what lies between the points and the bottom.
func (c *chart) area(class string, points []train.XY) {
	c.path("area "+class, points, true)
}

func (c *chart) path(class string, points []train.XY, closed bool) {
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(c, `<path class="%s" d="`, class)
	command := 'M'
	for _, p := range points {
		fmt.Fprintf(c, "%c%.1f %.1f", command, c.px(p.X), c.py(p.Y))
		command = 'L'
	}
	if closed {
		bottom := float64(chartHeight - marginBottom)
		fmt.Fprintf(c, "L%.1f %.1fL%.1f %.1fZ", c.px(points[len(points)-1].X), bottom, c.px(points[0].X), bottom)
	}
	c.WriteString(`"/>`)
}

func (c *chart) dot(class string, at train.XY, radius float64) {
	fmt.Fprintf(c, `<circle class="%s" cx="%.1f" cy="%.1f" r="%.1f"/>`, class, c.px(at.X), c.py(at.Y), radius)
}

// whisker is an upright line from low to high.
func (c *chart) whisker(class string, x, low, high float64) {
	fmt.Fprintf(c, `<line class="%s" x1="%.1f" x2="%[2]f" y1="%.1f" y2="%.1f"/>`, class, c.px(x), c.py(low), c.py(high))
}

// done puts the drawing into its frame.
func (c *chart) done(f *figure) *figure {
	f.SVG = template.HTML(fmt.Sprintf(
		`<svg viewBox="0 0 %d %d" role="img" aria-labelledby="%[3]s-title %[3]s-desc"><title id="%[3]s-title">%[4]s</title><desc id="%[3]s-desc">%[5]s</desc>%[6]s</svg>`,
		chartWidth, chartHeight, f.ID, html.EscapeString(f.Title), html.EscapeString(f.Desc), c.String()))
	return f
}
