//! The settings of the space that a bot adds people to after their consent.

use crate::config::notices::uses_bot;
use crate::config::parse::SettingsReader;
use crate::webex::Space;

/// The space; `None` if it is off or a setting is invalid.
pub(super) fn space(reader: &mut SettingsReader<'_>) -> Option<Space> {
    let names = ["BOT_TOKEN", "BOT_TOKEN_FILE", "SPACE_ID"];
    let is_for_notices_only = reader.text("SPACE_ID").is_none() && uses_bot(reader);
    if is_for_notices_only || names.iter().all(|name| reader.text(name).is_none()) {
        return None;
    }
    let what = "the token of the bot that adds people to SPACE_ID";
    let bot_token = reader.secret("BOT_TOKEN", "BOT_TOKEN_FILE", what);
    let expected = "the id of a space that the bot is in, since BOT_TOKEN is set";
    let id = reader.required("SPACE_ID", expected).filter(|id| {
        let fits = id.len() <= 256 && id.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            reader.wrong("SPACE_ID", expected);
        }
        fits
    });
    Some(Space { bot_token: bot_token?, id: id? })
}
