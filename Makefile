# On a machine with Rust (rustup) and Go, `make demo` and `make test` install everything else.

CARGO ?= cargo
# The tests on the lab's machines. They are built with all other tests, and ignored by default.
LAB_TESTS = --workspace --test machines --test init --test recovery -- --ignored --test-threads=1

.PHONY: help demo test torture flips fuzz dist old-host bench lint setup lab-setup lab-up lab-incident lab-down lab-test chaos

help:
	@echo "make demo   lose an etcd cluster of three members and restore it (the first build takes some minutes)"
	@echo "make test   all tests, against real etcd 3.4 to 3.7"
	@echo "make torture ROUNDS=100  kill etcd 3.4 to 3.7 under random requests, alone and in threes, with other faults, and compare what is read and restored with what etcd serves"
	@echo "make flips N=10000  flip single bits in a snapshot, a db and a log, and check that each is detected, harmless, or within a value"
	@echo "make fuzz MINUTES=5  run each of the seven libFuzzer targets for so many minutes"
	@echo "make dist   build the program for glibc 2.17 and newer, with tarball, .deb, .rpm and checksums in target/packages"
	@echo "make old-host  (root) run that program in a Debian 11 root without this machine's libraries"
	@echo "make bench  measure against etcd's own tools; results are in docs/benchmarks.md"
	@echo "make lab-up, lab-incident, lab-down  (root) create a Kubernetes cluster on machines, lose and recover it, remove it"
	@echo "make lab-test  (root) the tests on these machines (about 45 minutes once everything is built); RECORD=1 records their facts"
	@echo "make chaos ROUNDS=20  (root) break machines at random, and check that recover never makes it worse"
	@echo "make lint   CI's checks besides the tests: format, clippy, documentation, licences"

# Installs what is missing (as root on Debian), or prints the command.
setup:
	@sh scripts/setup.sh

# A debug build: it takes half as long, and what reads etcd's files is optimized in it too.
demo:
	@sh scripts/setup.sh demo
	$(CARGO) build -p lifeboat -p lab
	target/debug/lab demo --lifeboat target/debug/lifeboat

test: setup
	$(CARGO) test --workspace

# A failed round prints its seed, for LIFEBOAT_TORTURE_SEED, and keeps its data dir.
ROUNDS ?= 25
torture: setup
	LIFEBOAT_TORTURE_ROUNDS=$(ROUNDS) $(CARGO) test --release -p lifeboat --test data_dir -- torture random_logs differential

# A missed flip is reported by byte and bit; LIFEBOAT_FLIPS_SEED selects other flips.
N ?= 10000
flips: setup
	LIFEBOAT_FLIPS=$(N) $(CARGO) test --release -p lifeboat --test data_dir -- --nocapture flips::

# Findings are in target/fuzz; `make test` runs the committed seeds and some thousand mutations of them.
MINUTES ?= 5
fuzz: setup
	@sh scripts/fuzz.sh $(MINUTES)

# What is published runs on hosts with glibc 2.17, such as CentOS 7. PROFILE=dev builds faster.
PROFILE ?= dist
dist:
	@sh scripts/setup.sh dist
	program=$$(sh scripts/portable.sh $(PROFILE)) && sh scripts/dist.sh "$$program"

# The same build, not optimized (its symbols include those of the optimized one), run in the root of an older distribution.
old-host: setup
	@sh scripts/setup.sh old-host
	program=$$(sh scripts/portable.sh dev) && sh scripts/old-host.sh "$$program"

bench: setup
	$(CARGO) build --profile dist --quiet -p lifeboat -p lab
	target/dist/lab bench --lifeboat target/dist/lifeboat

# Machines need root, and a few more Debian packages.
lab-setup: setup
	@sh scripts/setup.sh lab

lab-up: lab-setup
	$(CARGO) build --release -p lifeboat -p lab
	target/release/lab up

lab-incident:
	target/release/lab incident

lab-down:
	target/release/lab down

# One at a time, since a host has one lab. `make lab-test SCENARIO=nics` runs the tests with `nics` in their name. With
# RECORD=1 each scenario writes its facts for the tests of rules and planner; `INSTA_UPDATE=always cargo test -p
# lifeboat-recovery` then updates what they are diagnosed as.
lab-test: lab-setup
	$(if $(RECORD),LIFEBOAT_RECORD=1) $(CARGO) test $(LAB_TESTS) $(SCENARIO)

# A failed round prints its seed: `make chaos SEED=n` repeats it. Its results are in target/tmp/chaos.
chaos: lab-setup
	LIFEBOAT_CHAOS_ROUNDS=$(if $(SEED),1,$(ROUNDS)) LIFEBOAT_CHAOS_SEED=$(SEED) \
		$(CARGO) test $(LAB_TESTS) random_faults

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items
	sh scripts/words.sh
	sh scripts/shell.sh
	sh scripts/deny.sh
	$(CARGO) package --quiet --no-verify --allow-dirty -p lifeboat-bbolt -p lifeboat-client -p lifeboat-etcd
