package detect

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/stratoswarm/forestall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// await polls until ok, and fails the test after a long while.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	stop := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-stop:
			t.Fatalf("waited 30 s in vain until %s", what)
		}
	}
}

type member struct {
	*Members
	stop context.CancelFunc
	done chan error
	once sync.Once
}

// run starts the member's loop.
func run(m *Members) *member {
	ctx, cancel := context.WithCancel(context.Background())
	out := &member{Members: m, stop: cancel, done: make(chan error, 1)}
	go func() { out.done <- m.Run(ctx) }()
	return out
}

// join starts a member on loopback.
func join(t testing.TB, name string, change func(*MembersConfig)) *member {
	t.Helper()
	cfg := MembersConfig{Name: name, BindAddress: "127.0.0.1:0", Profile: "fast", Meta: []byte("about " + name)}
	if change != nil {
		change(&cfg)
	}
	m, err := JoinMembers(cfg)
	if err != nil {
		t.Fatal(err)
	}
	out := run(m)
	t.Cleanup(func() { out.leave(t) })
	return out
}

// leave ends a member in order. Repeating it does nothing.
func (m *member) leave(t testing.TB) {
	t.Helper()
	m.once.Do(func() {
		m.stop()
		if err := <-m.done; err != nil {
			t.Errorf("run %s: %v", m.cfg.Name, err)
		}
	})
}

// kill takes a member off the network without a word.
func (m *member) kill(t testing.TB) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func (m *member) sees(name string) Member {
	for _, x := range m.List() {
		if x.Name == name {
			return x
		}
	}
	return Member{}
}

// group starts n members that all see each other.
func group(t testing.TB, n int, change func(*MembersConfig)) []*member {
	t.Helper()
	var out []*member
	var seeds []string
	for i := range n {
		m := join(t, fmt.Sprintf("n%d", i+1), func(c *MembersConfig) {
			c.Seeds = seeds
			if change != nil {
				change(c)
			}
		})
		seeds = append(seeds, m.Address())
		out = append(out, m)
	}
	await(t, "all see each other", func() bool {
		for _, a := range out {
			for _, b := range out {
				if a.sees(b.cfg.Name).State != forestall.MemberAlive {
					return false
				}
			}
		}
		return true
	})
	return out
}

func TestMembersFindFailAndLeave(t *testing.T) {
	t.Run("in the clear", func(t *testing.T) { testMembersFindFailAndLeave(t, nil) })
	t.Run("over a wire", func(t *testing.T) { testMembersFindFailAndLeave(t, onWire(t)) })
}

func testMembersFindFailAndLeave(t *testing.T, change func(*MembersConfig)) {
	reg := prometheus.NewRegistry()
	metrics := NewMetrics(reg)
	if change == nil {
		change = func(*MembersConfig) {}
	}
	all := group(t, 4, func(c *MembersConfig) {
		change(c)
		if c.Name == "n1" {
			c.Metrics = metrics
		}
	})
	n1, n2, n3, n4 := all[0], all[1], all[2], all[3]
	events := map[string][]forestall.MemberState{}
	next := func(name string, state forestall.MemberState) {
		t.Helper()
		stop := time.After(30 * time.Second)
		for {
			if seen := events[name]; len(seen) > 0 && seen[len(seen)-1] == state {
				return
			}
			select {
			case e := <-n1.Events():
				events[e.Name] = append(events[e.Name], e.State)
			case <-stop:
				t.Fatalf("no event %s of %s; got %v", state, name, events)
			}
		}
	}

	m := n1.sees("n3")
	if string(m.Meta) != "about n3" || m.Address != n3.Address() || m.LastSeen.IsZero() || m.Since.IsZero() {
		t.Errorf("n1 sees n3 as %+v", m)
	}
	next("n2", forestall.MemberAlive)
	next("n4", forestall.MemberAlive)

	start := time.Now()
	n4.kill(t)
	for _, m := range []*member{n1, n2, n3} {
		await(t, m.cfg.Name+" sees that n4 failed", func() bool { return m.sees("n4").State == forestall.MemberFailed })
	}
	t.Logf("all others saw the killed member failed after %s", time.Since(start).Round(time.Millisecond))
	next("n4", forestall.MemberFailed)

	n3.leave(t)
	for _, m := range []*member{n1, n2} {
		await(t, m.cfg.Name+" sees n3 gone", func() bool { return m.sees("n3").State != forestall.MemberAlive })
		if got := m.sees("n3").State; got != forestall.MemberLeft {
			t.Errorf("%s takes the leaving of n3 for %q", m.cfg.Name, got)
		}
	}
	next("n3", forestall.MemberLeft)

	// It comes back at another address, with other news.
	again := join(t, "n3", func(c *MembersConfig) { change(c); c.Seeds = []string{n1.Address()}; c.Meta = []byte("again") })
	await(t, "n2 sees n3 back", func() bool {
		m := n2.sees("n3")
		return m.State == forestall.MemberAlive && string(m.Meta) == "again" && m.Address == again.Address()
	})
	next("n3", forestall.MemberAlive)

	// memberlist may flap while old news of n3 still travels.
	await(t, "the metrics show 3 alive and 1 failed", func() bool {
		got := membersByState(t, reg)
		return got["alive"] == 3 && got["failed"] == 1 && got["left"] == 0
	})
}

