//! The unmodified Webex SDK for Python, with a token from `exec` in its environment.

use super::ADA;
use super::DaemonFixture;
use super::GRACE;
use super::in_target;

/// The SDK finds the token itself; only Webex's address must be given.
const WHO_AM_I: &str = "
import sys, webexpythonsdk
print(webexpythonsdk.WebexAPI(base_url=sys.argv[1]).people.me().emails[0])
";

#[tokio::test]
#[ignore = "needs webexpythonsdk; bash tests/run.sh installs it"]
async fn webexs_sdk_uses_the_token_of_the_person_that_exec_names() {
    let fixture = DaemonFixture::new().await;
    let python = in_target("venv/bin/python");
    let python = python.to_str().unwrap();
    let base = format!("{}/", fixture.sim.base_url());
    for person in [GRACE, ADA] {
        let told =
            fixture.command(&["exec", person, "--", python, "-c", WHO_AM_I, &base]).await.expect_success();
        assert_eq!(told, format!("{person}\n"));
    }
}
