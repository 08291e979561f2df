package predict

import (
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// Score judges one component from its window, without siblings.
func (s *Scorer) Score(c forestall.Component, now time.Time, w *features.Window) forestall.Risk {
	j := s.judges[c.Kind]
	return s.grade(s.judge(j, s.look(j, c, now, w), nil))
}
