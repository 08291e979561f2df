// Package predict turns windows of telemetry into risks.
//
// A [Scorer] holds one model per kind of component. It scores a window's vector,
// grades the probability with hysteresis and gives the reasons in words. What
// cannot be judged, because a window is thin, stale or of another schema, is
// Unknown with a note, never 0. [JointRisk] joins the risks of the parts that a
// workload runs on, [FleetOf] those of a whole fleet. An [Accuracy] compares predictions with the failures that
// came or did not come, a [Trial] those of two models. A [Tally] counts the alarms
// that thresholds would raise, for [BudgetThreshold], and a [Drift] tells whether
// telemetry is still of the kind that the model knows. An [UnlikeFit] fits to ordinary
// operation what a scorer then finds components unlike to.
//
// The package does not scrape, does not act and does not train; how a model is
// evaluated and explained is package model's business.
package predict
