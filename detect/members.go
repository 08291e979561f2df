package detect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// MaxMeta is how many bytes a member can tell about itself: what memberlist
// carries, less the byte that says whether it is leaving.
const MaxMeta = memberlist.MetaMaxSize - 1

// MembersConfig is what JoinMembers needs. Name and BindAddress have no
// default.
type MembersConfig struct {
	Name        string   // of this node; unique in the cluster
	BindAddress string   // host:port, TCP and UDP; port 0: any free one
	Advertise   string   // host:port where others reach it; empty: BindAddress
	Seeds       []string // host:port of members to join; this node itself may be among them
	Profile     string   // standard | fast; empty: standard
	Meta        []byte   // what others should know of this node, at most MaxMeta bytes; the less the better
	SecretKey   []byte   // encrypts and authenticates gossip with 16, 24 or 32 bytes of AES; nil: neither

	// Wire carries the gossip instead of TCP and UDP on BindAddress, in the clear. It
	// is owned from the call on, also when that fails.
	Wire    Wire // nil: none
	HearUDP bool // with a Wire: take packets over UDP too
	SendUDP bool // with a Wire: send packets over UDP; needs HearUDP

	Logger  *slog.Logger     // nil: discarded
	Metrics *Metrics         // nil: none
	Now     func() time.Time // nil: time.Now
}

// gossipTiming sets how fast a profile finds a dead member: within about 6 s
// in "standard", memberlist's LAN timing, and about 1 s in "fast".
func gossipTiming(profile string) (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	c.TCPTimeout = 5 * time.Second
	c.DeadNodeReclaimTime = 30 * time.Second // a name that comes back at another address
	switch profile {
	case "", "standard":
	case "fast":
		c.ProbeInterval = 200 * time.Millisecond
		c.ProbeTimeout = 100 * time.Millisecond
		c.SuspicionMult = 2
		c.GossipInterval = 40 * time.Millisecond
		c.PushPullInterval = 5 * time.Second
		c.TCPTimeout = time.Second
		c.GossipToTheDeadTime = 10 * time.Second
		c.DeadNodeReclaimTime = 2 * time.Second
		// RetransmitMult stays 4: with 2 some members never hear of others.
	default:
		return nil, fmt.Errorf("cluster profile %q is not one of standard, fast", profile)
	}
	return c, nil
}

// rejoinEvery is how often seeds that are not among the living are tried.
func rejoinEvery(profile string) time.Duration {
	if profile == "fast" {
		return time.Second
	}
	return 5 * time.Second
}

const leaveTimeout = 2 * time.Second // for each of the two messages of a good-bye

// Members is this node's part in the gossip. Its methods may be called from any
// goroutine.
type Members struct {
	cfg     MembersConfig
	log     *slog.Logger
	list    *memberlist.Memberlist
	address string
	table   *table

	ending sync.Once
	ended  chan struct{}
	endErr error
}

