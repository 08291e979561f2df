// Package gpu is what a node can see of its GPUs.
//
// A [Source] lists the node's [Device] set, reads one device's samples at a
// time and hands over events such as XIDs. [Sim] is a source of simulated
// GPUs whose readings follow production marginals and which fail on request
// in one of the named [Mode] ways; [OpenNVML] opens the real one.
//
// A source observes and nothing else: it keeps no history, judges no reading
// and never turns "could not be read" into a value. A metric that was asked
// for and not reported is NaN; a device that has vanished is [ErrGone]; a
// source that cannot be used at all is [ErrUnavailable], which says nothing
// about the hardware.
package gpu
