package engine

import (
	"slices"

	"github.com/stratoswarm/forestall"
)

// undescribed drops components that their source, which lives on, has not
// described for so long that they are no more. Those that another has taken over
// stay.
func (t *telemetry) undescribed(source string, components []forestall.Component) {
	components = slices.DeleteFunc(components, func(c forestall.Component) bool { return !t.owners.releaseOne(source, c) })
	if len(components) == 0 {
		return
	}
	t.drop(components)
	t.log.Info("components that their source describes no longer are forgotten", "source", source, "components", len(components), "first", components[0])
}

// drop forgets components that are no more.
func (t *telemetry) drop(components []forestall.Component) {
	for _, c := range components {
		t.lanes.forget(c)
		t.unusual.forget(c)
	}
	t.judged.forget(components)
	t.refilled.forget(components)
	t.past.forget(components)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range components {
		delete(t.gone, c)
		for _, source := range []string{c.String(), windowsOf(c)} {
			delete(t.failing, source)
			t.metrics.scrapeErrors.DeleteLabelValues(source)
		}
	}
}

// windowsOf is the source that the windows of a component are in the log.
func windowsOf(c forestall.Component) string { return "windows of " + c.String() }

// forget drops what has happened to components that are no more.
func (p *past) forget(components []forestall.Component) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range components {
		delete(p.xids, c)
	}
}

// releaseOne makes a component no one's if source had it, and reports that.
func (o *owners) releaseOne(source string, c forestall.Component) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if have, ok := o.of[c]; !ok || have.source != source {
		return false
	}
	delete(o.of, c)
	return true
}
