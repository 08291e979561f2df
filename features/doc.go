// Package features turns telemetry into the numbers a model scores.
//
// The nouns:
//
//   - A [Metric] is a quantity that components of one kind report; [Metrics]
//     lists them.
//   - A [Schema] is a kind's metrics crossed with windows and statistics: a
//     fixed order of named, described features with a version.
//   - A [Window] is one component's rolling state. It takes scrapes in the
//     order of time and gives the newest vector. A [Store] holds the windows of
//     all components.
//   - A [Scraper] reads a Prometheus exposition page through a [Mapping], a
//     [Host] reads the machine it runs on; both give root samples.
//   - A history is recorded telemetry ([HistoryWriter], [ReadHistory]); played
//     through a Store it gives the vectors that were scored online, bit for bit.
//
// NaN is "not reported" from the scrape to the vector: a failed read never
// becomes a zero, and what vanished is itself a feature.
//
// The package does not score, detect failures or keep telemetry: memory per
// component is fixed, whatever the rate at which samples arrive.
package features
