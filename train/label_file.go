package train

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// incidentHeader is the first line of an incidents file.
var incidentHeader = []string{"component", "start", "end", "kind"}

var failureKinds = []forestall.FailureKind{
	forestall.NodeCrash, forestall.AgentFailure, forestall.ServiceFailure,
	forestall.GPUFailure, forestall.NetworkPartition,
}

// ReadIncidents reads incidents as CSV with the header
// component,start,end,kind: a component's name (gpu/n3/0), two times in RFC
// 3339, of which the end is empty while the incident lasts, and a failure kind
// (gpu_failure). They are returned in the file's order, in UTC. An error names
// the line and the column. What begins with a bracket is a list in JSON, as the
// API and `forestall incidents --json` give it; its errors name the place in
// the list, from 1.
func ReadIncidents(r io.Reader) ([]forestall.Incident, error) {
	text := bufio.NewReader(r)
	if mark, err := text.Peek(len(byteOrderMark)); err == nil && string(mark) == byteOrderMark {
		_, _ = text.Discard(len(mark)) // as spreadsheets write it in front of UTF-8
	}
	if first, err := text.Peek(1); err == nil && first[0] == '[' {
		return incidentList(text)
	}
	rows := csv.NewReader(text)
	rows.FieldsPerRecord = len(incidentHeader)
	rows.ReuseRecord = true
	header, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read incidents: the file is empty; its first line must be %s", strings.Join(incidentHeader, ","))
	}
	if err != nil && !errors.Is(err, csv.ErrFieldCount) {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	if !slices.Equal(header, incidentHeader) {
		return nil, fmt.Errorf("read incidents: line 1: the header is %.100q, not %s", strings.Join(header, ","), strings.Join(incidentHeader, ","))
	}
	var incidents []forestall.Incident
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return incidents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read incidents: %w", err)
		}
		in, field, err := parseIncident(row)
		if err != nil {
			line, column := rows.FieldPos(field)
			return nil, fmt.Errorf("read incidents: line %d, column %d (%s): %w", line, column, incidentHeader[field], err)
		}
		incidents = append(incidents, in)
	}
}

const byteOrderMark = "\ufeff"

// oneList decodes a list in JSON, which nothing may follow: of two lists in one file
// the second would be lost.
func oneList(r io.Reader, list any) error {
	d := json.NewDecoder(r)
	if err := d.Decode(list); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the list, at byte %d", d.InputOffset())
	}
	return nil
}

func incidentList(r io.Reader) (incidents []forestall.Incident, err error) {
	if err := oneList(r, &incidents); err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	for i := range incidents {
		in := &incidents[i]
		if field, err := checkIncident(*in); err != nil {
			return nil, fmt.Errorf("read incidents: number %d, %s: %w", i+1, incidentHeader[field], err)
		}
		in.Start, in.End = in.Start.UTC(), in.End.UTC()
	}
	return incidents, nil
}

// ReadInterventions reads what was done about components from a list of
// migrations in JSON, as the API and `forestall migrations --json` give it:
// preemptive moves and drains that were carried out, each at the time when its
// source stood still. Recoveries answer a failure, and first starts are about
// nothing; they are left out.
func ReadInterventions(r io.Reader) (done []forestall.Intervention, err error) {
	var all []forestall.Migration
	if err := oneList(r, &all); err != nil {
		return nil, fmt.Errorf("read interventions: %w; a list as `forestall migrations --json` prints it is needed", err)
	}
	for i := range all {
		m := &all[i]
		at, stopped := m.At[forestall.PhaseSaved]
		if m.Action != forestall.ActionMigrate && m.Action != forestall.ActionDrain || m.Mode != forestall.Act || !stopped {
			continue
		}
		if m.Component.IsZero() {
			return nil, fmt.Errorf("read interventions: number %d: it is about no component", i+1)
		}
		done = append(done, forestall.Intervention{Decision: m.ID, Component: m.Component, Action: m.Action, Time: at.UTC()})
	}
	return done, nil
}

// parseIncident reads one row; an error comes with the field it is about.
func parseIncident(row []string) (in forestall.Incident, field int, err error) {
	if in.Component, err = forestall.ParseComponent(row[0]); err != nil {
		return in, 0, err
	}
	if in.Start, err = parseTime(row[1]); err != nil {
		return in, 1, err
	}
	if row[2] != "" {
		if in.End, err = parseTime(row[2]); err != nil {
			return in, 2, err
		}
	}
	in.Kind = forestall.FailureKind(strings.Clone(row[3]))
	field, err = checkIncident(in)
	return in, field, err
}

func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.40q is not a time in RFC 3339, such as 2026-01-31T12:00:00Z", s)
	}
	return t.UTC(), nil
}

// checkIncident reports what keeps an incident from being written and read
// back, with the field it is about.
func checkIncident(in forestall.Incident) (field int, err error) {
	year := func(t time.Time) bool { return t.UTC().Year() >= 1970 && t.UTC().Year() <= 9999 }
	if _, err := forestall.ParseComponent(in.Component.String()); err != nil {
		return 0, err
	}
	switch {
	case !year(in.Start):
		return 1, fmt.Errorf("%v does not lie in the years 1970 to 9999", in.Start)
	case !in.End.IsZero() && (!year(in.End) || in.End.Before(in.Start)):
		return 2, fmt.Errorf("%v does not lie between the start and the year 9999", in.End)
	case !slices.Contains(failureKinds, in.Kind):
		return 3, fmt.Errorf("failure kind %.40q is not one of %v", in.Kind, failureKinds)
	}
	return 0, nil
}

// WriteIncidents writes what ReadIncidents reads, times in UTC. The evidence
// is not part of the file.
func WriteIncidents(w io.Writer, incidents []forestall.Incident) error {
	rows := csv.NewWriter(w)
	write := func(row ...string) error {
		if err := rows.Write(row); err != nil {
			return fmt.Errorf("write incidents: %w", err)
		}
		return nil
	}
	if err := write(incidentHeader...); err != nil {
		return err
	}
	for i, in := range incidents {
		if field, err := checkIncident(in); err != nil {
			return fmt.Errorf("write incident %d: %s: %w", i, incidentHeader[field], err)
		}
		end := ""
		if !in.End.IsZero() {
			end = in.End.UTC().Format(time.RFC3339Nano)
		}
		if err := write(in.Component.String(), in.Start.UTC().Format(time.RFC3339Nano), end, string(in.Kind)); err != nil {
			return err
		}
	}
	rows.Flush()
	if err := rows.Error(); err != nil {
		return fmt.Errorf("write incidents: %w", err)
	}
	return nil
}
