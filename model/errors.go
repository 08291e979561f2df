package model

import "errors"

// Errors about what was handed in.
var (
	// ErrFormat is wrapped by every error about a text that is no usable
	// LightGBM model: malformed, or of a kind that is not supported.
	ErrFormat = errors.New("not a usable LightGBM model")
	// ErrCard is wrapped by every error about a model card.
	ErrCard = errors.New("not a usable model card")
	// ErrWidth is returned for a row that has not exactly one value per
	// feature, or a destination of the wrong length.
	ErrWidth = errors.New("wrong number of values")
)

// Errors about the model itself.
var (
	// ErrMismatch is wrapped when a model and its card do not belong together.
	ErrMismatch = errors.New("model and card do not match")
	// ErrSecondOpinion is wrapped when the independent evaluator scores the
	// probe rows differently, or cannot read the model at all.
	ErrSecondOpinion = errors.New("second opinion disagrees")
	// ErrNoCounts is returned by Contributions for a model whose text lacks a
	// positive leaf_count for each leaf: the path-dependent weights need them.
	ErrNoCounts = errors.New("the model has no leaf counts, so its scores cannot be explained")
	// ErrNoProbability is returned for a regression model without a
	// calibration: its score is no probability.
	ErrNoProbability = errors.New("a regression score is no probability without a calibration in the card")
)
