#!/usr/bin/env bash
# Everything that must hold before a change goes in: format, lints, tests (also those with a real browser and with programs
# written in Python), documentation, what may stand in Cargo.lock.
#
#     bash tests/run.sh              all of it, in the order below
#     bash tests/run.sh SECTION...   these sections only; the recipes of the justfile do this
#     bash tests/run.sh --list       the names of all sections
#
# Installs what a section needs and is missing: Debian packages, where it may, Python packages below target/venv, Node
# packages below target/node, and cargo-deny below target/tools.
# What could not be checked is named in the last line. Ends with the first section that fails.
# Exit codes: 0 all well, 1 a section failed, 2 wrong usage, or something must be installed first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Settings that the caller has for a daemon must not reach the tests.
while IFS= read -r name; do
    unset "$name"
done < <(compgen -e | grep -E '^(MY_APP_|MY_USER_AGENT$|EVENT_LOOP_|TOKEND_|TEST_|WEBEX_|BOT_TOKEN|SPACE_ID$|NOTIFY_|RUST_LOG$|STATE_DIRECTORY$)' || true)

begun=$SECONDS
skipped=()

# section NAME COMMAND...: runs the command under a heading, and ends everything if it fails.
section() {
    local name=$1 from=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if ! "$@"; then
        printf '\n== FAILED: %s, after %d s\n' "$name" $((SECONDS - from)) >&2
        exit 1
    fi
    local came=passed
    case " ${skipped[*]} " in *" $name "*) came=skipped ;; esac
    printf '== %s: %s in %d s\n' "$name" "$came" $((SECONDS - from))
}

# set_up COMMAND=PACKAGE...: installs the packages whose commands are not there.
set_up() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] || debian_packages "${missing[@]}"
}

# debian_packages PACKAGE...: installs them, or says who may and ends.
debian_packages() {
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
        printf 'The tests need packages that may not be installed from here. Please run, then try again:\n' >&2
        printf '    sudo apt-get install %s\n' "$*" >&2
        exit 2
    fi
    printf '\n== installing from Debian into this system: %s\n' "$*"
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@")
    # The package lists may be missing or old: only then they are fetched.
    "${install[@]}" >/dev/null 2>&1 || { "${as_root[@]}" apt-get update -qq && "${install[@]}" >/dev/null; } || {
        printf 'These packages cannot be installed: %s\n' "$*" >&2
        exit 2
    }
}

# python_packages PACKAGE==VERSION...: has exactly these in target/venv. Nothing is fetched where they are there already.
python_packages() {
    local venv=target/venv list
    list=$(printf '%s\n' "$@")
    if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/packages" 2>/dev/null)" = "$list" ]; then
        return 0
    fi
    # Debian's python3 comes without the part that makes environments.
    command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null || debian_packages python3-venv
    printf '\n== installing into %s: %s\n' "$venv" "$*"
    rm -rf "$venv"
    python3 -m venv "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" || {
        printf 'These Python packages cannot be installed into %s: %s\n' "$venv" "$*" >&2
        exit 2
    }
    printf '%s\n' "$list" >"$venv/packages"
}

# cargo_tool NAME VERSION: has exactly this one in target/tools. Nothing is fetched where it is there already.
cargo_tool() {
    local name=$1 version=$2
    if [ "$("target/tools/bin/$name" --version 2>/dev/null)" = "$name $version" ]; then
        return 0
    fi
    printf '\n== installing into target/tools: %s %s\n' "$name" "$version"
    # Not optimised: it is built once and runs for a second.
    cargo install --quiet --root target/tools --debug --locked --version "$version" "$name" || {
        printf '%s %s cannot be installed into target/tools\n' "$name" "$version" >&2
        exit 2
    }
}

supply_chain() {
    target/tools/bin/cargo-deny --locked check licenses bans sources
}

# Whether a dependency has a known flaw, as far as the database can be reached.
advisories() {
    local told code=0
    told=$(timeout 180 target/tools/bin/cargo-deny --locked check advisories 2>&1) || code=$?
    if [ $code -eq 0 ]; then
        printf 'no dependency has a known flaw\n'
    elif [ $code -eq 124 ] || grep -q 'failed to fetch advisory database' <<<"$told"; then
        printf 'skipped: the database cannot be reached\n'
        skipped+=('known flaws of dependencies')
    else
        printf '%s\n' "$told" >&2
        return 1
    fi
}

