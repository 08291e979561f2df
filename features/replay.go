package features

import (
	"iter"
	"time"

	"github.com/stratoswarm/forestall"
)

// Replay pushes recorded scrapes, each of one component at one time and all in
// the order of time, into the store, as an engine did that scraped them. After
// the first scrape of a component in each interval, counted from 1970, it calls
// visit with the component's window; an interval of 0 means each scrape. Scrapes
// of a kind for which the store has no schema are passed over.
//
// visit must not keep the window. Errors are those of the scrapes, of
// [Store.Push] and of visit.
func Replay(scrapes iter.Seq2[[]forestall.Sample, error], store *Store, interval time.Duration, visit func(c forestall.Component, t time.Time, w *Window) error) error {
	visited := map[forestall.Component]int64{}
	for scrape, err := range scrapes {
		if err != nil {
			return err
		}
		c, t := scrape[0].Component, scrape[0].Time
		if store.schemas[c.Kind] == nil {
			continue
		}
		if err := store.Push(scrape, -1); err != nil {
			return err
		}
		if interval > 0 {
			number := 1 + t.UnixMilli()/max(interval.Milliseconds(), 1) // 0: none yet
			if visited[c] == number {
				continue
			}
			visited[c] = number
		}
		var failed error
		store.With(c, func(w *Window) { failed = visit(c, t, w) })
		if failed != nil {
			return failed
		}
	}
	return nil
}
