#!/bin/sh
# The same over the control socket, without a key: for the daemon's user, root, and the members of TOKEND_SOCKET_GROUP.
# Needs curl 7.76 or later, and jq.
set -eu

socket=${TOKEND_CONTROL_SOCKET:-/run/webex-tokend/control.sock}
person=${REPORT_PERSON:-ada@example.com}
webex=${WEBEX_API_BASE_URL:-https://webexapis.com/v1}

ask() { curl -sS --fail-with-body --retry 5 --retry-max-time 600 --max-time 120 "$@"; }

answer=$(ask --unix-socket "$socket" "http://localhost/api/v1/people/$person/token?min_ttl=300") || {
    printf '%s' "$answer" | jq -r '.detail // .' >&2
    exit 1
}
printf 'Authorization: Bearer %s\n' "$(printf '%s' "$answer" | jq -er .access_token)" |
    ask -H @- "$webex/people/me" | jq -r .displayName
