#!/usr/bin/env python3
"""Runs for weeks: asks Webex every minute for a person's name. It takes the token from webex-tokend each time.

Needs Python 3.8 or later and nothing else, and an API key with the rights read and refresh.
"""

import json
import os
import ssl
import sys
import time
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

# Such as https://tokens.example.com:8000/api/v1/people/ada@example.com
PERSON = os.environ["REPORT_PERSON_URL"]
WEBEX = os.environ.get("WEBEX_API_BASE_URL", "https://webexapis.com/v1")
PAUSE = float(os.environ.get("REPORT_PAUSE", "60"))
with open(os.environ["REPORT_KEY_FILE"]) as file:
    KEY = file.read().strip()


def call(url, bearer, body=None):
    """The JSON that `url` answers. Waits while the answer is 429 or 503, or there is none; says so."""
    headers = {"Authorization": "Bearer " + bearer, "Content-Type": "application/json"}
    while True:
        try:
            with urlopen(Request(url, body, headers), timeout=120) as answer:
                return json.load(answer)
        except HTTPError as error:
            if error.code not in (429, 503):
                raise
            why, wait = error, error.headers.get("Retry-After", "")
        except (URLError, TimeoutError, ConnectionError) as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                # Waiting does not help. SSL_CERT_FILE in the environment names a file with certificates to trust.
                sys.exit(f"{url}: {error}; if the certificate is right, name it with SSL_CERT_FILE")
            why, wait = error, ""
        seconds = min(int(wait) if wait.isdigit() else 5, 600)
        print(f"{url}: {why}; the next try is in {seconds} s", file=sys.stderr, flush=True)
        time.sleep(seconds)


def webex(path):
    """What Webex answers, with a token that lives now."""
    token = lambda: call(PERSON + "/token?min_ttl=60", KEY)["access_token"]
    try:
        return call(WEBEX + path, token())
    except HTTPError as error:
        if error.code != 401 or not error.url.startswith(WEBEX):
            raise
    # Webex has ended the token early: one refresh by force, and one more try.
    call(PERSON + "/refresh", KEY, b'{"force":true}')
    return call(WEBEX + path, token())


while True:
    try:
        print(webex("/people/me")["displayName"], flush=True)
    except HTTPError as error:
        # Such as 409, the person must consent again: the body says what to do, and it may be done any time.
        print(error.code, error.read(1000).decode(errors="replace"), file=sys.stderr, flush=True)
    time.sleep(PAUSE)
