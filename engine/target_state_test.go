package engine

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestTargetStates: a page that never answered is listed, with why, and the status
// says that its components are in no list.
func TestTargetStates(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good, bad := &page{url: "http://a/metrics"}, &page{url: "http://b/metrics"}
	list := &targets{groups: []*targetGroup{{key: "features.target[0]", pages: map[string]*page{good.url: good, bad.url: bad, "http://c": {url: "http://c", away: at}}}}}
	if note := targetNote(list.states()); note != "" {
		t.Errorf("before anything was read: %q", note)
	}
	list.read(good, at, 8, nil)
	list.read(bad, at, 0, errors.New("500 Internal Server Error"))
	all := list.states()
	if len(all) != 2 || !all[0].Up || all[0].Components != 8 || all[1].Up || !all[1].Read.IsZero() || !all[1].Tried.Equal(at) || all[1].Error == "" {
		t.Errorf("%+v", all)
	}
	if note := targetNote(all); !strings.Contains(note, "1 of 2 targets cannot be read, 1 of them") || !strings.Contains(note, "http://b/metrics: 500") {
		t.Errorf("%q", note)
	}
	list.read(good, at.Add(time.Minute), 0, errors.New("connection refused"))
	if s := list.states()[0]; s.Up || s.Components != 8 || !s.Read.Equal(at) {
		t.Errorf("after a failure: %+v", s)
	}
}
