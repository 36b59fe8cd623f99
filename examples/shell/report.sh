#!/bin/sh
# A cron job: takes a live token from webex-tokend over HTTPS and asks Webex for the person's name. Prints no token.
# Needs curl 7.76 or later, and jq.
set -eu

tokend=${REPORT_TOKEND:-https://tokens.example.com:8000}
person=${REPORT_PERSON:-ada@example.com}
webex=${WEBEX_API_BASE_URL:-https://webexapis.com/v1}
# Mode 0600; one line: `Authorization: Bearer ` and the API key.
key=${REPORT_KEY:-$HOME/report.header}

[ -r "$key" ] || {
    echo "The file $key cannot be read. It must hold the header with the API key; REPORT_KEY names another file." >&2
    exit 1
}

# On 429 and 503 curl waits for as long as Retry-After says, and tries again.
ask() { curl -sS --fail-with-body --retry 5 --retry-max-time 600 --max-time 120 "$@"; }
# Says what failed, and what the answer says about it, and ends.
fail() {
    printf '%s\n' "$1" >&2
    printf '%s' "$2" | jq -ers 'last | .detail // .message // empty' >&2 2>/dev/null || printf '%s\n' "$2" >&2
    exit 1
}

# If there is no token, `detail` in the answer says why and what to do.
answer=$(ask -H "@$key" "$tokend/api/v1/people/$person/token?min_ttl=300") || fail 'webex-tokend gave no token:' "$answer"
# `last`: curl prints the answers of all tries.
token=$(printf '%s' "$answer" | jq -ers 'last.access_token // empty') || fail 'webex-tokend sent no token' ''
# By a pipe, because other users can read the arguments of a process. `printf` is no process of its own.
answer=$(printf 'Authorization: Bearer %s\n' "$token" | ask -H @- "$webex/people/me") ||
    fail 'Webex did not name the person:' "$answer"
printf '%s' "$answer" | jq -ers 'last.displayName // empty' || fail 'This answer of Webex names no person:' "$answer"
