package engine

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/features"
)

// TestTargetStates: a page that never answered is listed, with why, and the status
// says that its components are in no list.
func TestTargetStates(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good, bad := &page{url: "http://a/metrics"}, &page{url: "http://b/metrics"}
	list := &targets{groups: []*targetGroup{{key: "features.target[0]", pages: map[string]*page{good.url: good, bad.url: bad, "http://c": {url: "http://c", away: at}}}}}
	if notes := targetNotes(list.states()); len(notes) > 0 {
		t.Errorf("before anything was read: %q", notes)
	}
	list.read(good, at, 8, nil)
	list.read(bad, at, 0, errors.New("500 Internal Server Error"))
	all := list.states()
	if len(all) != 2 || !all[0].Up || all[0].Components != 8 || all[1].Up || !all[1].Read.IsZero() || !all[1].Tried.Equal(at) || all[1].Error == "" {
		t.Errorf("%+v", all)
	}
	if note := strings.Join(targetNotes(all), "\n"); !strings.Contains(note, "1 of 2 targets cannot be read, 1 of them") || !strings.Contains(note, "http://b/metrics: 500") {
		t.Errorf("%q", note)
	}
	list.read(good, at.Add(time.Minute), 0, errors.New("connection refused"))
	if s := list.states()[0]; s.Up || s.Components != 8 || !s.Read.Equal(at) {
		t.Errorf("after a failure: %+v", s)
	}
	list.read(good, at.Add(2*time.Minute), 7, errors.New("gpu/n1/0 is described by another"))
	if s := list.states()[0]; s.Up || !s.InPart() || s.Components != 7 || s.Error == "" {
		t.Errorf("of a part: %+v", s)
	}
	if note := strings.Join(targetNotes(list.states()[:1]), "\n"); !strings.Contains(note, "of 1 of 1 targets only a part is taken") {
		t.Errorf("%q", note)
	}
}

// TestTargetOfTakenComponents: a target that describes what another does already says
// so in one line, however many components it has; one that has others as well is
// taken in part.
func TestTargetOfTakenComponents(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 8 {
			fmt.Fprintf(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"%d\",Hostname=\"n1\"} 50\n", i)
		}
		if r.URL.Path == "/more" {
			fmt.Fprintln(w, `DCGM_FI_DEV_GPU_TEMP{gpu="8",Hostname="n1"} 50`)
		}
	}))
	defer srv.Close()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tel, first := pageTelemetry(t, srv.URL, &now)
	g := tel.targets.groups[0]
	for _, url := range []string{srv.URL + "/same", srv.URL + "/more"} {
		if err := g.open(features.Target{URL: url}, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*page{first, g.pages[srv.URL+"/same"], g.pages[srv.URL+"/more"]} {
		tel.scrapePage(t.Context(), p)
	}
	all := tel.targets.states()
	const want = "gpu/n1/0 is described by features.target[0] "
	for i, tt := range []struct {
		up, part   bool
		components int
		errs       string
	}{
		{true, false, 8, ""},
		{false, true, 1, "; likewise 7 more"},
		{false, false, 0, "; likewise 7 more"},
	} {
		s := all[i]
		if s.Up != tt.up || s.InPart() != tt.part || s.Components != tt.components {
			t.Errorf("%+v, want %+v", s, tt)
		}
		if tt.errs != "" && (!strings.HasPrefix(s.Error, want) || !strings.HasSuffix(s.Error, tt.errs) || strings.Contains(s.Error, "\n") || strings.Count(s.Error, "gpu/") != 1) {
			t.Errorf("error %q", s.Error)
		}
	}
}
