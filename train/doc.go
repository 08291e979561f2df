// Package train makes models from what was recorded. It works offline: it scores
// nothing live and changes nothing. The nouns:
//
//   - A [Verdict] is what a row of telemetry is worth to a learner; a [Labeler]
//     gives it, from incidents that [ReadIncidents] reads.
//   - A [Dataset] is a table with each value held as the number of its bin, made
//     under a [Spec]. Tables are read by package table.
//   - [Train] fits trees to a dataset under [Params]; a [Result] is the trained
//     model. A [Base] is a model that a training goes on from.
//   - A [Split] cuts rows into a [Fold] to train on and rows that judge, by time
//     or by component, never at random. [CrossValidation] judges parameters on
//     folds, [Search] looks for good ones.
//   - [Calibrate] fits probabilities to rows held out.
//   - [Scores] are rows that a model has judged; [Evaluate] measures them, with
//     intervals from a bootstrap over components. Package report shows it.
//
// DESIGN.md beside this file says why it is built as it is.
package train
