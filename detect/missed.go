package detect

import "time"

// Missed returns how many beats are overdue at now when the last one came at
// last and one is due every interval: the whole intervals between them. A beat
// counts as missed from the moment it is due.
func Missed(last, now time.Time, interval time.Duration) int {
	if !now.After(last) {
		return 0
	}
	return int(now.Sub(last) / interval)
}

// skipped returns how many beats are missing between two that came: a late one
// is late, not missing.
func skipped(last, next time.Time, interval time.Duration) int {
	return max(0, Missed(last, next, interval)-1)
}

// resumed returns from when on a component's beats are counted after the
// checker itself stood still from checked until now. The pause doesn't count,
// and the component has at least one interval from now on to show itself.
func resumed(from, checked, now time.Time, interval time.Duration, threshold int) time.Time {
	earliest := now.Add(-time.Duration(threshold-1) * interval)
	from = from.Add(now.Sub(checked))
	if from.Before(earliest) {
		from = earliest
	}
	if from.After(now) {
		from = now
	}
	return from
}
