package engine

import "time"

// timing is what a cluster profile fixes beside Raft's and gossip's own.
type timing struct {
	lease  time.Duration // term of a workload's lease; renewed every third of it
	report time.Duration // between a node's reports to the leader
	policy time.Duration // between the leader's decisions
	fresh  time.Duration // how old a witness's word may be
}

// profileTiming returns the timing of cluster.profile. In "fast" a node that
// dies is detected in about a second and its workloads start elsewhere once
// their leases have run out, about five seconds after its death; the price is
// traffic, and that a node whose engine is stopped for three seconds loses its
// workloads.
func profileTiming(profile string) timing {
	if profile == "fast" {
		return timing{lease: 3 * time.Second, report: 250 * time.Millisecond, policy: 100 * time.Millisecond, fresh: 2 * time.Second}
	}
	return timing{lease: 15 * time.Second, report: time.Second, policy: 500 * time.Millisecond, fresh: 5 * time.Second}
}
