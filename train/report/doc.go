// Package report writes an evaluation as one HTML page for people: it draws the
// curves, ranks the features and shows the worst mistakes with their reasons.
//
// A [Page] is everything that the page says. [Collect] reads from a table what
// only its rows tell; [Page.Render] writes the page, which needs nothing but
// itself. The package measures nothing and judges no rows of its own.
package report
