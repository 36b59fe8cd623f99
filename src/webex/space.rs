//! The space that a bot adds people to, and Webex's Space widget, which shows it (webex-api, "Alerting by
//! bot; widget").

use serde_json::json;

use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::webex::client::Webex;
use crate::webex::transport::Payload;
use crate::webex::wire;

/// The space that people are added to, and the bot that adds them.
#[derive(Clone, Debug)]
pub struct Space {
    /// The bot's token. It is sent to Webex only.
    pub bot_token: Secret,
    /// Webex's id of the space.
    pub id: String,
}

/// Why a person was not added. The caller may try again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotAdded {
    /// The reason, for people.
    pub why: String,
    /// Whether Webex does not accept the bot's token.
    pub is_token_refused: bool,
}

impl NotAdded {
    /// A reason that has nothing to do with the bot's token.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_token_refused: false }
    }
}

/// The URLs that the widget needs.
#[derive(Clone, Copy, Debug)]
pub struct SpaceWidget {
    /// Its script.
    pub script: &'static str,
    /// Its style sheet.
    pub style: &'static str,
    /// The host of the script, the style sheet and the fonts.
    pub host: &'static str,
    /// The hosts that it connects to.
    pub talks_with: &'static str,
    /// The hosts of pictures and files.
    pub files: &'static str,
}

/// Cisco's own copy. The hosts are those of Webex's services as other programs use them; Cisco publishes no
/// list.
pub const WIDGET: SpaceWidget = SpaceWidget {
    script: "https://code.s4d.io/widget-space/production/bundle.js",
    style: "https://code.s4d.io/widget-space/production/main.css",
    host: "https://code.s4d.io",
    talks_with: "https://webexapis.com https://*.webex.com wss://*.webex.com https://*.wbx2.com wss://*.wbx2.com \
                 https://*.ciscospark.com https://*.webexcontent.com",
    files: "https://*.webexcontent.com https://*.webex.com https://*.wbx2.com",
};

impl Webex {
    /// Adds `person` to the space with the bot's token. A person who is a member already counts as added.
    ///
    /// # Errors
    /// [`NotAdded`] with Webex's explanation.
    pub async fn add_to(&self, space: &Space, person: &PersonId) -> Result<(), NotAdded> {
        let body = json!({ "roomId": space.id, "personId": person.as_str(), "isModerator": false });
        let payload = Payload::Json { token: space.bot_token.clone(), body: body.to_string() };
        match self.call("/memberships", payload).await {
            Ok(raw) => wire::added(&raw).map_err(|why| NotAdded { why, is_token_refused: raw.status == 401 }),
            Err(why) => Err(NotAdded::new(why.to_string())),
        }
    }
}
