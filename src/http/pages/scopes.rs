//! The list of scopes on a page.

use crate::domain::scope;

/// A scope in the list of a page.
#[derive(Debug)]
pub(in crate::http) struct ScopeText<'a> {
    pub(super) name: &'a str,
    words: Option<&'static str>,
}

impl ScopeText<'_> {
    /// What the scope allows. For an unknown scope, a general word.
    pub(super) fn words(&self) -> &'static str {
        self.words.unwrap_or("Permission")
    }
}

/// Scopes for the list of a page.
pub(in crate::http) fn scopes(names: &[String]) -> Vec<ScopeText<'_>> {
    names.iter().map(|name| ScopeText { name, words: scope::in_words(name) }).collect()
}
