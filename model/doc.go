// Package model holds gradient-boosted tree ensembles in LightGBM's text format.
//
// An [Ensemble] is a list of regression trees over named features; a row is one
// value per feature, NaN where it is missing; its raw score is the sum of the
// leaves it falls into, in log-odds for a classifier. The contributions of a row
// are the shares of its features in that score. A [Card] says what an ensemble
// is about: which features, which horizon, how its score becomes a probability.
// A [Model] is an ensemble with its card, checked against each other; a [Tree]
// is one tree in LightGBM's own layout, on its way in or out.
//
// The package reads and writes models, evaluates and explains them, calibrates
// their scores and measures how good those are. It does not train, and it knows
// no cluster: what a feature means is its caller's business.
package model
