//go:build cgo && linux

package nvml

import (
	"time"

	nv "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/stratoswarm/forestall/gpu"
)

const (
	maxXIDs   = 256             // kept until asked for; the newest are dropped beyond
	eventWait = 1000            // ms that one wait for an event takes at most
	eventRest = 1 * time.Second // after a wait that failed, as for a lost GPU
)

// watch lets the event set hear of a GPU's XIDs, where it can.
func (b *boards) watch(device nv.Device, uuid string) {
	if b.set == nil {
		return
	}
	if b.has("nvmlDeviceGetSupportedEventTypes") {
		if types, ret := device.GetSupportedEventTypes(); ret != nv.SUCCESS || types&nv.EventTypeXidCriticalError == 0 {
			return
		}
	}
	b.mu.Lock()
	b.watched[device] = uuid // before the first event of it can come
	b.mu.Unlock()
	if ret := device.RegisterEvents(nv.EventTypeXidCriticalError, b.set); ret != nv.SUCCESS {
		b.mu.Lock()
		delete(b.watched, device)
		b.mu.Unlock()
	}
}

// listen waits for XIDs for as long as the process lives.
func (b *boards) listen() {
	for {
		event, ret := b.set.Wait(eventWait)
		switch {
		case ret == nv.ERROR_TIMEOUT:
		case ret != nv.SUCCESS:
			time.Sleep(eventRest)
		default:
			b.hear(event, time.Now())
		}
	}
}

// hear keeps an XID. Handles compare, so that no call is made on a GPU that may
// just have died.
func (b *boards) hear(event nv.EventData, now time.Time) {
	if event.EventType != nv.EventTypeXidCriticalError {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	uuid, ok := b.watched[event.Device]
	if !ok || len(b.xids) >= maxXIDs {
		return
	}
	b.xids = append(b.xids, gpu.XIDReport{UUID: uuid, Code: int(event.EventData), Time: now.UTC()})
}

// XIDs implements [gpu.Boards].
func (b *boards) XIDs() []gpu.XIDReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.listening && len(b.watched) > 0 {
		b.listening = true
		go b.listen()
	}
	xids := b.xids
	b.xids = nil
	return xids
}
