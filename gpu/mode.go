package gpu

import (
	"fmt"
	"slices"
	"strings"
)

// Mode names a way in which a simulated GPU fails. It unfolds over a stated
// time; x is the share of that time which has passed.
//
//	mode                 what is seen first             then                                    at the end
//	thermal_runaway      memory and die temperature     from 88 °C throttling: the clock and    98 °C, XID 79,
//	                     rise from the first second     with it the power drop                  reads fail with ErrGone
//	ecc_storm            corrected errors, from 3 a     x 0.5: rows remapped (XID 63), remap    XID 48, 64 and 95; reads go on:
//	                     minute to 50 a second          pending; x 0.9: a double bit error (94) idle, no memory in use
//	link_degradation     PCIe replays and NVLink        x 0.5: PCIe width 16, 8, 4, later its   XID 79,
//	                     errors, rising exponentially   generation; power drops as work waits;  reads fail with ErrGone
//	                                                    x 0.9: NVLinks go down (XID 74)
//	falls_off_bus        nothing before x 0.95, then    nothing                                 XID 79,
//	                     a few PCIe replays                                                     reads fail with ErrGone
//	telemetry_collapse   x 0.15: series flicker, then   reads take longer, up to 1.5 s;         XID 79,
//	                     vanish one after another       x 0.95: XID 119                         reads fail with ErrGone
//
// The XIDs that call for a reset of the device (48, 64, 74, 79, 95, 119) come in
// the last tenth only: before it, a mode shows in the metrics alone.
// XID 79 comes with an event forestall.EventFellOffBus.
type Mode string

// The modes. ModeNone is a healthy GPU; injecting it replaces the device by
// a new one.
const (
	ModeNone              Mode = "none"
	ModeThermalRunaway    Mode = "thermal_runaway"
	ModeECCStorm          Mode = "ecc_storm"
	ModeLinkDegradation   Mode = "link_degradation"
	ModeFallsOffBus       Mode = "falls_off_bus"
	ModeTelemetryCollapse Mode = "telemetry_collapse"
)

// Modes returns all modes, ModeNone first.
func Modes() []Mode {
	return []Mode{
		ModeNone, ModeThermalRunaway, ModeECCStorm, ModeLinkDegradation,
		ModeFallsOffBus, ModeTelemetryCollapse,
	}
}

// ParseMode reads a mode's name. The error lists the accepted ones.
func ParseMode(s string) (Mode, error) {
	if m := Mode(s); slices.Contains(Modes(), m) {
		return m, nil
	}
	var names []string
	for _, m := range Modes() {
		names = append(names, string(m))
	}
	return "", fmt.Errorf("failure mode %q is not one of %s", s, strings.Join(names, ", "))
}

// endsGone reports whether a device that failed this way no longer answers.
func (m Mode) endsGone() bool { return m != ModeNone && m != ModeECCStorm }
