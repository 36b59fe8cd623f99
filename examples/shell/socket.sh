#!/bin/sh
# The same over the control socket, without a key: for the daemon's user, root, and the members of TOKEND_SOCKET_GROUP.
# Needs curl 7.76 or later, and jq.
set -eu

socket=${TOKEND_CONTROL_SOCKET:-/run/webex-tokend/control.sock}
person=${REPORT_PERSON:-ada@example.com}
webex=${WEBEX_API_BASE_URL:-https://webexapis.com/v1}

ask() { curl -sS --fail-with-body --retry 5 --retry-max-time 600 --max-time 120 "$@"; }
# Says what failed, and what the answer says about it, and ends.
fail() {
    printf '%s\n' "$1" >&2
    printf '%s' "$2" | jq -ers 'last | .detail // .message // empty' >&2 2>/dev/null || printf '%s\n' "$2" >&2
    exit 1
}

answer=$(ask --unix-socket "$socket" "http://localhost/api/v1/people/$person/token?min_ttl=300") ||
    fail 'webex-tokend gave no token:' "$answer"
# `last`: curl prints the answers of all tries.
token=$(printf '%s' "$answer" | jq -ers 'last.access_token // empty') || fail 'webex-tokend sent no token' ''
answer=$(printf 'Authorization: Bearer %s\n' "$token" | ask -H @- "$webex/people/me") ||
    fail 'Webex did not name the person:' "$answer"
printf '%s' "$answer" | jq -ers 'last.displayName // empty' || fail 'This answer of Webex names no person:' "$answer"
