//! The space that a bot adds people to.

use super::*;

const BOT: &str = "b07-t0ken_PF84";

#[test]
fn the_space_is_off_unless_both_of_its_settings_are_set() {
    assert!(read([]).space.is_none());
    let space = read([("BOT_TOKEN", BOT), ("SPACE_ID", "Y2lz1")]).space.unwrap();
    assert_eq!((space.bot_token.expose(), space.id.as_str()), (BOT, "Y2lz1"));
    assert_eq!(wrong([("BOT_TOKEN", BOT)]), ["SPACE_ID"]);
    assert_eq!(wrong([("SPACE_ID", "Y2lz1")]), ["BOT_TOKEN"]);
}

#[test]
fn the_bots_token_may_come_from_a_file_and_is_never_shown() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("bot");
    std::fs::write(&path, format!("{BOT}\n")).unwrap();
    let file = path.to_str().unwrap();
    let config = read([("BOT_TOKEN_FILE", file), ("SPACE_ID", "Y2lz1")]);
    assert_eq!(config.space.as_ref().unwrap().bot_token.expose(), BOT);
    assert!(!format!("{config:?}").contains(BOT));
    let missing = errors(&with([("BOT_TOKEN_FILE", "/nowhere/bot"), ("SPACE_ID", "Y2lz1")]));
    assert_eq!((missing.len(), missing[0].variable), (1, "BOT_TOKEN_FILE"));
    assert!(missing[0].expected.contains("bot"), "{}", missing[0]);
    let odd = errors(&with([("BOT_TOKEN", "two words"), ("SPACE_ID", "Y2lz1")]));
    assert_eq!((odd.len(), odd[0].variable), (1, "BOT_TOKEN"));
    assert!(!odd[0].to_string().contains("two words"), "{}", odd[0]);
}

#[test]
fn the_id_of_a_space_is_one_word_of_bounded_length() {
    let long = "x".repeat(257);
    for id in ["two words", "é", &long] {
        assert_eq!(wrong([("BOT_TOKEN", BOT), ("SPACE_ID", id)]), ["SPACE_ID"], "{id}");
    }
}