func membersByState(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "fault_tolerance_members" {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

func TestSeedsAreTriedUntilTheyAreThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seed := l.Addr().String()
	a := join(t, "a", func(c *MembersConfig) { c.Seeds = []string{seed} })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var b *member
	await(t, "the seed's port is free", func() bool {
		m, err := JoinMembers(MembersConfig{Name: "b", BindAddress: seed, Profile: "fast"})
		if err != nil {
			return false
		}
		b = run(m)
		return true
	})
	defer b.leave(t)
	await(t, "a found b", func() bool { return a.sees("b").State == forestall.MemberAlive })
	await(t, "b knows a", func() bool { return b.sees("a").State == forestall.MemberAlive })
}

func TestSecretKeepsStrangersOut(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	a := join(t, "a", func(c *MembersConfig) { c.SecretKey = secret })
	b := join(t, "b", func(c *MembersConfig) { c.SecretKey = secret; c.Seeds = []string{a.Address()} })
	stranger := join(t, "x", func(c *MembersConfig) { c.Seeds = []string{a.Address()} })
	await(t, "a and b meet", func() bool {
		return a.sees("b").State == forestall.MemberAlive && b.sees("a").State == forestall.MemberAlive
	})
	if n, err := stranger.list.Join([]string{a.Address()}); err == nil || n != 0 || a.sees("x").Name != "" {
		t.Errorf("a member without the key joined: %d, %v", n, err)
	}
}

func TestMembersConfigErrors(t *testing.T) {
	busy := join(t, "busy", nil)
	for name, tt := range map[string]struct {
		cfg  MembersConfig
		want []string
	}{
		"no name":      {MembersConfig{BindAddress: "127.0.0.1:0"}, []string{"Name"}},
		"profile":      {MembersConfig{Name: "a", BindAddress: "127.0.0.1:0", Profile: "slow"}, []string{"slow", "standard, fast"}},
		"no port":      {MembersConfig{Name: "a", BindAddress: "127.0.0.1"}, []string{"BindAddress", "127.0.0.1"}},
		"bad port":     {MembersConfig{Name: "a", BindAddress: "127.0.0.1:http"}, []string{"BindAddress", "http"}},
		"advertise":    {MembersConfig{Name: "a", BindAddress: "127.0.0.1:0", Advertise: "127.0.0.1:0"}, []string{"Advertise", "port 0"}},
		"big meta":     {MembersConfig{Name: "a", BindAddress: "127.0.0.1:0", Meta: make([]byte, MaxMeta+1)}, []string{"Meta", "511"}},
		"odd key":      {MembersConfig{Name: "a", BindAddress: "127.0.0.1:0", SecretKey: make([]byte, 5)}, []string{"SecretKey", "16, 24, 32"}},
		"port in use":  {MembersConfig{Name: "a", BindAddress: busy.Address()}, []string{busy.Address(), "in use"}},
		"not our host": {MembersConfig{Name: "a", BindAddress: "192.0.2.1:0"}, []string{"192.0.2.1:0"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := JoinMembers(tt.cfg)
			if err == nil {
				t.Fatal(m.Close(), "no error")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
		})
	}
}

func TestSlowReaderGetsTheNewestOfEach(t *testing.T) {
	tab := newTable("self", nil, time.Now, NewMetrics(nil))
	for i, s := range []forestall.MemberState{"1", "2", "3"} {
		tab.announce(MemberEvent{Name: "a", State: s})
		if i == 0 {
			tab.announce(MemberEvent{Name: "b", State: "1"})
		}
	}
	for _, want := range []MemberEvent{{Name: "b", State: "1"}, {Name: "a", State: "3"}} {
		if got, ok := tab.next(); !ok || got.Name != want.Name || got.State != want.State {
			t.Errorf("next = %v, %v; want %v", got, ok, want)
		}
	}
	if _, ok := tab.next(); ok {
		t.Error("more events than members")
	}
}
