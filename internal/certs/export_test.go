package certs

// Recheck is what Run does now and then.
func (p *Peers) Recheck(set *Set) { p.recheck(set) }
