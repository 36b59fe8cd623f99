//! The links in notices. They are built when a notice is sent, so that they point to the current address of the service.

use std::sync::Arc;

use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::time::UnixTime;
use crate::notices::sink::OutgoingNotice;
use crate::webex::Webex;

/// Turns notices into letters by adding links.
#[derive(Clone)]
pub(super) struct Links(pub(super) Arc<Webex>);

impl Links {
    pub(super) fn outgoing(&self, notice: &Notice, now: UnixTime) -> OutgoingNotice {
        let notice = notice.clone();
        let notice = match (notice.kind, &notice.person) {
            (NoticeType::ConsentNeeded | NoticeType::ConsentExpiring, Some(person)) => {
                let url = self.0.consent_url(person);
                notice.with("consent_url", url)
            }
            (NoticeType::Digest, _) => {
                let base = &self.0.integration().redirect_uri;
                let base = base.strip_suffix("oauth").unwrap_or(base);
                notice.with("url", format!("{base}dashboard"))
            }
            _ => notice,
        };
        OutgoingNotice { notice, now }
    }
}
