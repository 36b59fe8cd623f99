# Shortcuts for the sections of tests/run.sh, which CI runs without just. `just` lists the recipes.

_default:
    @just --list --unsorted

# Format all code
fmt:
    cargo fmt --all

# Check format, spelling and lints
lint:
    bash tests/run.sh format spelling lint

# Run all tests that need nothing but Rust; `just test NAME` runs the tests whose name contains NAME
test *NAME:
    {{ if NAME == "" { "bash tests/run.sh test" } else { "cargo test --locked --test main " + NAME } }}

# Run the tests in a real browser
browser:
    bash tests/run.sh browser

# Run the tests with programs written in Python
python:
    bash tests/run.sh api python

# Run the simulation over many seeds
sim SEEDS="1000":
    SIMULATION_SEEDS={{ SEEDS }} bash tests/run.sh sim

# Kill the daemon under load, many times
kills KILLS="300":
    KILLS={{ KILLS }} bash tests/run.sh kills

# Attack the daemon, each attack for many seconds
attacks SECONDS="10":
    ABUSE_SECONDS={{ SECONDS }} bash tests/run.sh attacks

# Measure speed and size (a quarter of an hour)
bench:
    bash tests/run.sh bench

# Build the documentation and check the documents
docs:
    bash tests/run.sh docs
    cargo test --locked --test main documents::

# Check dependencies: licences, sources, known flaws
deny:
    bash tests/run.sh deny advisories

# Look for misspelt words
spelling:
    bash tests/run.sh spelling

# Everything that must hold before a change goes in
all:
    bash tests/run.sh
