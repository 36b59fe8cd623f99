# Settings of webex-tokend. Put your integration's client id and secret in (see README.md, "Register an integration"),
# then start the daemon:
#
#     source sample_environ_vars.sh && cargo run -- --debug
#
# Everything else has a default that works; docs/configuration.md lists all settings.

export MY_APP_PORT=8000
export MY_APP_CLIENT_ID="your-client-id"
export MY_APP_SECRET_ID="your-client-secret"
export MY_APP_REDIRECT_URI="https://localhost:8000/oauth"
export MY_APP_SCOPES="spark:all"
export MY_USER_AGENT="webex-tokend"
export EVENT_LOOP_SLEEP_SECONDS=3600
export EVENT_LOOP_DAYS=1

# The test hook: this person is put into the store at start, so old that the first wake refreshes them.
# export TEST_PERSON_ID="a-person-id"
# export TEST_ACCESS_TOKEN="an-access-token"
# export TEST_REFRESH_TOKEN="a-refresh-token"
#
# The other half of it: refresh every stored person at start, whatever their age.
#     cargo run -- serve --refresh-at-start
