// Command s3gateway serves a directory as S3: versitygw's own gateway and POSIX
// backend, without what the command versitygw has for other backends, which takes
// three times as long to build. For tests: it takes the part of that command's
// line which they use, so that either may be given to them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	cfg := embedgw.Config{MaxConnections: 1000, MaxRequests: 500, MultipartMaxParts: 10_000}
	port := flag.String("port", "127.0.0.1:7070", "address to listen on")
	flag.StringVar(&cfg.RootUserAccess, "access", "", "access key")
	flag.StringVar(&cfg.RootUserSecret, "secret", "", "secret key")
	flag.StringVar(&cfg.Region, "region", "us-east-1", "region")
	flag.BoolVar(&cfg.Quiet, "quiet", false, "log no requests")
	flag.Parse()
	cfg.Ports = []string{*port}
	if err := serve(cfg, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(cfg embedgw.Config, args []string) error {
	if len(args) != 2 || args[0] != "posix" {
		return fmt.Errorf("usage: s3gateway [flags] posix DIR")
	}
	b, err := posix.New(args[1], meta.XattrMeta{}, posix.PosixOpts{})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return embedgw.RunVersityGW(ctx, b, &cfg)
}
