// Package predict turns windows of telemetry into risks.
//
// A [Scorer] holds one model per kind of component. It scores a window's vector,
// grades the probability with hysteresis and gives the reasons in words. What
// cannot be judged, because a window is thin, stale or of another schema, is
// Unknown with a note, never 0. [JobRisk] joins the risks of the parts that a
// workload runs on. An [Accuracy] compares predictions with the failures that
// came or did not come.
//
// The package does not scrape, does not act and does not train; how a model is
// evaluated and explained is package model's business.
package predict
