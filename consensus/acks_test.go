package consensus

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

func TestQuorum(t *testing.T) {
	const v, n = raft.Voter, raft.Nonvoter
	for _, tt := range []struct {
		name     string
		suffrage []raft.ServerSuffrage // of servers 0, 1, 2...
		self     int
		acked    []int
		want     bool
	}{
		{"alone", []raft.ServerSuffrage{v}, 0, nil, true},
		{"two, nobody answers", []raft.ServerSuffrage{v, v}, 0, nil, false},
		{"two, both", []raft.ServerSuffrage{v, v}, 0, []int{1}, true},
		{"three, one answers", []raft.ServerSuffrage{v, v, v}, 0, []int{2}, true},
		{"three, nobody answers", []raft.ServerSuffrage{v, v, v}, 0, nil, false},
		{"five, one answers", []raft.ServerSuffrage{v, v, v, v, v}, 0, []int{1}, false},
		{"five, two answer", []raft.ServerSuffrage{v, v, v, v, v}, 0, []int{1, 4}, true},
		{"non-voters don't count", []raft.ServerSuffrage{v, v, v, n, n}, 0, []int{3, 4}, false},
		{"a leader that was removed", []raft.ServerSuffrage{n, v, v, v}, 0, []int{1}, false},
		{"its others agree", []raft.ServerSuffrage{n, v, v, v}, 0, []int{1, 2}, true},
		{"no voters", nil, 0, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var servers []raft.Server
			for i, s := range tt.suffrage {
				servers = append(servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i)), Suffrage: s})
			}
			acked := map[raft.ServerID]bool{}
			for _, i := range tt.acked {
				acked[raft.ServerID(fmt.Sprint(i))] = true
			}
			if got := quorum(servers, raft.ServerID(fmt.Sprint(tt.self)), func(id raft.ServerID) bool { return acked[id] }); got != tt.want {
				t.Errorf("quorum = %v, want %v", got, tt.want)
			}
		})
	}
}

// Whatever the order in which answers arrive, only those to requests of the
// term that were sent after the question confirm.
func TestAckBookCountsByTheSending(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newAckBook()
		peers := rapid.IntRange(0, 6).Draw(t, "peers")
		servers := []raft.Server{{ID: "self"}}
		for i := range peers {
			servers = append(servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i))})
		}
		const term = 7
		type request struct {
			to   raft.ServerID
			term uint64
			sent uint64
		}
		var requests []request
		send := func(label string) {
			for range rapid.IntRange(0, 8).Draw(t, label) {
				if peers == 0 {
					return
				}
				to := raft.ServerID(fmt.Sprint(rapid.IntRange(0, peers-1).Draw(t, "to")))
				requests = append(requests, request{to, uint64(rapid.IntRange(6, 7).Draw(t, "term")), b.now()})
			}
		}
		send("before")
		asked := b.now()
		send("after")
		fresh := map[raft.ServerID]bool{}
		for _, r := range rapid.Permutation(requests).Draw(t, "answers") {
			if rapid.Bool().Draw(t, "lost") {
				continue
			}
			b.add(r.to, ack{r.term, r.sent})
			if r.term == term && r.sent > asked {
				fresh[r.to] = true
			}
			want := 1+len(fresh) >= len(servers)/2+1
			if got, _ := b.confirmed(servers, "self", term, asked); got != want {
				t.Fatalf("confirmed = %v with new answers of %v among %d peers, want %v", got, fresh, peers, want)
			}
		}
	})
}

func TestErrorsSayWhatMayBeConcluded(t *testing.T) {
	refused := refusal("a", "b", "h:1")
	var notLeader *NotLeaderError
	if !errors.As(refused, &notLeader) || notLeader.LeaderAddress != "h:1" {
		t.Errorf("refusal = %v", refused)
	}
	for _, id := range []string{"", "a"} {
		if err := refusal("a", id, "h:1"); !errors.Is(err, ErrNoQuorum) {
			t.Errorf("refusal naming %q: %v, want ErrNoQuorum", id, err)
		}
	}
	for _, tt := range []struct {
		raft               error
		proposal, question error
	}{
		{nil, nil, nil},
		{raft.ErrNotLeader, refused, refused},
		{raft.ErrLeadershipLost, ErrUncertain, refused},
		{raft.ErrRaftShutdown, ErrUncertain, ErrShutdown},
		{ErrShutdown, ErrShutdown, ErrShutdown},
		{raft.ErrAbortedByRestore, ErrUncertain, raft.ErrAbortedByRestore},
		{raft.ErrLeadershipTransferInProgress, ErrNoQuorum, ErrNoQuorum},
		{errors.New("disk full"), ErrUncertain, nil},
	} {
		if got := proposalError(tt.raft, refused); !errors.Is(got, tt.proposal) {
			t.Errorf("proposalError(%v) = %v, want %v", tt.raft, got, tt.proposal)
		} else if errors.Is(got, ErrUncertain) != errors.Is(tt.proposal, ErrUncertain) {
			t.Errorf("proposalError(%v) = %v is a refusal and uncertain at once", tt.raft, got)
		}
		if got := questionError(tt.raft, refused); tt.question != nil && !errors.Is(got, tt.question) {
			t.Errorf("questionError(%v) = %v, want %v", tt.raft, got, tt.question)
		}
	}
}
