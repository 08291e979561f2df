package features

import (
	"bytes"
	"hash/maphash"
	"math"
	"strconv"
	"strings"
)

// known remembers the lines of a target's page: exporters write the same series
// in the same order each time, and then only the values are new. Lines are told
// apart by 64-bit hashes under a seed of their own. The zero known knows
// nothing.
type known struct {
	seed   maphash.Seed
	series []knownSeries      // in the order of the page
	lines  []knownLine        // of a text page; nil: it is not to be read by lines
	cursor int                // of series, while a page is parsed
	fresh  []knownSeries      // that page's
	here   map[uint64]float64 // the values of that page's series; absent: not noted; nil: until now they are those of the page before, in its order
	twice  bool               // a page has a series twice
}

type knownSeries struct {
	hash uint64
	what route
}

// knownLine is a whole line, or what stands before the value of one.
type knownLine struct {
	hash   uint64
	series bool
}

// begin starts a page that is parsed.
func (k *known) begin() {
	if k.seed == (maphash.Seed{}) {
		k.seed = maphash.MakeSeed()
	}
	k.cursor, k.fresh, k.here = 0, make([]knownSeries, 0, len(k.series)), nil
	if k.twice {
		k.here, k.twice = map[uint64]float64{}, false
	}
}

// find returns what the next series is, by its text, if the page before had it
// at about the same place. keep must follow.
func (k *known) find(raw []byte) (s knownSeries, ok bool) {
	s.hash = maphash.Bytes(k.seed, raw)
	// A few series that are gone are stepped over, new ones are let in between.
	const ahead = 8
	for i := k.cursor; i < min(k.cursor+ahead, len(k.series)); i++ {
		if k.series[i].hash == s.hash {
			k.cursor = i + 1
			return k.series[i], true
		}
	}
	if k.here == nil {
		k.here = map[uint64]float64{}
		for _, before := range k.fresh {
			if before.what.to != nil {
				k.here[before.hash] = absent
			}
		}
	}
	return s, false
}

func (k *known) keep(s knownSeries) { k.fresh = append(k.fresh, s) }

// again reports whether the page has had the series of a value already, and then its
// first value: absent where that was not noted, which it is when the page is begun
// again.
func (k *known) again(s knownSeries, v float64) (first float64, again bool) {
	if k.here == nil {
		return 0, false
	}
	if first, again = k.here[s.hash]; again {
		k.twice = true
	} else {
		k.here[s.hash] = v
	}
	return first, again
}

// end takes over the series of a page that was parsed, and its lines if it is
// text.
func (k *known) end(page []byte, text bool) {
	k.series, k.fresh, k.lines, k.here = k.fresh, nil, nil, nil
	if !text || k.twice || bytes.IndexByte(page, 0) >= 0 { // which may end a text page early
		return
	}
	lines := make([]knownLine, 0, len(k.series)+len(k.series)/4)
	n := 0
	for len(page) > 0 {
		var line []byte
		line, page = cutLine(page)
		if !hasValue(line) {
			lines = append(lines, knownLine{hash: maphash.Bytes(k.seed, line)})
			continue
		}
		name, _ := cutValue(line)
		one := knownLine{maphash.Bytes(k.seed, name), true}
		if n == len(k.series) || k.series[n].hash != one.hash {
			return // a label value holds a line break, say
		}
		n++
		lines = append(lines, one)
	}
	if n == len(k.series) {
		k.lines = lines
	}
}

// forget forgets the page.
func (k *known) forget() { k.series, k.fresh, k.lines, k.here = nil, nil, nil, nil }

// read calls add with each series of a text page whose lines are all known, in
// their order, and with its value. It returns false at the first line that is
// not, or that needs the parser to judge it; add has then been called in vain.
func (k *known) read(page []byte, add func(what route, v float64)) bool {
	if k.lines == nil {
		return false
	}
	n := 0
	for i := range k.lines {
		if len(page) == 0 {
			return false
		}
		var line, text []byte
		line, page = cutLine(page)
		if k.lines[i].series {
			line, text = cutValue(line)
		}
		if maphash.Bytes(k.seed, line) != k.lines[i].hash {
			return false
		}
		if !k.lines[i].series {
			continue
		}
		v, ok := plainValue(text)
		if !ok {
			return false
		}
		add(k.series[n].what, v)
		n++
	}
	return len(page) == 0
}

func cutLine(page []byte) (line, rest []byte) {
	if i := bytes.IndexByte(page, '\n'); i >= 0 {
		return page[:i], page[i+1:]
	}
	return page, nil
}

// hasValue reports whether a line of a sound text page is a series and not a
// comment or blank.
func hasValue(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	return len(line) > 0 && line[0] != '#'
}

// cutValue cuts a series' line into name and labels, and value: behind the last
// brace, which neither a value nor a time holds, or where the name ends.
func cutValue(line []byte) (series, value []byte) {
	i := bytes.LastIndexByte(line, '}') + 1
	if i == 0 {
		if i = bytes.IndexAny(line, " \t"); i < 0 {
			i = len(line)
		}
	}
	return line[:i], line[i:]
}

// plainValue reads a value that stands between its series and the end of the
// line, without a time.
func plainValue(text []byte) (v float64, ok bool) {
	text = bytes.Trim(text, " \t")
	if n, ok := smallInteger(text); ok {
		return n, true
	}
	// As the parser does, which keeps to the number formats of old.
	if len(text) == 0 || len(text) > 40 || bytes.ContainsAny(text, "pP_xX \t") {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return 0, false
	}
	if v != v {
		v = math.NaN()
	}
	return v, true
}

// smallInteger reads what most values are.
func smallInteger(text []byte) (float64, bool) {
	if len(text) == 0 || len(text) > 15 {
		return 0, false
	}
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return float64(n), true
}

// isText reports whether a page of this content type, which parses, is in the
// text format.
func isText(page []byte, contentType string) bool {
	media, err := mediaType(page, contentType)
	return err == nil && strings.EqualFold(media, mediaText)
}
