package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
)

func TestReadingProgress(t *testing.T) {
	const size = 1000
	for name, tc := range map[string]struct {
		live, json bool
		want       string
	}{
		"terminal": {live: true, want: "\r\x1b[K[=======                       ] reading t.csv, pass 1: 25 rows, 2 s left" +
			"\r\x1b[K[===============               ] reading t.csv, pass 1: 50 rows, 2 s left" +
			"\r\x1b[K[===============               ] reading t.csv, pass 2: 50 rows, 1 s left\r\x1b[K"},
		"json": {json: true, want: `{"pass":1,"reading":"t.csv","rows":50,"share":0.5}` + "\n" +
			`{"pass":2,"reading":"t.csv","rows":50,"share":0.5}` + "\n"},
		"file": {},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			r := &readingProgress{out: &out, now: func() time.Time { return now }, live: tc.live, json: tc.json, shown: now}
			for _, step := range []struct {
				after      time.Duration
				pass, rows int
			}{{0, 1, 0}, {600 * time.Millisecond, 1, 25}, {50 * time.Millisecond, 1, 30}, {time.Second, 1, 50}, {0, 2, 0}, {time.Second, 2, 50}} {
				now = now.Add(step.after)
				r.report(train.ReadProgress{Path: "t.csv", Pass: step.pass, Progress: table.Progress{Rows: step.rows, Done: int64(step.rows) * 10, Size: size}})
			}
			r.end()
			if d := cmp.Diff(tc.want, out.String()); d != "" {
				t.Errorf("progress (-want +got):\n%s", d)
			}
		})
	}
}
