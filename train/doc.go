// Package train turns recorded telemetry and incidents into labelled data.
//
// A [Labeler] says what a row of telemetry is worth to a learner: its
// [Verdict]. Incidents come from a file that [ReadIncidents] reads and
// [WriteIncidents] writes. The package works offline on what was recorded; it
// scores nothing live and changes nothing.
package train
