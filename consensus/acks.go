package consensus

import (
	"sync"

	"github.com/hashicorp/raft"
)

// quorum reports whether self, if it votes, and the acked make a majority of
// the voters. Non-voters never count.
func quorum(servers []raft.Server, self raft.ServerID, acked func(raft.ServerID) bool) bool {
	voters, yes := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == self || acked(s.ID) {
			yes++
		}
	}
	return yes >= voters/2+1
}

// ackBook remembers for each peer the newest request of a term that it answered
// with yes, by the moment the request was *sent*. Moments are counts, not times,
// so a stopped process or a stepped clock cannot reorder them.
//
// Raft's own VerifyLeader counts an answer by when it arrives: one that a
// follower gave before it voted for somebody else, and that lay in the socket
// of a stopped leader meanwhile, confirms that leader. It also counts the
// answers of non-voters.
type ackBook struct {
	mu      sync.Mutex
	count   uint64
	newest  map[raft.ServerID]ack
	changed chan struct{} // closed at the next answer
}

type ack struct{ term, sent uint64 }

func newAckBook() *ackBook {
	return &ackBook{newest: map[raft.ServerID]ack{}, changed: make(chan struct{})}
}

// now returns a moment later than all before it.
func (b *ackBook) now() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	return b.count
}

// add notes that peer answered yes to a request of the term.
func (b *ackBook) add(peer raft.ServerID, a ack) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.newest[peer]; a.term < old.term || a.term == old.term && a.sent <= old.sent {
		return
	}
	b.newest[peer] = a
	close(b.changed)
	b.changed = make(chan struct{})
}

// confirmed reports whether a quorum answered yes to requests of the term sent
// after the moment; if not, more is closed at the next answer.
func (b *ackBook) confirmed(servers []raft.Server, self raft.ServerID, term, after uint64) (ok bool, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ok = quorum(servers, self, func(id raft.ServerID) bool {
		a := b.newest[id]
		return a.term == term && a.sent > after
	})
	return ok, b.changed
}

// transport is Raft's network transport with an ackBook of its heartbeats.
type transport struct {
	*raft.NetworkTransport
	acks *ackBook
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
)

// AppendEntries also carries the heartbeats. A yes in the request's term means
// that the peer had not voted in a later one when it answered.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	sent := t.acks.now()
	if err := t.NetworkTransport.AppendEntries(id, target, req, resp); err != nil {
		return err
	}
	if resp.Success && resp.Term == req.Term {
		t.acks.add(id, ack{term: req.Term, sent: sent})
	}
	return nil
}
