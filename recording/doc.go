// Package recording keeps telemetry on disk and reads it back.
//
// The nouns:
//
//   - A recording is a directory. A [Recorder] writes it: raw samples as they
//     were scraped, and, where asked for, the vectors that were scored.
//   - A journal is what the recorder has not packed yet: lines of text, appended
//     and synced, so that what a crash leaves can be read to the last sync.
//   - A segment is a Parquet file, complete or not there, of one kind of
//     component and one [Content]: a row is a scrape, a column a metric.
//   - A [Recording] is some of these opened for reading: [Recording.Scrapes]
//     gives their scrapes in the order of time.
//
// docs/format/telemetry.md describes the files. The package does not know what
// metrics mean, and never invents a value: what was not reported is NaN.
package recording
