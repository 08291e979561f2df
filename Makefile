# Forestall. `make demo` shows it, `make test` tests it; `make help` lists the rest.
# Needs Go, gcc and git. Everything else comes from go.mod and tools/go.mod.

GO      ?= go
BIN     := bin/forestall
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := $(GO) tool -modfile=tools/go.mod
DEMO    ?=
FUZZTIME ?= 30s
DATA    ?=
CACHE   ?=
SHORT   ?=
BAG     ?= 20
SAMPLE  ?= 0.9
START   ?= both
BESIDES ?= 1
GATEWAY := $(CURDIR)/bin/s3gateway
PEERS   := $(CURDIR)/bin/peers
ONLY    ?=
LEARNER := -data '$(DATA)' -binary $(BIN) $(if $(CACHE),-cache '$(CACHE)')

.DEFAULT_GOAL := help
# go-nvml wraps functions that NVIDIA has deprecated; the warnings say nothing about this code.
export CGO_CFLAGS ?= -O2 -g -Wno-deprecated-declarations

.PHONY: help build demo test test-gpu race vet lint fmt fuzz bench eval eval-risk bench-learner bench-checkpoint bench-peers bench-delta bench-store
.PHONY: bench-telemetry test-prometheus test-s3 s3gateway chaos e2e
.PHONY: golden history cgo-off clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/forestall
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/forestall

demo: build ## a 3-node cluster on this machine: one failure forestalled, one recovered (DEMO="--keep --seed 7" passes flags)
	$(BIN) demo $(DEMO)

test: ## every test, the end-to-end ones with real processes included
	$(GO) test -timeout 15m ./... ./testdata/learner

test-gpu: ## read this machine's GPUs through NVML and show what they give; skips, with the reason, where there are none
	$(GO) test -count=1 -v -run 'RealGPU' -bench 'RealGPU' ./gpu/nvml

race: ## the tests under the race detector
	$(GO) test -race -timeout 25m ./...

vet: ## go vet, and a build without cgo
	$(GO) vet ./... ./testdata/gen ./testdata/history ./testdata/learner ./testdata/checkpointbench ./testdata/telemetry
	CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/forestall

lint: ## golangci-lint with the package map (depguard) and gofumpt
	$(TOOL) golangci-lint run ./... ./testdata/learner ./testdata/checkpointbench ./testdata/telemetry

fmt: ## gofumpt
	$(TOOL) golangci-lint fmt ./...

# unless told otherwise go test shortens each input that reaches something new for up to a minute
fuzz: ## every fuzz target for FUZZTIME each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$pkg; \
	  done; done

bench: ## a benchmark for each hot path
	$(GO) test -run '^$$' -bench . -benchmem ./...

eval: build ## the trainer beside XGBoost on real data, then the risks (DATA=../shared/data, CACHE=DIR keeps tables and XGBoost's scores, BAG=1: single trainings on all rows, SAMPLE=0.5: each of their trees on half of the rows, START='even odds': not from the base rate, BESIDES=: only what the bars are about); reports into bin/eval
	@status=0; $(GO) run ./testdata/learner eval $(LEARNER) -bag $(BAG) -sample $(SAMPLE) -start '$(START)' -besides=$(if $(BESIDES),true,false) || status=1; \
	  $(GO) run ./testdata/learner risk $(LEARNER) || status=1; exit $$status

eval-risk: build ## the second half of eval alone: what features and training reach on real histories (DATA, CACHE as for eval; ONLY=Titan runs one)
	$(GO) run ./testdata/learner risk $(LEARNER) $(if $(ONLY),-only '$(ONLY)')

bench-learner: build ## training and evaluation beside XGBoost and leaves, speed and memory (SHORT=1 for a try, DATA as for eval)
	$(GO) run ./testdata/learner bench $(LEARNER) $(if $(SHORT),-short)

bench-telemetry: build ## what telemetry costs an engine: processor and memory beside their bars (SHORT=1 for a try)
	$(GO) run ./testdata/telemetry -binary $(BIN) $(if $(SHORT),-short)

bench-checkpoint: build ## checkpoints beside restic and borg, on the same data in one run, with a verdict for each bar (SHORT=1 for a try; apt-get install restic borgbackup; bench-peers adds a newer restic)
	$(GO) run ./testdata/checkpointbench -binary $(BIN) -peers $(PEERS) $(if $(SHORT),-short)

bench-peers: $(PEERS)/restic ## build the newest peers of bench-checkpoint into bin/peers (2 minutes)

$(PEERS)/restic:
	GOBIN=$(PEERS) $(GO) install github.com/restic/restic/cmd/restic@v0.18.1

bench-delta: ## finding dirty pages, the pause and the CPU of increments, keyed writes (SHORT=1: 64 MiB instead of 1 GiB)
	$(GO) test -run '^$$' -bench 'Unchanged|OnePercentDirty|HashItself|FirstWrite' -benchtime 20x $(if $(SHORT),-short) ./checkpoint/delta
	$(GO) test -run '^$$' -bench 'Increment|Track' -benchtime 100x $(if $(SHORT),-short) ./checkpoint/live
	$(GO) test -run '^$$' -bench . ./checkpoint/keyed

bench-store: ## the store of checkpoints at length: 10,000 random corruptions; GC and scrub of 2,000 checkpoints of 262,144 files in bounded memory (15 minutes)
	$(GO) test -count=1 -v -timeout 60m -run 'RandomCorruption|GCInBoundedMemory|PowerLoss|KilledAt' ./checkpoint -corruptions 10000 -gc-checkpoints 2000

e2e: ## the end-to-end tests alone, with their logs
	$(GO) test -count=1 -v -timeout 15m -run 'TestE2E' ./cmd/forestall

test-prometheus: ## against Debian's prometheus and node_exporter: scraped, kept and remotely written values agree
	PROMETHEUS_SCRAPES=40 $(GO) test -count=1 -v -timeout 10m -run 'TestReal' ./features

test-s3: s3gateway ## the S3 store against a real S3 service, versitygw's, which is built into bin/ (half a minute); CI's make test does so too
	VERSITYGW=$(GATEWAY) $(GO) test -count=1 -timeout 20m ./checkpoint/s3
	VERSITYGW=$(GATEWAY) $(GO) test -count=1 -timeout 5m -run TestE2EOffsite ./cmd/forestall

s3gateway: ## build bin/s3gateway, the S3 service of the tests
	cd testdata/s3gateway && $(GO) build -o $(GATEWAY) .

chaos: ## 50 random kills of engines, shims and nodes; long fencing schedules
	CHAOS_KILLS=50 $(GO) test -count=1 -v -timeout 60m -run 'TestE2EKillAtAnyMoment' ./cmd/forestall
	FENCING_SCHEDULES=100000 $(GO) test -count=1 -timeout 30m -run 'Fencing' ./migrate

golden: ## write the golden files anew; read the diff before you commit it
	$(GO) test ./cmd/forestall -run 'Goldens|Demo(Tell|Frames|Summary)' -update

history: ## write testdata/history and the built-in models anew from their generators
	$(GO) run ./testdata/gen
	$(GO) generate ./predict/...

clean: ## remove what was built
	rm -rf bin
