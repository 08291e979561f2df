package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// Consistency says how many replicas must hold a checkpoint before it counts.
type Consistency string

// The consistency levels.
const (
	ConsistencyOne    Consistency = "one"    // this node's store
	ConsistencyQuorum Consistency = "quorum" // a majority of the replicas
	ConsistencyAll    Consistency = "all"    // every replica
)

// ReplicatorConfig says where checkpoints are to be held.
type ReplicatorConfig struct {
	Self        Peer
	Factor      int // replicas wanted, this node's included
	Consistency Consistency
	Geo         bool       // spread over zones
	Zones       func() int // in which known members are, failed ones and self included; nil: those that are alive
	// Granted reports whether the epoch, or a later one, was ever granted to the
	// workload: a peer that claims to be fenced above that lies. An error: it is not
	// known, and the peer is believed. nil: so is every peer.
	Granted     func(ctx context.Context, workload string, e forestall.Epoch) (bool, error)
	ClusterSize func() int    // known members, failed ones and self included; bounds the factor
	Client      *http.Client  // with the cluster's TLS
	Timeout     time.Duration // of one request that carries little; a push takes many
	Now         func() time.Time
	Logger      *slog.Logger
	Metrics     *Metrics // nil: none are kept
}

// DefaultReplicatorConfig returns three replicas spread over zones, of which a
// majority must answer, each request within 10 s. Self and ClusterSize are the
// caller's.
func DefaultReplicatorConfig() ReplicatorConfig {
	return ReplicatorConfig{
		Factor:      3,
		Consistency: ConsistencyQuorum,
		Geo:         true,
		Client:      http.DefaultClient,
		Timeout:     10 * time.Second,
		Now:         time.Now,
		Logger:      slog.New(slog.DiscardHandler),
	}
}

// Validate names the first field that cannot work and what it may be.
func (c ReplicatorConfig) Validate() error {
	switch {
	case forestall.CheckName(c.Self.Name) != nil:
		return fmt.Errorf("replicator: Self.Name: %w", forestall.CheckName(c.Self.Name))
	case c.Factor < 1:
		return fmt.Errorf("replication_factor %d: at least 1 is needed", c.Factor)
	case c.Consistency != ConsistencyOne && c.Consistency != ConsistencyQuorum && c.Consistency != ConsistencyAll:
		return fmt.Errorf("consistency_level %q is not one of %s, %s, %s", c.Consistency, ConsistencyOne, ConsistencyQuorum, ConsistencyAll)
	case c.ClusterSize == nil:
		return errors.New("replicator: ClusterSize is nil; give a function that counts the known members")
	case c.Client == nil:
		return errors.New("replicator: Client is nil; DefaultReplicatorConfig has one")
	case c.Timeout <= 0:
		return fmt.Errorf("replicator: Timeout %v must be positive", c.Timeout)
	case c.Now == nil || c.Logger == nil:
		return errors.New("replicator: Now or Logger is nil; DefaultReplicatorConfig has both")
	}
	return nil
}

