package s3_test

import (
	"context"
	"fmt"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/s3"
)

// The URL that commands take names bucket, prefix and service; access keys come
// from the AWS_ variables.
func ExampleConfig_ParseURL() {
	cfg := s3.DefaultConfig()
	if err := cfg.ParseURL("s3://backups/cluster/one?endpoint=https://minio.example.org:9000&region=eu-1"); err != nil {
		panic(err)
	}
	fmt.Println(cfg.Bucket, cfg.Prefix, cfg.Endpoint, cfg.Region)
	fmt.Println(cfg.Validate())
	// Output:
	// backups cluster/one https://minio.example.org:9000 eu-1
	// <nil>
}

// A checkpoint of a directory store is copied into a bucket, and what no
// checkpoint there needs any more is collected.
func ExampleOpen() {
	ctx := context.Background()
	d, err := checkpoint.OpenDir("/var/lib/forestall/checkpoints", checkpoint.DefaultOptions())
	if err != nil {
		panic(err)
	}
	defer func() { _ = d.Close() }()
	cfg := s3.DefaultConfig()
	cfg.Bucket, cfg.Prefix = "backups", "cluster/one"
	bucket, err := s3.Open(ctx, cfg)
	if err != nil {
		panic(err)
	}
	all, err := d.List("train-7")
	if err != nil {
		panic(err)
	}
	for _, cp := range all {
		if err := checkpoint.Copy(ctx, bucket, checkpoint.Local(d), cp.ID); err != nil {
			panic(err)
		}
	}
	if _, err := bucket.GC(ctx); err != nil {
		panic(err)
	}
}
