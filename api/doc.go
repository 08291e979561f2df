// Package api serves what an engine knows over HTTP: risk with its reasons,
// status, members, workloads, checkpoints, migrations and incidents; it takes
// heartbeats, exposes metrics and shows one web page of the whole cluster.
//
// The nouns:
//
//   - A [Server] answers on one loopback address, and on a [Remote] one to callers
//     who show who they are. It asks the engine through the small interfaces
//     gathered in [Backend].
//   - A [Snapshot] is the state of the cluster as the page needs it; the event
//     stream pushes a new one whenever something changed.
//   - A [Client] is the same API seen from a program or a command.
//
// The package decides nothing, keeps no state but a few minutes of risk for the
// page's sparklines, and knows no secrets: [Config].Admit says who may do what. On
// the loopback address it asks nobody unless told to. docs/api.md lists the endpoints.
package api
