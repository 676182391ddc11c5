# Everything a developer types. CARGO_FLAGS is given to every cargo (--offline, --locked).
CARGO  ?= cargo
PREFIX ?= /usr/local
# Root, who installs, need not have the compiler: then it is what was built.
TUPLE   = $(or $(shell rustc --print host-tuple 2>/dev/null),$(patsubst target/%/release/skua,%,$(wildcard target/*/release/skua)))
BUILD   = target/$(TUPLE)

.PHONY: all demo test test-vm fuzz-smoke mutants bench bench-launch bench-fetch lint deny install
all:    ; $(CARGO) build $(CARGO_FLAGS) --release -p stage0 -p stage1 -p stage2
demo:   ; $(CARGO) build $(CARGO_FLAGS) --workspace --bins && $(BUILD)/debug/demo
# Every lane runs, also after one that failed.
test:   ; tests/install && $(CARGO) build $(CARGO_FLAGS) --workspace --bins && \
	{ $(CARGO) test $(CARGO_FLAGS) --workspace --no-fail-fast; status=$$?; $(MAKE) test-vm && exit $$status; }
test-vm: ; $(CARGO) build $(CARGO_FLAGS) --workspace --bins && tests/functional/vm/lane
fuzz-smoke: ; images/fuzz/smoke
# Some of them: make mutants MUTANTS='trust-* enter-*'
mutants: ; tests/mutants/run $(MUTANTS)
bench:  ; $(CARGO) build $(CARGO_FLAGS) --release --workspace --bins && $(BUILD)/release/bench
bench-launch bench-fetch: ; $(CARGO) build $(CARGO_FLAGS) --release --workspace --bins && $(BUILD)/release/bench $(@:bench-%=%)
lint:   ; $(CARGO) fmt --check && $(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
deny:   ; $(CARGO) deny --log-level error check bans licenses sources
install: ; dist/install "$(BUILD)/release" "$(PREFIX)" "$(DESTDIR)"
