//! The Python package of Standard Webhooks verifies our signatures.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use webex_tokend::domain::secret::Secret;
use webex_tokend::notices::signature::SigningKeys;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl+abcdefg";

/// Verifies a message with each key, and checks that a changed message is refused.
const VERIFY: &str = "
import sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
old, new, id, seconds, signature, body = sys.argv[1:]
headers = {'webhook-id': id, 'webhook-timestamp': seconds, 'webhook-signature': signature}
for key in (old, new):
    Webhook(key).verify(body, headers)
    try:
        Webhook(key).verify(body + ' ', headers)
        sys.exit('a changed body was taken')
    except WebhookVerificationError:
        pass
print('verified')
";

#[tokio::test]
#[ignore = "needs standardwebhooks; bash tests/run.sh installs it"]
async fn the_package_for_python_takes_our_signatures_with_the_old_key_and_with_the_new_one() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let keys = SigningKeys::parse(&Secret::new(format!("{OLD} {NEW}"))).unwrap();
    let (id, seconds, body) = ("evt_1", jiff::Timestamp::now().as_second(), "{\"data\":{\"ü\":1}}");
    let signature = keys.sign(id, seconds, body);
    let mut command = Command::new(python);
    command.args(["-c", VERIFY, OLD, NEW, id, &seconds.to_string(), &signature, body]);
    let ended = command.stdin(Stdio::null()).output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "verified\n");
}
