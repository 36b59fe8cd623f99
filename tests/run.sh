#!/usr/bin/env bash
# Everything that must hold before a change goes in: format, lints, tests (those in a real browser, too), documentation.
# Installs the Debian packages that the browser tests need, where they are missing and it may.
# Ends with the first section that fails. Exit codes: 0 all well, 1 a section failed, 2 something must be installed first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What the caller has set for a daemon of their own is none of the tests' business.
while IFS= read -r name; do
    unset "$name"
done < <(compgen -e | grep -E '^(MY_APP_|MY_USER_AGENT$|EVENT_LOOP_|TOKEND_|TEST_|WEBEX_|RUST_LOG$|STATE_DIRECTORY$)' || true)

begun=$SECONDS

# section NAME COMMAND...: runs the command under a heading, and ends everything if it fails.
section() {
    local name=$1 from=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if ! "$@"; then
        printf '\n== FAILED: %s, after %d s\n' "$name" $((SECONDS - from)) >&2
        exit 1
    fi
    printf '== %s: passed in %d s\n' "$name" $((SECONDS - from))
}

# set_up COMMAND=PACKAGE...: installs the packages whose commands are not there.
set_up() {
    local pair missing=() as_root=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
        printf 'The browser tests need packages that may not be installed from here. Please run, then try again:\n' >&2
        printf '    sudo apt-get install %s\n' "${missing[*]}" >&2
        exit 2
    fi
    printf '\n== installing %s\n' "${missing[*]}"
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}")
    # The package lists may be missing or old: only then they are fetched.
    "${install[@]}" >/dev/null 2>&1 || { "${as_root[@]}" apt-get update -qq && "${install[@]}" >/dev/null; } || {
        printf 'These packages cannot be installed: %s\n' "${missing[*]}" >&2
        exit 2
    }
}

documentation() {
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items --locked --quiet
}

set_up chromium=chromium chromedriver=chromium-driver
section "format" cargo fmt --all --check
section "lints" cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
section "tests" cargo test --workspace --locked --quiet
section "tests in a browser" cargo test --workspace --locked --quiet --test main -- --ignored browser::
section "documentation" documentation

printf '\n== all passed in %d s\n' $((SECONDS - begun))
