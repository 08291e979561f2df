package predict

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// What waits for its outcome is most of a [Memory], 60 predictions of each
// component, so it is written in a form of its own: see docs/format/predictions.md.

// Marks of a track: what of it is there.
const (
	markDown = 1 << iota
	markAlarm
	markFailed
	markAlone
)

func marked(there bool, mark uint64) uint64 {
	if there {
		return mark
	}
	return 0
}

// trackWriter appends tracks. Models are numbered as they come.
type trackWriter struct {
	b      []byte
	models map[string]uint64
	names  []string
}

func (w *trackWriter) uint(v uint64) { w.b = binary.AppendUvarint(w.b, v) }
func (w *trackWriter) int(v int64)   { w.b = binary.AppendVarint(w.b, v) }
func (w *trackWriter) share(p float64) {
	w.b = binary.LittleEndian.AppendUint64(w.b, math.Float64bits(p))
}
func (w *trackWriter) text(s string)       { w.uint(uint64(len(s))); w.b = append(w.b, s...) }
func (w *trackWriter) instant(t time.Time) { w.int(t.UnixNano()) }

func (w *trackWriter) model(name string) {
	n, ok := w.models[name]
	if !ok {
		if w.models == nil {
			w.models = map[string]uint64{}
		}
		n = uint64(len(w.names))
		w.models[name], w.names = n, append(w.names, name)
	}
	w.uint(n)
}

// span writes when a prediction was made, after the one before, and for how long it
// speaks, both in milliseconds: the resolution of scrapes.
func (w *trackWriter) span(before, at, until time.Time) {
	w.int(at.UnixMilli() - before.UnixMilli())
	w.int(until.UnixMilli() - at.UnixMilli())
}

func (w *trackWriter) track(c forestall.Component, t *track) {
	w.text(c.String())
	marks := marked(t.Down, markDown) | marked(!t.Alarm.Since.IsZero(), markAlarm) | marked(!t.Failed.IsZero(), markFailed)
	w.uint(marks)
	w.instant(t.Since)
	if marks&markAlarm != 0 {
		w.instant(t.Alarm.Since)
		w.instant(t.Alarm.Until)
		w.model(t.Alarm.Model)
	}
	if marks&markFailed != 0 {
		w.instant(t.Failed)
	}
	w.uint(uint64(len(t.Pending)))
	before := time.UnixMilli(0)
	for _, p := range t.Pending {
		w.span(before, p.At, p.Until)
		before = p.At
		w.uint(marked(p.Alarm, 1))
		w.model(p.Model)
		w.share(p.Probability)
		w.share(p.Share)
	}
}

func (w *trackWriter) pairs(c forestall.Component, t *pairTrack) {
	w.text(c.String())
	marks := marked(t.Down, markDown) | marked(!t.Failed.IsZero(), markFailed) | marked(!t.Alone.IsZero(), markAlone)
	w.uint(marks)
	w.instant(t.Since)
	if marks&markFailed != 0 {
		w.instant(t.Failed)
	}
	if marks&markAlone != 0 {
		w.instant(t.Alone)
	}
	w.uint(uint64(len(t.Pending)))
	before := time.UnixMilli(0)
	for _, p := range t.Pending {
		w.span(before, p.At, p.Until)
		before = p.At
		w.share(p.Champion)
		w.share(p.Challenger)
	}
}

// tracksOf writes all tracks of an accuracy.
func (w *trackWriter) tracksOf(tracks map[forestall.Component]*track) {
	w.uint(uint64(len(tracks)))
	for _, c := range slices.SortedFunc(maps.Keys(tracks), forestall.Component.Compare) {
		w.track(c, tracks[c])
	}
}

// bytes returns the names of the models, then what was written.
func (w *trackWriter) bytes() []byte {
	names := trackWriter{}
	names.uint(uint64(len(w.names)))
	for _, name := range w.names {
		names.text(name)
	}
	return append(names.b, w.b...)
}

var errTracks = errors.New("what waits for its outcome is cut off or damaged")

// trackReader reads them. Its first error stays.
type trackReader struct {
	b     []byte
	names []string
	err   error
}

func (r *trackReader) fail() {
	if r.b = nil; r.err == nil {
		r.err = errTracks
	}
}

func (r *trackReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *trackReader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many things follow, each of at least one byte.
func (r *trackReader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *trackReader) text() string {
	n := r.count()
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *trackReader) share() float64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	if !(v >= 0 && v <= 1) {
		r.fail()
	}
	return v
}

func (r *trackReader) instant() time.Time { return time.Unix(0, r.int()).UTC() }

func (r *trackReader) model() string {
	n := r.uint()
	if n >= uint64(len(r.names)) {
		r.fail()
		return ""
	}
	return r.names[n]
}

func (r *trackReader) span(before int64) (at, until time.Time, ms int64) {
	ms = before + r.int()
	return time.UnixMilli(ms).UTC(), time.UnixMilli(ms + r.int()).UTC(), ms
}

func (r *trackReader) component() (c forestall.Component) {
	if err := c.UnmarshalText([]byte(r.text())); err != nil && r.err == nil {
		r.err = fmt.Errorf("%w: %w", errTracks, err)
	}
	return c
}

func (r *trackReader) models() {
	for range r.count() {
		r.names = append(r.names, r.text())
	}
}

func (r *trackReader) tracksOf() map[forestall.Component]*track {
	tracks := map[forestall.Component]*track{}
	for range r.count() {
		c, marks := r.component(), r.uint()
		t := &track{Since: r.instant(), Down: marks&markDown != 0}
		if marks&markAlarm != 0 {
			t.Alarm = alarm{r.instant(), r.instant(), r.model()}
		}
		if marks&markFailed != 0 {
			t.Failed = r.instant()
		}
		before := int64(0)
		for range r.count() {
			var p prediction
			p.At, p.Until, before = r.span(before)
			p.Alarm, p.Model, p.Probability, p.Share = r.uint() != 0, r.model(), r.share(), r.share()
			t.Pending = append(t.Pending, p)
			if r.err != nil {
				return nil
			}
		}
		tracks[c] = t
	}
	return tracks
}

func (r *trackReader) pairsOf() map[forestall.Component]*pairTrack {
	tracks := map[forestall.Component]*pairTrack{}
	for range r.count() {
		c, marks := r.component(), r.uint()
		t := &pairTrack{Since: r.instant(), Down: marks&markDown != 0}
		if marks&markFailed != 0 {
			t.Failed = r.instant()
		}
		if marks&markAlone != 0 {
			t.Alone = r.instant()
		}
		before := int64(0)
		for range r.count() {
			var p pair
			p.At, p.Until, before = r.span(before)
			p.Champion, p.Challenger = r.share(), r.share()
			t.Pending = append(t.Pending, p)
			if r.err != nil {
				return nil
			}
		}
		tracks[c] = t
	}
	return tracks
}
