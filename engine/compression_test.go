package engine

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// TestWorkloadCompression: a workload's own compression is that of its checkpoints,
// and no other one's; the store's holds without.
func TestWorkloadCompression(t *testing.T) {
	t.Parallel()
	text := `
[[workload]]
name = "%"
kind = "service"
command = ["sh", "-c", "yes %. | head -c 400000 > $FORESTALL_STATE_DIR/f; touch $FORESTALL_STATE_DIR/ready; exec sleep 1000"]
hook = {kind = "command", command = ["test", "-e", "ready"], timeout = "5s"}
`
	var b strings.Builder
	for name, compression := range map[string]string{"raw": "none", "small": "best", "as-store": ""} {
		b.WriteString(strings.ReplaceAll(text, "%", name))
		if compression != "" {
			b.WriteString("compression = \"" + compression + "\"\n")
		}
	}
	// hook is an inline table: what follows it is still the workload's.
	read, err := ReadConfig(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig(t.TempDir())
	c.Workloads = read.Workloads
	c.FaultTolerance.CheckpointInterval = Duration{time.Hour}
	c.FaultTolerance.CheckpointCompression = "none"
	client, _, stop := runEngine(t, c)
	list := await(t, "the workloads to run", client.Workloads, func(l []api.WorkloadStatus) bool {
		return len(l) == 3 && l[0].PID > 0 && l[1].PID > 0 && l[2].PID > 0
	})
	for name, most := range map[string]int64{"raw": 1 << 30, "small": 20_000, "as-store": 1 << 30} {
		cp := await(t, "a checkpoint of "+name, func(ctx context.Context) (forestall.Checkpoint, error) {
			return client.CreateCheckpoint(ctx, name, api.CheckpointRequest{})
		}, func(cp forestall.Checkpoint) bool { return cp.ID != "" })
		if raw := cp.Added >= 400_000; cp.Size < 400_000 || raw != (most > 400_000) {
			t.Errorf("%s: %d bytes of state took %d", name, cp.Size, cp.Added)
		}
	}
	stop()
	for _, w := range list {
		endWorkload(t, w.PID)
	}
}

func TestWorkloadCompressionIsChecked(t *testing.T) {
	_, err := ReadConfig(strings.NewReader("[[workload]]\nname = \"w\"\nkind = \"agent\"\ncommand = [\"x\"]\ncompression = \"fast\"\n"))
	if err == nil || !strings.Contains(err.Error(), `workload "w": compression: "fast" is not one of none, fastest, default, better, best`) {
		t.Errorf("%v", err)
	}
}
