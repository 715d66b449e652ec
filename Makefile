# The commands that README.md and CONTRIBUTING.md name. Each sets up what is missing on a Debian or Ubuntu machine.

.PHONY: demo test test-terraform check bench soak lint setup

demo: setup        ## every known event type, signed, through the real front, into one topic per family
	cargo run --profile demo --locked --quiet -- demo

test: setup        ## everything: unit, property, contract, real broker, crash and fault tests
	tests/run.sh

test-terraform: setup ## Terraform's modules and examples; the first time builds a provider for half an hour
	cargo build --locked
	tests/terraform.sh
	tests/terraform/modules.sh

soak: setup        ## the crash, power and fault tests, ten times as long
	FANBRIDGE_SOAK=1 tests/run.sh spool replicas aws faults

bench: setup       ## throughput and latency beside their physical limits, in one run
	benches/run.sh

check:             ## before every commit: format, lints, the rules of the house, unit tests; needs no server
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --lib --bins --test tidy

lint:
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --no-deps --document-private-items

setup:
	@tests/servers/install.sh build
