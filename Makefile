# `make demo` runs the main job, `make test` passes all tests. Both bring in what a bare Debian 12 lacks.

CARGO ?= cargo
PROFILE := ci
BIN := target/$(PROFILE)
SECONDS := 60
DEMO_ARGS := $(if $(ONCE),--once)

.PHONY: help demo test unit scenarios sessions latency fuzz lint layering deps clean

help:
	@echo "make demo       three nodes in namespaces: sessions, kernel routes, pings; ONCE=1 ends after the checks"
	@echo "make test       all tests: units, then scenarios with real BIRD, etcd and kernel (root)"
	@echo "make unit       all tests but the testbed's: some start an etcd, some write kernel routes in a namespace (root)"
	@echo "make scenarios  the testbed only; one file: make scenarios TEST=restart"
	@echo "make sessions   500 sessions with hold time 3 s on busy cores for a minute; memory of each"
	@echo "make latency    from a block in etcd to a kernel route on another node, ten nodes (root)"
	@echo "make fuzz       mutated messages against codec, session and RIB, each for SECONDS=$(SECONDS)"
	@echo "make lint       format, clippy, documentation, layering"

demo: deps
	$(CARGO) build --profile $(PROFILE) -p pipit -p pipit-testbed
	$(BIN)/pipit-testbed demo $(DEMO_ARGS)

test: deps unit scenarios

unit: deps
	$(CARGO) test --profile $(PROFILE) --workspace --exclude pipit-testbed

scenarios: deps
	$(CARGO) build --profile $(PROFILE) -p pipit
	$(CARGO) test --profile $(PROFILE) -p pipit-testbed $(if $(TEST),--test $(TEST)) -- --test-threads=2

latency: deps
	$(CARGO) build --profile $(PROFILE) -p pipit -p pipit-testbed
	$(BIN)/pipit-testbed latency

sessions:
	$(CARGO) run --release -p pipit-bgp --example sessions

fuzz:
	PIPIT_FUZZ_SECONDS=$(SECONDS) $(CARGO) test --release -p pipit-bgp --test fuzz_corpus fuzz_ -- --nocapture --test-threads=2
	PIPIT_FUZZ_SECONDS=$(SECONDS) $(CARGO) test --release -p pipit-rib --test engine fuzz_ -- --nocapture
	$(CARGO) build --profile $(PROFILE) -p pipit
	PIPIT_FUZZ_SECONDS=$(SECONDS) $(CARGO) test --profile $(PROFILE) -p pipit-testbed --test wire fuzz_ -- --nocapture

lint: layering
	$(CARGO) fmt --check
	$(CARGO) clippy --profile $(PROFILE) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --profile $(PROFILE) --workspace --no-deps

# The cores build without their edge, and no runtime comes in by another door.
layering:
	@for crate in pipit-bgp pipit-rib pipit-datastore; do \
	    $(CARGO) check --quiet --profile $(PROFILE) -p $$crate --no-default-features || exit 1; \
	    if $(CARGO) tree --quiet -p $$crate --no-default-features -e normal -i tokio >/dev/null 2>&1; then \
	        echo "$$crate depends on tokio without its io feature"; exit 1; \
	    fi; \
	done

deps:
	@testbed/install-packages

clean:
	$(CARGO) clean
