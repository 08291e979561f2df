package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/internal/certs"
	"github.com/stratoswarm/forestall/internal/certs/certstest"
)

// withTLS gives every node a certificate of the CA. They lie beside the data.
func withTLS(t *testing.T, ca *certstest.CA) func(*engine.Config) {
	return func(c *engine.Config) {
		f := ca.Write(t, filepath.Join(c.Engine.DataDir, "..", "tls"), []string{c.Engine.Name})
		c.TLS.CA, c.TLS.Cert, c.TLS.Key = filepath.Clean(f.CA), filepath.Clean(f.Cert), filepath.Clean(f.Key)
	}
}

func (c *testCluster) tlsFile(i int, name string) string {
	return filepath.Join(c.dir, demoNodeName(i), "tls", name)
}

// change rewrites the configuration of node i.
func (c *testCluster) change(i int, f func(*engine.Config)) {
	c.t.Helper()
	config, err := engine.LoadConfig(c.configs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	f(&config)
	writeConfig(c.t, config, c.configs[i])
}

// restart ends the engine of node i in good order and starts it again.
func (c *testCluster) restart(i int) {
	c.t.Helper()
	if err := c.engines[i].Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	_ = c.engines[i].Wait()
	c.start(i)
}

func (c *testCluster) log(i int) string {
	b, err := os.ReadFile(filepath.Join(c.dir, demoNodeName(i), "engine.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// awaitLog waits until the log of node i says each of the words, from an offset on.
func (c *testCluster) awaitLog(i, from int, words ...string) {
	c.t.Helper()
	for end := time.Now().Add(c.patience); ; time.Sleep(50 * time.Millisecond) { // between two looks at another process's file
		log := c.log(i)[from:]
		missing := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.Contains(log, w) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("the log of %s does not say %q", demoNodeName(i), missing)
		}
	}
}

// doctor runs forestall doctor with the configuration of node i.
func (c *testCluster) doctor(i int) (int, string) {
	c.t.Helper()
	var out, problems bytes.Buffer
	status := run([]string{"doctor", "--config", c.configs[i]}, &out, &problems)
	return status, out.String() + problems.String()
}

func allAlive(l []forestall.Member) bool {
	return len(l) == testPlan.nodes && !slices.ContainsFunc(l, func(m forestall.Member) bool { return m.State != forestall.MemberAlive })
}

func (c *testCluster) awaitAllAlive() {
	c.t.Helper()
	for i := range c.engines {
		awaitOn(c, i, "the engine to be ready", func(cl *api.Client, ctx context.Context) (bool, error) { return true, cl.Ready(ctx) }, func(bool) bool { return true })
		awaitOn(c, i, "all nodes to be alive", (*api.Client).Members, allAlive)
	}
}

// nothingInTheClear looks at the ports of node i: none says anything to a program
// without a certificate but that it wants one, and gossip's is not open for UDP.
func (c *testCluster) nothingInTheClear(i int) {
	c.t.Helper()
	config, err := engine.LoadConfig(c.configs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	_, at, _ := strings.Cut(config.Cluster.Nodes[i], "=")
	_, text, err := net.SplitHostPort(at)
	if err != nil {
		c.t.Fatal(err)
	}
	first, err := strconv.Atoi(text)
	if err != nil {
		c.t.Fatal(err)
	}
	for port := first; port < first+3; port++ {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			c.t.Fatal(err)
		}
		_, _ = conn.Write([]byte("POST /peer/order/stop HTTP/1.1\r\nHost: " + at + "\r\n\r\n"))
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if n := len(answer); n > 7 && !strings.Contains(string(answer), "mutual TLS only") { // an alert has 7 bytes
			c.t.Errorf("port %d says %q in the clear", port, answer)
		}
	}
	udp, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", first+2))
	if err != nil {
		c.t.Errorf("gossip is open for UDP: %v", err)
		return
	}
	_ = udp.Close()
}

// TestE2ERotation replaces the certificates of three engines over mutual TLS, and
// the CA, while they work: no workload is started anew, and checkpoints go on.
func TestE2ERotation(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	old, fresh := certstest.NewCA(t, "old"), certstest.NewCA(t, "new")
	c := startCluster(t, patient, withTLS(t, old))
	before := awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
	c.awaitAllAlive()
	for i := range c.engines {
		c.nothingInTheClear(i)
		if status, said := c.doctor(i); status != 0 || strings.Count(said, "its engine answers at") != 2 || !strings.Contains(said, "the certificate of \"CN="+demoNodeName(i)) {
			t.Errorf("doctor on %s: status %d\n%s", demoNodeName(i), status, said)
		}
	}
	everywhere := func(words string, change func(i int)) {
		for i := range c.engines {
			from := len(c.log(i))
			change(i)
			c.awaitLog(i, from, words)
		}
	}
	everywhere("ca=2", func(i int) { certstest.Replace(t, c.tlsFile(i, "ca.pem"), certstest.PEM(old, fresh)) })
	everywhere("certificates read again", func(i int) {
		cert, key := fresh.Issue(t, []string{demoNodeName(i)})
		certstest.Replace(t, c.tlsFile(i, "cert.pem"), cert)
		certstest.Replace(t, c.tlsFile(i, "key.pem"), key)
	})
	everywhere("ca=1", func(i int) { certstest.Replace(t, c.tlsFile(i, "ca.pem"), certstest.PEM(fresh)) })
	c.awaitAllAlive()
	awaitOn(c, 0, "a newer checkpoint of every workload", (*api.Client).Workloads, func(l []api.WorkloadStatus) bool {
		return settled(l) && !slices.ContainsFunc(l, func(w api.WorkloadStatus) bool {
			i := slices.IndexFunc(before, func(b api.WorkloadStatus) bool { return b.Name == w.Name })
			return w.Head.Sequence <= before[i].Head.Sequence+1
		})
	})
	// An engine that begins now meets the others under the new CA only.
	c.restart(2)
	c.awaitAllAlive()
	c.judgeRuns(nil)
}

// TestE2EStrangersAreRefused: an engine with a certificate of another CA, one whose
// certificate names no node of the cluster, and one without TLS reach nobody, and
// both sides' logs say why.
func TestE2EStrangersAreRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	ca, other := certstest.NewCA(t, "ours"), certstest.NewCA(t, "theirs")
	c := startCluster(t, withTLS(t, ca))
	awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
	c.awaitAllAlive()
	good, err := engine.LoadConfig(c.configs[2])
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name        string
		change      func(*engine.Config)
		here, there string
		doctor      string
	}{
		{
			"another CA", func(*engine.Config) { other.Write(t, filepath.Dir(c.tlsFile(2, "ca.pem")), []string{"n3"}) },
			"no CA that is trusted here signed it", "remote error: tls: bad certificate", "node n1: TLS with",
		},
		{"another CA, which trusts ours", func(*engine.Config) {
			other.Write(t, filepath.Dir(c.tlsFile(2, "ca.pem")), []string{"n3"}, ca, other)
		}, "the other engine refuses this one's certificate", "no CA that is trusted here signed it", "node n1: it refuses this node's certificate"},
		{"no node of the cluster", func(config *engine.Config) {
			ca.Write(t, filepath.Dir(c.tlsFile(2, "ca.pem")), []string{"n9"})
			config.Engine.Name = "n9"
			config.Cluster.Nodes[2] = strings.Replace(config.Cluster.Nodes[2], "n3=", "n9=", 1)
		}, "the other engine refuses this one's certificate", "cluster.nodes has n1, n2, n3", "node n2: it refuses this node's certificate"},
		{
			"no TLS", func(config *engine.Config) { config.TLS.CA, config.TLS.Cert, config.TLS.Key = "", "", "" },
			"the other node speaks TLS, and this one does not", "it does not speak TLS", "node n1: it speaks TLS only, and this node has no [tls]",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c.killNode(2)
			config := good
			config.Cluster.Nodes = slices.Clone(good.Cluster.Nodes)
			tc.change(&config)
			if config.Engine.Name != "n3" {
				config.SetData(filepath.Join(c.dir, "n3", "stranger"))
			}
			writeConfig(t, config, c.configs[2])
			here, there := len(c.log(2)), len(c.log(0))
			c.start(2)
			c.awaitLog(2, here, tc.here)
			c.awaitLog(0, there, tc.there)
			awaitOn(c, 0, "n3 to be missed", (*api.Client).Members, func(l []forestall.Member) bool {
				return slices.ContainsFunc(l, func(m forestall.Member) bool { return m.Name == "n3" && m.State != forestall.MemberAlive })
			})
			if err := c.clients[2].Ready(t.Context()); err == nil {
				t.Error("the stranger is ready")
			}
			if status, said := c.doctor(2); status != int(exitDegraded) || !strings.Contains(said, "bad      "+tc.doctor) {
				t.Errorf("doctor: status %d, want %q:\n%s", status, tc.doctor, said)
			}
		})
	}
	c.killNode(2)
	withTLS(t, ca)(&good)
	writeConfig(t, good, c.configs[2])
	c.start(2)
	c.awaitAllAlive()
	c.judge()
}

// TestE2EFromPlaintextToTLS goes over to TLS in three restarts of each engine, one
// at a time, with the cluster at work.
func TestE2EFromPlaintextToTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	ca := certstest.NewCA(t, "ours")
	c := startCluster(t, patient)
	awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
	c.awaitAllAlive()
	for _, step := range []certs.Plaintext{certs.PlaintextSend, certs.PlaintextAccept, certs.PlaintextNever} {
		for i := range c.engines {
			c.change(i, func(config *engine.Config) {
				if step == certs.PlaintextSend {
					withTLS(t, ca)(config)
				}
				config.TLS.Plaintext, config.Cluster.AllowPlaintext = step, step != certs.PlaintextNever
			})
			c.restart(i)
			c.awaitAllAlive()
		}
	}
	awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
	for name, losses := range c.judge() {
		if len(losses) > 0 {
			t.Logf("%s was started anew: %+v", name, losses)
		}
	}
	for i := range c.engines {
		if log := c.log(i); strings.Contains(log, "a connection is refused") {
			t.Errorf("%s refused a connection on the way", demoNodeName(i))
		}
	}
}
