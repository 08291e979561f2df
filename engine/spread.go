package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/migrate"
)

// zones returns which zones members are in, failed ones included.
func (e *Engine) zones() map[string]bool {
	zones := map[string]bool{e.cfg.Engine.Zone: true}
	e.ledger.View(func(s *migrate.State) {
		for _, n := range s.Nodes {
			if n.State != forestall.MemberLeft {
				zones[n.Zone] = true
			}
		}
	})
	return zones
}

// inOneZone says which workloads' newest checkpoints counted on nodes of one zone
// alone, although members are in several and replicas are to be; "": none.
func (e *Engine) inOneZone() string {
	ft := e.cfg.FaultTolerance
	if !ft.GeoDistributed || ft.ConsistencyLevel == string(checkpoint.ConsistencyOne) || len(e.zones()) < 2 {
		return ""
	}
	var names []string
	e.ledger.View(func(s *migrate.State) {
		for name, w := range s.Workloads {
			if w.Retired || w.Completed || w.Head == nil {
				continue
			}
			zones := map[string]bool{}
			for _, r := range w.Head.Replicas {
				if n := s.Nodes[r]; n != nil {
					zones[n.Zone] = true
				}
			}
			if len(zones) == 1 {
				names = append(names, name)
			}
		}
	})
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	more := ""
	if n := len(names); n > 5 {
		names, more = names[:5], fmt.Sprintf(" and %d more", n-5)
	}
	return fmt.Sprintf("under-spread: the newest checkpoint of %s%s counted on nodes of one zone alone; if that zone is lost, so may it be", strings.Join(names, ", "), more)
}
