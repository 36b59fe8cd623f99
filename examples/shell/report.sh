#!/bin/sh
# A cron job: takes a live token from webex-tokend over HTTPS and asks Webex for the person's name. Prints no token.
# Needs curl 7.76 or later, and jq.
set -eu

tokend=${REPORT_TOKEND:-https://tokens.example.com:8000}
person=${REPORT_PERSON:-ada@example.com}
webex=${WEBEX_API_BASE_URL:-https://webexapis.com/v1}
# Mode 0600; one line: `Authorization: Bearer ` and the API key.
key=${REPORT_KEY:-$HOME/report.header}

# On 429 and 503 curl waits for as long as Retry-After says, and tries again.
ask() { curl -sS --fail-with-body --retry 5 --retry-max-time 600 --max-time 120 "$@"; }

# If there is no token, `detail` says why and what to do.
answer=$(ask -H "@$key" "$tokend/api/v1/people/$person/token?min_ttl=300") || {
    printf '%s' "$answer" | jq -r '.detail // .' >&2
    exit 1
}
# By a pipe, because other users can read the arguments of a process. `printf` is no process of its own.
printf 'Authorization: Bearer %s\n' "$(printf '%s' "$answer" | jq -er .access_token)" |
    ask -H @- "$webex/people/me" | jq -r .displayName
