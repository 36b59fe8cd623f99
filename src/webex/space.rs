//! A space that a bot adds people to, and Webex's Space widget, which shows it (webex-api, "Alerting by bot; widget").

use serde_json::json;

use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::webex::Webex;
use crate::webex::transport::Payload;
use crate::webex::wire;

/// The space that people are added to, and the bot that may do it.
#[derive(Clone, Debug)]
pub struct Space {
    /// Goes into calls to Webex only.
    pub bot_token: Secret,
    /// As Webex names it.
    pub id: String,
}

/// Why somebody was not added. Adding them again may go better.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAdded(pub String);

/// What the widget needs of the web.
#[derive(Clone, Copy, Debug)]
pub struct Widget {
    /// Its script.
    pub script: &'static str,
    /// Its style sheet.
    pub style: &'static str,
    /// Where both are, and its fonts.
    pub host: &'static str,
    /// Whom it talks with.
    pub talks_with: &'static str,
    /// Where pictures and files are.
    pub files: &'static str,
}

/// Cisco's own copy. The hosts that it talks with are Webex's services as other programs meet them; no list of
/// Cisco's was found.
pub const WIDGET: Widget = Widget {
    script: "https://code.s4d.io/widget-space/production/bundle.js",
    style: "https://code.s4d.io/widget-space/production/main.css",
    host: "https://code.s4d.io",
    talks_with: "https://webexapis.com https://*.webex.com wss://*.webex.com https://*.wbx2.com wss://*.wbx2.com \
                 https://*.ciscospark.com https://*.webexcontent.com",
    files: "https://*.webexcontent.com https://*.webex.com https://*.wbx2.com",
};

impl Webex {
    /// The bot adds `person` to the space. Well, too, if they are in it already.
    ///
    /// # Errors
    /// [`NotAdded`] in Webex's words.
    pub async fn add_to(&self, space: &Space, person: &PersonId) -> Result<(), NotAdded> {
        let body = json!({ "roomId": space.id, "personId": person.as_str(), "isModerator": false });
        let payload = Payload::Json { token: space.bot_token.clone(), body: body.to_string() };
        match self.call("/memberships", payload).await {
            Ok(raw) => wire::added(&raw).map_err(NotAdded),
            Err(why) => Err(NotAdded(why.to_string())),
        }
    }
}
