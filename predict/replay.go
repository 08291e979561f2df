package predict

import (
	"iter"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// Replay pushes recorded scrapes, each of one component at one time and all in the
// order of time, into the store, and judges them as an engine does that has scraped
// them: a component after its first scrape in each interval, counted from 1970, once
// all that was scraped at the same time has been pushed; an interval of 0 means after
// each scrape. visit is called with each risk and the scrape's time. Scrapes of a kind
// for which the store has no schema are passed over.
//
// Errors are those of the scrapes, of [features.Store.Push] and of visit.
func (s *Scorer) Replay(scrapes iter.Seq2[[]forestall.Sample, error], store *features.Store, interval time.Duration, visit func(t time.Time, r forestall.Risk) error) error {
	p := replay{scorer: s, store: store, known: map[string][]forestall.Component{}, due: map[forestall.Component]bool{}, visit: visit}
	number := map[forestall.Component]int64{}
	for scrape, err := range scrapes {
		if err != nil {
			return err
		}
		c, t := scrape[0].Component, scrape[0].Time
		if store.Schema(c.Kind) == nil {
			continue
		}
		if !t.Equal(p.at) {
			if err := p.flush(); err != nil {
				return err
			}
			p.at = t
		}
		if err := store.Push(scrape, -1); err != nil {
			return err
		}
		n := t.UnixMilli() / max(interval.Milliseconds(), 1)
		before, seen := number[c]
		number[c] = n
		if !seen {
			p.add(c)
		}
		if interval == 0 || !seen || n != before {
			p.due[c] = true
			if group := groupOf(c); !slices.Contains(p.groups, group) {
				p.groups = append(p.groups, group)
			}
		}
	}
	return p.flush()
}

// replay is one under way.
type replay struct {
	scorer *Scorer
	store  *features.Store
	visit  func(time.Time, forestall.Risk) error
	known  map[string][]forestall.Component // by group: siblings, or one component

	at     time.Time // of the newest scrapes
	due    map[forestall.Component]bool
	groups []string // of those that are due
}

// groupOf names what is judged together.
func groupOf(c forestall.Component) string {
	if c.Kind == forestall.KindGPU {
		return c.Kind.String() + "/" + c.NodeName()
	}
	return c.String()
}

func (p *replay) add(c forestall.Component) {
	group := groupOf(c)
	all := p.known[group]
	at, _ := slices.BinarySearchFunc(all, c, forestall.Component.Compare)
	p.known[group] = slices.Insert(all, at, c)
}

// flush judges what is due.
func (p *replay) flush() error {
	for _, group := range p.groups {
		for _, r := range p.scorer.score(p.at, p.store, p.known[group], p.due) {
			if err := p.visit(p.at, r); err != nil {
				return err
			}
		}
	}
	p.groups = p.groups[:0]
	clear(p.due)
	return nil
}
