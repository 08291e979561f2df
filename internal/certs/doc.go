// Package certs lets programs know each other by certificates that lie in files
// and are renewed there while the programs run.
//
//   - A [Source] holds what the files hold now: it reads them again when they
//     change, and keeps what it has while they do not fit together.
//   - [Peers] carries connections between the nodes of one cluster: both ends show
//     a certificate that the cluster's CA signed and that names a node of it.
//   - [Look] says what is wrong with files, for an operator.
//
// TLS 1.3 only between nodes. A certificate names a node by a DNS name that is
// the node's name, letter for letter; wildcards name nobody. The package makes no
// keys and no certificates, and checks no revocation lists: who is to be kept out
// is kept out by another CA.
package certs