// JoinMembers begins to listen and to gossip; Run then looks for the seeds.
// Whoever joins must call Run or Close. The error names the field that cannot
// work, or the port that is in use.
func JoinMembers(cfg MembersConfig) (_ *Members, err error) {
	var wire *transport
	defer func() {
		switch {
		case err == nil:
		case wire != nil:
			_ = wire.Shutdown()
		case cfg.Wire != nil:
			_ = cfg.Wire.Close()
		}
	}()
	c, err := gossipTiming(cfg.Profile)
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if err := cfg.apply(c); err != nil {
		return nil, err
	}
	t := newTable(cfg.Name, cfg.Meta, cfg.Now, cfg.Metrics)
	c.Delegate, c.Events, c.Ping = t, t, t
	c.Logger = newGossipLog(cfg.Logger)
	if cfg.Wire != nil {
		var udp net.PacketConn
		if cfg.HearUDP {
			if udp, err = net.ListenPacket("udp", cfg.Wire.Addr().String()); err != nil {
				return nil, fmt.Errorf("listen for gossip on %s: %w", cfg.Wire.Addr(), err)
			}
		}
		wire = newTransport(cfg.Wire, udp, cfg.SendUDP && udp != nil, cfg.Now)
		c.Transport = wire
	}
	list, err := memberlist.Create(c)
	if err != nil && strings.Contains(err.Error(), "address already in use") {
		return nil, fmt.Errorf("listen for gossip on %s: the port is in use (TCP and UDP are needed); stop the process that holds it or choose another address: %w", cfg.BindAddress, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for gossip on %s: %w", cfg.BindAddress, err)
	}
	return &Members{cfg: cfg, log: cfg.Logger, list: list, address: list.LocalNode().Address(), table: t, ended: make(chan struct{})}, nil
}

// apply checks the configuration and copies it into memberlist's.
func (c MembersConfig) apply(to *memberlist.Config) error {
	if c.Name == "" {
		return errors.New("members Name: is empty; give the node's name")
	}
	if len(c.Meta) > MaxMeta {
		return fmt.Errorf("members Meta: %d bytes, at most %d travel with each message", len(c.Meta), MaxMeta)
	}
	if n := len(c.SecretKey); n != 0 && n != 16 && n != 24 && n != 32 {
		return fmt.Errorf("members SecretKey: %d bytes is not one of 16, 24, 32", n)
	}
	bind, err := resolve(context.Background(), c.BindAddress)
	if err != nil {
		return fmt.Errorf("members BindAddress: %w", err)
	}
	to.Name, to.SecretKey = c.Name, c.SecretKey
	to.BindAddr, to.BindPort = bind.Addr().String(), int(bind.Port())
	to.AdvertisePort = to.BindPort
	if c.Advertise != "" {
		a, err := resolve(context.Background(), c.Advertise)
		if err != nil {
			return fmt.Errorf("members Advertise: %w", err)
		}
		if a.Port() == 0 {
			return fmt.Errorf("members Advertise: %q has port 0", c.Advertise)
		}
		to.AdvertiseAddr, to.AdvertisePort = a.Addr().String(), int(a.Port())
	}
	return nil
}

// resolve returns the first address that host:port stands for.
func resolve(ctx context.Context, hostport string) (netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(hostport)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not a host:port: %w", hostport, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: port %q is not a number up to 65535", hostport, portText)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(ip, uint16(port)), nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("resolve %q: %w", hostport, err)
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(port)), nil
}

// Address returns the host:port under which other members reach this one.
func (m *Members) Address() string { return m.address }

// List returns all members that were ever seen, this node included, by name.
// Those that left or failed are forgotten after a day.
func (m *Members) List() []Member { return m.table.list() }

// Events returns the changes of the other members, in their order. A reader
// that is slow gets the newest of each member. It is closed when Run returns.
func (m *Members) Events() <-chan MemberEvent { return m.table.events }

// Run looks for the seeds until they are found, and again when they are lost,
// so that two halves of a healed network find each other. When ctx ends it says
// good-bye, which takes the others a moment to hear, and returns once all has
// stopped. Call it once.
func (m *Members) Run(ctx context.Context) error {
	working, cancel := context.WithCancel(ctx)
	defer close(m.table.events)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { m.table.deliver(working) })
	running.Go(func() { m.seek(working) })
	select {
	case <-ctx.Done():
		return m.end(m.goodBye)
	case <-m.ended:
		return m.end(nil)
	}
}

// Close ends at once and without a good-bye: the others will take it for a
// failure. Run returns. It is for a node whose Run is never called, and for
// tests.
func (m *Members) Close() error { return m.end(nil) }

// end stops the gossip, first doing what is given if it hasn't been stopped
// yet.
func (m *Members) end(first func()) error {
	m.ending.Do(func() {
		if first != nil {
			first()
		}
		m.endErr = m.list.Shutdown()
		close(m.ended)
	})
	return m.endErr
}

func (m *Members) goodBye() {
	m.table.leave()
	if err := m.list.UpdateNode(leaveTimeout); err != nil {
		m.log.Info("members may take this node's leaving for a failure", "error", err)
	}
	if err := m.list.Leave(leaveTimeout); err != nil {
		m.log.Info("members may notice late that this node left", "error", err)
	}
}

// seek joins the seeds that are not among the living.
func (m *Members) seek(ctx context.Context) {
	tick := time.NewTicker(rejoinEvery(m.cfg.Profile))
	defer tick.Stop()
	failing := false
	for {
		missing := m.missingSeeds(ctx)
		var err error
		if len(missing) > 0 && ctx.Err() == nil {
			_, err = m.list.Join(missing)
		}
		if (err != nil) != failing {
			failing = err != nil
			if failing {
				m.log.Info("seeds not reached, trying on", "seeds", missing, "error", err)
			} else {
				m.log.Info("seeds reached")
			}
		}
		m.table.forget()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *Members) missingSeeds(ctx context.Context) []string {
	alive := m.table.aliveAddresses()
	var out []string
	for _, s := range m.cfg.Seeds {
		a, err := resolve(ctx, s)
		if err != nil {
			m.log.Debug("seed not resolved", "seed", s, "error", err)
			continue
		}
		if !slices.Contains(alive, a.String()) {
			out = append(out, a.String())
		}
	}
	return out
}