# node_packages PACKAGE@VERSION...: has exactly these in target/node. Nothing is fetched where they are there already.
node_packages() {
    local place=target/node list
    list=$(printf '%s\n' "$@")
    if [ "$(cat "$place/packages" 2>/dev/null)" = "$list" ]; then
        return 0
    fi
    set_up node=nodejs npm=npm
    printf '\n== installing into %s: %s\n' "$place" "$*"
    rm -rf "$place"
    mkdir -p "$place" && npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$place" "$@" || {
        printf 'These Node packages cannot be installed into %s: %s\n' "$place" "$*" >&2
        exit 2
    }
    printf '%s\n' "$list" >"$place/packages"
}

documentation() {
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items --locked --quiet
}

# A section is a function whose name begins with run_. Its programs are installed by the function of the same name that begins
# with need_, where there is one.

run_format() { section "format" cargo fmt --all --check; }
run_lint() { section "lints" cargo clippy --workspace --all-targets --locked --quiet -- -D warnings; }
run_test() { section "tests" cargo test --workspace --locked --quiet; }

need_browser() { set_up chromium=chromium chromedriver=chromium-driver && node_packages axe-core@4.11.0; }
run_browser() {
    section "tests in a browser" cargo test --workspace --locked --quiet --test main -- --ignored browser:: --skip pictures_for_the_readme
}

run_bench_small() { section "measurements, with small numbers" cargo test --workspace --locked --quiet --bench load --bench parts; }

# Programs that Python's package index has.
python_tools() { python_packages webexpythonsdk==2.0.6 schemathesis==4.32.5 typos==1.52.0 standardwebhooks==1.0.1; }
need_spelling() { python_tools; }
run_spelling() { section "spelling" target/venv/bin/typos; }
need_api() { python_tools; }
run_api() { section "the API, by schemathesis" cargo test --workspace --locked --quiet --test main -- --ignored schemathesis; }
need_python() { python_tools; }
run_python() { section "tests with Webex's SDK and Standard Webhooks for Python" cargo test --workspace --locked --quiet --test main -- --ignored end_to_end::python notices::python; }

need_man() { set_up mandoc=mandoc; }
run_man() { section "the manual page, by mandoc" cargo test --workspace --locked --quiet --test main -- --ignored mandoc; }

run_docs() { section "documentation" documentation; }

need_deny() { cargo_tool cargo-deny 0.20.2; }
run_deny() { section "what stands in Cargo.lock" supply_chain; }
need_advisories() { need_deny; }
run_advisories() { section "known flaws of dependencies" advisories; }

# Sections that run only when they are named: they take long, and say more with larger numbers.
run_sim() {
    section "simulation, ${SIMULATION_SEEDS:=1000} seeds" env SIMULATION_SEEDS="$SIMULATION_SEEDS" cargo test --locked --test main simulation::
}
run_kills() {
    section "${KILLS:=300} kills" env KILLS="$KILLS" cargo test --locked --test main -- --ignored --nocapture process::kills
}
run_attacks() {
    section "attacks of ${ABUSE_SECONDS:=10} seconds" env ABUSE_SECONDS="$ABUSE_SECONDS" \
        cargo test --locked --test main abuse:: -- --include-ignored --nocapture --test-threads 1
}
run_bench() {
    section "measurements" cargo bench --locked --bench load -- passes reads handshakes consents command stored
    section "measurements of small parts" cargo bench --locked --bench parts
}
run_pictures() {
    section "pictures for the README" cargo test --locked --test main -- --ignored pictures_for_the_readme
}
need_pictures() { need_browser; }

all=(format spelling lint test browser bench_small api python man docs deny advisories)
on_request=(sim kills attacks bench pictures)

if [ "${1:-}" = --list ]; then
    printf '%s\n' "${all[@]}" "${on_request[@]}"
    exit 0
fi
chosen=("$@")
[ ${#chosen[@]} -gt 0 ] || chosen=("${all[@]}")
for name in "${chosen[@]}"; do
    case " ${all[*]} ${on_request[*]} " in
    *" $name "*) ;;
    *)
        printf 'There is no section %s. The sections are: %s\n' "$name" "${all[*]} ${on_request[*]}" >&2
        exit 2
        ;;
    esac
done
# First, so that what cannot be installed is known before anything has taken long.
for name in "${chosen[@]}"; do
    ! declare -F "need_$name" >/dev/null || "need_$name"
done
for name in "${chosen[@]}"; do
    "run_$name"
done

if [ ${#skipped[@]} -eq 0 ]; then
    printf '\n== all passed in %d s\n' $((SECONDS - begun))
else
    printf '\n== passed in %d s; skipped: %s\n' $((SECONDS - begun)) "${skipped[*]}"
fi
