package features

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestLastXIDs: a scraper that begins where another ended takes what has come since
// for news, of each MIG instance by itself, and nothing else.
func TestLastXIDs(t *testing.T) {
	one := func(instance, pod string, v int) string {
		return fmt.Sprintf("DCGM_FI_DEV_XID_ERRORS{gpu=\"0\",Hostname=\"n1\",GPU_I_ID=%q,pod=%q} %d\n", instance, pod, v)
	}
	const counts = "DCGM_EXP_XID_ERRORS_COUNT{gpu=\"0\",Hostname=\"n1\",xid=\"79\"} 1\n"
	target := newTarget(t)
	for _, tt := range []struct {
		name, before, after string
		want                []int
		changed             bool
	}{
		{"nothing new", one("1", "a", 79), one("1", "a", 79), nil, false},
		{"an XID", one("1", "a", 0), one("1", "a", 79), []int{79}, true},
		{"another one", one("1", "a", 79), one("1", "a", 48), []int{48}, true},
		{"a reset", one("1", "a", 79), one("1", "a", 0), nil, true},
		{"of the second instance", one("1", "a", 79) + one("2", "a", 31), one("1", "a", 79) + one("2", "a", 79), []int{79}, true},
		{"another pod", one("1", "a", 79), one("1", "b", 79), nil, false},
		{"another pod and an XID", one("1", "a", 31), one("1", "b", 79), []int{79}, true},
		{"counted as well", one("1", "a", 0), one("1", "a", 79) + counts, []int{79}, true},
		{"never read before", "", one("1", "a", 79), nil, true},
	} {
		var first LastXIDs
		scrape := func(xids *LastXIDs, page string, at time.Time) (events []forestall.Event) {
			s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm"), LastXIDs: xids})
			for i := range 2 {
				target.page("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"n1\"} 50\n" + page)
				scrapeOnce(t, s, at.Add(time.Duration(i)*time.Second))
				events = append(events, s.Events()...)
			}
			return events
		}
		if events := scrape(&first, tt.before, epoch); len(events) > 0 {
			t.Errorf("%s: events %v at the first start", tt.name, events)
		}
		file := first.Encode(epoch)
		var second LastXIDs
		if err := second.Decode(file); err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, e := range scrape(&second, tt.after, epoch.Add(time.Hour)) {
			got = append(got, e.Code)
			if want := "it came after 2026-01-02 03:04:06Z, when that was read last, and before 2026-01-02 04:04:05Z"; !strings.Contains(e.Detail, want) {
				t.Errorf("%s: detail %q, want %q", tt.name, e.Detail, want)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if changed := second.Changed(); changed != tt.changed || second.Changed() {
			t.Errorf("%s: changed %v", tt.name, changed)
		}
		if tt.before == "" && len(second.Aged()) != 1 {
			t.Errorf("%s: %v", tt.name, second.Aged())
		}
		if again := second.Encode(epoch.Add(91 * 24 * time.Hour)); bytes.Count(again, []byte{'\n'}) != 1 {
			t.Errorf("%s: old XIDs are kept: %s", tt.name, again)
		}
	}
}

func FuzzLastXIDs(f *testing.F) {
	var l LastXIDs
	l.read(forestall.GPU("n1", 0), epoch, []lastOne{{1, 79}, {-1, 0}})
	l.readKernel("6f6e7c1e-boot", 7, false)
	f.Add(l.Encode(epoch))
	f.Add([]byte("forestall-xids 1 \n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if _, body, ok := bytes.Cut(file, []byte{'\n'}); ok { // a sum that is right, so that the body is read
			file = sealedXIDs(body)
		}
		var l LastXIDs
		if err := l.Decode(file); err != nil {
			if !errors.Is(err, ErrLastXIDs) {
				t.Errorf("error %v", err)
			}
			return
		}
		again := l.Encode(time.Time{})
		var m LastXIDs
		if err := m.Decode(again); err != nil || !bytes.Equal(again, m.Encode(time.Time{})) {
			t.Errorf("%q is not read as it was written: %v", again, err)
		}
	})
}
