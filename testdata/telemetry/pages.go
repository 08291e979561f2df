package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
)

// Series of a page, as the bars count them.
const (
	nodeSeries = 500
	dcgmGPUs   = 8
	dcgmFields = 60 // of each GPU; 480 series
)

// pageServer is the process that answers scrapes.
type pageServer struct {
	address string
	cmd     *exec.Cmd
}

// startPages starts this program again as the server of all pages.
func startPages(ctx context.Context) (*pageServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "serve")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("page server: %w", err)
	}
	return &pageServer{strings.TrimSpace(address), cmd}, nil
}

func (p *pageServer) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
}

// serve answers /node and /dcgm?node=NAME until ctx ends, and prints its address.
func serve(ctx context.Context) error {
	node, err := nodePage()
	if err != nil {
		return err
	}
	dcgm, err := dcgmPage()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/node", node)
	mux.Handle("/dcgm", dcgm)
	server := &http.Server{Handler: mux}
	fmt.Println(l.Addr())
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// page is an exposition page. A third of its series take another value with
// each scrape.
type page struct {
	lines   []line
	scrapes atomic.Uint64
}

// line is a comment, or a series and the value that it moves about.
type line struct {
	text   string
	series bool
	value  float64
	moves  bool
}

// ServeHTTP writes the page. The node of the query stands for "n3", the one in
// the file.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := p.scrapes.Add(1)
	node := `Hostname="` + r.URL.Query().Get("node") + `"`
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	b := make([]byte, 0, 128<<10)
	for i := range p.lines {
		l := &p.lines[i]
		if before, after, ok := strings.Cut(l.text, `Hostname="n3"`); ok {
			b = append(append(append(b, before...), node...), after...)
		} else {
			b = append(b, l.text...)
		}
		if l.series {
			v := l.value
			if l.moves {
				v += v * float64((n*2654435761+uint64(i)*40503)%64) / 256
			}
			b = strconv.AppendFloat(append(b, ' '), v, 'g', -1, 64)
		}
		b = append(b, '\n')
	}
	_, _ = w.Write(b) // a scraper that has left
}

// read takes the lines of a recorded page; keep says which.
func read(path string) ([]line, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: run it from the root of the repository", err)
	}
	var lines []line
	for one := range strings.Lines(string(text)) {
		one = strings.TrimSuffix(one, "\n")
		at := strings.LastIndexByte(one, ' ')
		if strings.HasPrefix(one, "#") || at < 0 {
			lines = append(lines, line{text: one})
			continue
		}
		v, err := strconv.ParseFloat(one[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		lines = append(lines, line{text: one[:at], series: true, value: v})
	}
	return lines, nil
}

// move lets every third series change.
func move(lines []line) (series int) {
	for i := range lines {
		if lines[i].series {
			lines[i].moves = series%3 == 0
			series++
		}
	}
	return series
}

// nodePage is node_exporter's page of a node with many CPUs.
func nodePage() (*page, error) {
	lines, err := read("features/testdata/node1.prom")
	if err != nil {
		return nil, err
	}
	series := move(lines)
	for cpu := 1000; ; cpu++ {
		for _, mode := range []string{"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"} {
			if series == nodeSeries {
				return &page{lines: lines}, nil
			}
			lines = append(lines, line{text: fmt.Sprintf(`node_cpu_seconds_total{cpu="%d",mode="%s"}`, cpu, mode), series: true, value: float64(cpu), moves: series%3 == 0})
			series++
		}
	}
}

// dcgmPage is dcgm-exporter's page of a node with 8 GPUs: the fields of the
// recorded page, and others up to 60.
func dcgmPage() (*page, error) {
	recorded, err := read("features/testdata/dcgm.prom")
	if err != nil {
		return nil, err
	}
	p := &page{}
	var last line
	fields := 0
	add := func(l line) {
		for gpu := range dcgmGPUs {
			n := strconv.Itoa(gpu)
			copied := l
			copied.text = strings.NewReplacer(`gpu="0"`, `gpu="`+n+`"`, "nvidia0", "nvidia"+n, "-000000000000", "-00000000000"+n).Replace(l.text)
			copied.moves = fields%3 == 0
			p.lines = append(p.lines, copied)
		}
		fields++
	}
	for _, l := range recorded {
		switch {
		case !l.series:
			p.lines = append(p.lines, l)
		case strings.Contains(l.text, `gpu="0"`):
			add(l)
			last = l
		}
	}
	_, labels, _ := strings.Cut(last.text, "{")
	for fields < dcgmFields {
		name := filler(fields)
		p.lines = append(p.lines, line{text: "# HELP " + name + " Another field."}, line{text: "# TYPE " + name + " gauge"})
		add(line{text: name + "{" + labels, series: true, value: 40})
	}
	return p, nil
}

// filler names a field beyond the recorded ones.
func filler(field int) string { return fmt.Sprintf("DCGM_FI_DEV_MORE_%d", field) }