// Replicator keeps checkpoints and fences on several nodes' stores. Its
// methods may be called at once from any goroutine.
type Replicator struct {
	local  *Dir
	cfg    ReplicatorConfig
	peers  func() []Peer
	client client
	doubts doubts
	turns  turns

	life context.Context // of the background work; ends with Run
	end  context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// NewReplicator returns a replicator for the local store. peers returns the
// members that are alive, without self, at each call.
func NewReplicator(local *Dir, cfg ReplicatorConfig, peers func() []Peer) (*Replicator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Replicator{local: local, cfg: cfg, peers: peers, client: newClient(cfg.Client, cfg.Timeout)}
	r.life, r.end = context.WithCancel(context.Background())
	return r, nil
}

// Run waits for ctx, then ends what pushes and fences still had under way in
// the background, and returns nil. Afterwards every method fails with
// [ErrClosed]; before and during Run they work.
func (r *Replicator) Run(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end()
	r.wg.Wait()
	return nil
}

// Factor returns how many replicas a checkpoint can have in the cluster as it
// is: the configured factor, or the cluster's size when that is smaller.
func (r *Replicator) Factor() int { return min(r.cfg.Factor, max(1, r.cfg.ClusterSize())) }

// majority returns how many replicas a fence must reach.
func (r *Replicator) majority() int { return r.Factor()/2 + 1 }

// needed returns how many replicas must hold a checkpoint.
func (r *Replicator) needed() int {
	switch r.cfg.Consistency {
	case ConsistencyOne:
		return 1
	case ConsistencyAll:
		return r.Factor()
	}
	return r.majority()
}

// Place returns the stores for workload's checkpoints when this node runs it:
// self first, then the live peers that rendezvous hashing picks, as many as
// Factor says or as there are.
func (r *Replicator) Place(workload string) []Peer {
	places, _ := r.place(workload)
	return places
}

// place also returns the peers that are left, in the order in which they would be
// picked.
func (r *Replicator) place(workload string) (places, left []Peer) {
	peers := r.peers()
	all := spread([]Peer{r.cfg.Self}, rank(workload, peers), 1+len(peers), r.cfg.Geo)
	n := min(r.Factor(), len(all))
	return all[:n:n], all[n:]
}

// zones returns in how many zones members are.
func (r *Replicator) zones() int {
	if r.cfg.Zones != nil {
		return r.cfg.Zones()
	}
	seen := map[string]bool{r.cfg.Self.Zone: true}
	for _, p := range r.peers() {
		seen[p.Zone] = true
	}
	return len(seen)
}

// guardians returns the stores that answer for workload's fence. Unlike Place
// it does not depend on who asks, so that any two majorities overlap as long
// as the askers see the same members.
func (r *Replicator) guardians(workload string) map[string]bool {
	all := rank(workload, append(r.peers(), r.cfg.Self))
	out := make(map[string]bool)
	for _, p := range spread(nil, all, r.Factor(), r.cfg.Geo) {
		out[p.Name] = true
	}
	return out
}

// Push brings a checkpoint of the local store to its replicas and returns once
// as many hold it as the consistency asks for, self included; the others
// follow in the background. A peer holds it that has shown its manifest and a chunk.
// One that fails is replaced by the next that is alive, of its zone where there is one.
// With Geo, one replica in another zone is waited for as well, for the time of one
// request at most; that it did not come is logged, and shown by a metric (ADR 10). Errors wrap
// [ErrUnderReplicated], naming who failed
// and why, or [forestall.ErrStaleEpoch] as soon as a single replica knows a
// newer epoch. replicas are those that hold it by then, also with an error.
func (r *Replicator) Push(ctx context.Context, id string) (replicas []string, err error) {
	cp, err := r.local.parcel(id, r.local.sendAsIs)
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	places, left := r.place(cp.Workload)
	others := &spares{peers: left}
	several := r.cfg.Geo && r.cfg.Consistency != ConsistencyOne && r.zones() > 1
	track := r.cfg.Metrics.trackPush(cp.Workload, r.cfg.Factor, r.cfg.Self, places[1:], several, r.cfg.Now())
	answers, err := r.ask(ctx, places[1:], cp.Close, func(ctx context.Context, p Peer) answer {
		at, err := r.pushToOneOf(ctx, p, others, cp)
		if err == nil {
			track.holds(at)
		}
		return answer{peer: at, err: err}
	})
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	need := enough{answers: r.needed() - 1, patience: r.cfg.Timeout}
	elsewhere := func(p Peer) bool { return p.Zone != r.cfg.Self.Zone }
	if several && slices.ContainsFunc(places, elsewhere) {
		need.wanted = elsewhere
	}
	got, err := answers.collect(ctx, need)
	replicas = append(replicas, r.cfg.Self.Name)
	away := false
	for _, a := range got {
		replicas = append(replicas, a.peer.Name)
		away = away || elsewhere(a.peer)
	}
	if err != nil {
		return replicas, fmt.Errorf("checkpoint %.12s of %s is on %d of %d replicas it needs: %w", id, cp.Workload, len(replicas), r.needed(), err)
	}
	if several && !away {
		r.cfg.Logger.Warn("all replicas of the checkpoint are in one zone so far", "workload", cp.Workload, "checkpoint", id, "zone", r.cfg.Self.Zone, "replicas", replicas)
	}
	return replicas, nil
}

// maxInstead is how many peers are tried in place of one that fails.
const maxInstead = 2

// pushToOneOf brings a checkpoint to a peer, or to another when that fails for a
// reason of the peer's own. It returns which.
func (r *Replicator) pushToOneOf(ctx context.Context, p Peer, others *spares, cp *Parcel) (Peer, error) {
	err := r.pushTo(ctx, p, cp)
	for range maxInstead {
		if err == nil || errors.Is(err, forestall.ErrStaleEpoch) || errors.Is(err, errOvertaken) || errors.Is(err, errLocal) || ctx.Err() != nil {
			break
		}
		other, ok := others.instead(p, r.cfg.Geo)
		if !ok {
			break
		}
		oerr := r.pushTo(ctx, other, cp)
		if oerr == nil {
			return other, nil
		}
		err = errors.Join(err, fmt.Errorf("in its place %s: %w", other.Name, oerr))
	}
	return p, err
}

// pushTo brings a checkpoint to one peer, and says what went wrong.
func (r *Replicator) pushTo(ctx context.Context, p Peer, cp *Parcel) error {
	end, err := r.turns.await(ctx, cp.Workload, p)
	if err == nil {
		err = r.stale(ctx, p, cp.Workload, cp.Epoch, r.client.push(ctx, p, cp))
		end()
	}
	switch {
	case err == nil:
	case errors.Is(err, errOvertaken):
		r.cfg.Logger.Info("replica is behind: it gets the next checkpoint", "peer", p.Name, "workload", cp.Workload, "checkpoint", cp.ID)
	case errors.Is(err, errFalse):
		r.doubt(p, cp.ID, err)
	default:
		r.cfg.Logger.Warn("replica does not hold the checkpoint", "peer", p.Name, "workload", cp.Workload, "checkpoint", cp.ID, "error", err)
	}
	return err
}

// Fence raises workload's fence on every live node's store and returns once a
// majority of those that answer for it have it durably. Errors wrap
// [ErrUnderReplicated], or [forestall.ErrStaleEpoch] when any is fenced higher.
func (r *Replicator) Fence(ctx context.Context, workload string, e forestall.Epoch) (acks []string, err error) {
	got, err := r.askGuardians(ctx, workload, func(ctx context.Context, p Peer) (forestall.Epoch, error) {
		if p.Name == r.cfg.Self.Name {
			return 0, r.local.Fence(ctx, workload, e)
		}
		return 0, r.stale(ctx, p, workload, e, r.client.fence(ctx, p, workload, e))
	})
	for _, a := range got {
		acks = append(acks, a.peer.Name)
	}
	if err != nil {
		return acks, fmt.Errorf("fence %s at epoch %s: %w", workload, e, err)
	}
	return acks, nil
}

// Fenced returns the highest fence of workload among the answers of a majority
// of the stores that answer for it. Errors wrap [ErrUnderReplicated].
func (r *Replicator) Fenced(ctx context.Context, workload string) (highest forestall.Epoch, err error) {
	got, err := r.askGuardians(ctx, workload, func(ctx context.Context, p Peer) (forestall.Epoch, error) {
		if p.Name == r.cfg.Self.Name {
			return r.local.Fenced(workload)
		}
		return r.fencedAt(ctx, p, workload)
	})
	if err != nil {
		return 0, fmt.Errorf("ask for the fence of %s: %w", workload, err)
	}
	for _, a := range got {
		highest = max(highest, a.epoch)
	}
	return highest, nil
}

// fencedAt asks a peer for the fence of a workload. One that was never granted is
// an error.
func (r *Replicator) fencedAt(ctx context.Context, p Peer, workload string) (forestall.Epoch, error) {
	e, err := r.client.fenced(ctx, p, workload)
	if err != nil || e == 0 || r.cfg.Granted == nil {
		return e, err
	}
	if granted, gerr := r.cfg.Granted(ctx, workload, e); gerr == nil && !granted {
		err = falsely("it says that %s is fenced at epoch %s, and the ledger knows of no such grant", workload, e)
	}
	return e, err
}

// stale looks, when a peer has refused an epoch as stale, whether that is so.
func (r *Replicator) stale(ctx context.Context, p Peer, workload string, e forestall.Epoch, refused error) error {
	if !errors.Is(refused, forestall.ErrStaleEpoch) || r.cfg.Granted == nil {
		return refused
	}
	switch fence, err := r.fencedAt(ctx, p, workload); {
	case errors.Is(err, errFalse):
		return err
	case err == nil && fence <= e:
		return falsely("it refuses epoch %s of %s and says that the fence is %s", e, workload, fence)
	}
	return refused
}

func (r *Replicator) askGuardians(ctx context.Context, workload string, do func(context.Context, Peer) (forestall.Epoch, error)) ([]answer, error) {
	if err := forestall.CheckName(workload); err != nil {
		return nil, err
	}
	guard := r.guardians(workload)
	answers, err := r.ask(ctx, append(r.peers(), r.cfg.Self), func() {}, func(ctx context.Context, p Peer) answer {
		e, err := do(ctx, p)
		if errors.Is(err, errFalse) {
			r.doubt(p, "", err)
		}
		return answer{p, e, err}
	})
	if err != nil {
		return nil, err
	}
	return answers.collect(ctx, enough{answers: r.majority(), counts: func(p Peer) bool { return guard[p.Name] }})
}
