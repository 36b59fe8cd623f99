//! A space that a bot adds people to, people's pictures, and a stand-in for the Space widget.

use serde_json::json;

use super::Model;
use super::http::{Answer, Request};
use super::params::{Params, bearer};
use super::problem;
use crate::people::Person;
use crate::settings::Avatar;

/// Shows what the real widget would get. Of the token it shows only whether it is present.
const WIDGET_SCRIPT: &str = "document.querySelectorAll('[data-toggle=\"webex-space\"]').forEach(function (place) {\
place.textContent = 'Space widget (simulated) for ' + place.dataset.destinationType + ' ' + place.dataset.destinationId + \
(place.dataset.accessToken ? ', with a token' : ', without a token');});\n";

const WIDGET_STYLE: &str = "[data-toggle=\"webex-space\"]{min-height:12rem}\n";

/// A generic picture of a person.
const PICTURE: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 80 80\"><rect width=\"80\" height=\"80\" \
fill=\"#7a4fa3\"/><g fill=\"#f3dfc9\"><circle cx=\"40\" cy=\"31\" r=\"15\"/><path d=\"M10 80a30 28 0 0 1 60 0z\"/></g></svg>";

impl Model {
    /// `POST /memberships`: the bot adds a person to the space.
    pub(super) fn memberships(&mut self, request: &Request) -> Answer {
        if bearer(request.authorization.as_deref()) != Some(self.settings.bot_token.as_str()) {
            return problem::dead_access_token(&self.tracking_id);
        }
        let params = Params::of_body(request);
        let refuse = |status, text| problem::webexapis(status, text, text, &self.tracking_id);
        if params.get("roomId") != Some(self.settings.space_id.as_str()) {
            return refuse(404, "The requested resource could not be found.");
        }
        let is_meant = |person: &Person| {
            params.get("personId") == Some(person.id.as_str())
                || params.get("personEmail").is_some_and(|email| person.email.eq_ignore_ascii_case(email))
        };
        let Some(index) = self.settings.people.iter().position(is_meant) else {
            return refuse(400, "The person to add is missing or not known.");
        };
        if !self.members.insert(index) {
            return refuse(409, "The person is in the space already.");
        }
        let person = self.person(index);
        let body = json!({
            "id": format!("membership-{index}"),
            "roomId": self.settings.space_id,
            "personId": person.id,
            "personEmail": person.email,
            "personDisplayName": person.display_name,
            "isModerator": false,
        });
        Answer::json(201, &body)
    }

    /// Who is in the space: indices into the people.
    #[must_use]
    pub fn members(&self) -> Vec<usize> {
        self.members.iter().copied().collect()
    }

    /// Removes a person from the space.
    pub fn remove_member(&mut self, person: usize) {
        self.members.remove(&person);
    }

    /// The URL of a person's picture in `people/me`.
    pub(super) fn avatar(&self, person: &Person) -> Option<String> {
        match &self.settings.avatar {
            Avatar::Here if self.settings.base_url.is_empty() => None,
            Avatar::Here => Some(format!("{}/pictures/{}.svg", self.settings.base_url, person.uuid)),
            Avatar::At(address) => Some(address.clone()),
            Avatar::None => None,
        }
    }
}

/// Files that browsers ask for; `None`: there is no such file.
pub(super) fn file(path: &str) -> Option<Answer> {
    let (content_type, text) = match path {
        "/widget-space/production/bundle.js" => ("text/javascript; charset=utf-8", WIDGET_SCRIPT),
        "/widget-space/production/main.css" => ("text/css; charset=utf-8", WIDGET_STYLE),
        _ if path.starts_with("/v1/pictures/") => ("image/svg+xml", PICTURE),
        _ => return None,
    };
    let file = Answer { body: text.as_bytes().to_vec(), ..Answer::empty(200) };
    Some(file.with("Content-Type", content_type))
}
