// Package anomaly says how unusual a row of metrics is, for components of which
// no failure is known and no model was trained. It needs no labels.
//
// The surprise of a row is that of its few most unusual metrics, each measured
// against its own usual level and spread. There are two ways to know these. A
// [Detector] is fitted to rows of ordinary operation that are all there; a
// [Tracker] compares a component with it; a [Fitting] fits one to rows of many
// components that it is shown once. A [Learner] learns them of one component
// while it watches it, in fixed memory, and the threshold too: the lowest surprise
// that was reached no oftener than the operator bears. A [Watch] has a learner for
// each component.
//
// What comes out is no probability, and a component that is unusual need not be
// failing. The package does not scrape and knows no time but that of the scrapes:
// what is played again comes out the same.
package anomaly
