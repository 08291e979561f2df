// Package anomaly says how unusual a row of metrics is, for components of which
// no failure is known and no model was trained. It needs no labels.
//
// A [Detector] is fitted to rows of ordinary operation: it knows each metric's
// usual level and spread. The surprise of a row is that of its few most unusual
// metrics. A [Tracker] follows one component: it may smooth the surprise over
// time, and compares it with the detector's threshold, which is chosen on rows of
// ordinary operation too.
//
// What comes out is no probability, and a component that is unusual need not be
// failing. The package does not scrape, keeps no history and learns nothing
// while it watches.
package anomaly
