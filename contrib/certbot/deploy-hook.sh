#!/bin/sh
# /etc/letsencrypt/renewal-hooks/deploy/webex-tokend: certbot runs it as root after each renewal, with RENEWED_LINEAGE set
# to the directory of the renewed certificate. It copies the certificate to where the daemon may read it, and has the
# daemon serve it at once, without a restart.
set -eu

name=tokens.example.com
to=/etc/webex-tokend/tls

# Another certificate of this machine was renewed.
[ "${RENEWED_LINEAGE##*/}" = "$name" ] || exit 0

copy() {
    # Readable for the daemon by its group. Renamed into place, so that the daemon never reads half a file.
    install -o root -g webex-tokend-tls -m 0640 "$RENEWED_LINEAGE/$1" "$to/$2.new"
    mv "$to/$2.new" "$to/$2"
}
copy privkey.pem key.pem
copy fullchain.pem chain.pem

# SIGHUP, if the daemon runs.
if systemctl is-active --quiet webex-tokend.service; then
    systemctl reload webex-tokend.service
fi
