//! Properties that must hold for any input from outside: one for each kind of input, as a function of bytes.
//!
//! The fuzz targets (`fuzz/`) call them with fuzzed input; the tests here with the seeds of their corpora.

mod api;
mod callback;
mod cookies;
mod harness;
mod imports;
mod replies;
mod retry_after;
mod settings;

/// Panics if the property does not hold for these bytes. Returns the outcome.
type Property = fn(&[u8]) -> String;

/// Every property, by the name of its fuzz target and of its corpus.
pub(crate) const PROPERTIES: [(&str, Property); 7] = [
    ("api", api::holds),
    ("callback", callback::holds),
    ("cookies", cookies::holds),
    ("imports", imports::holds),
    ("replies", replies::holds),
    ("retry_after", retry_after::holds),
    ("settings", settings::holds),
];

#[cfg(test)]
mod corpus {
    use std::collections::BTreeSet;
    use std::fs;
    use std::panic::catch_unwind;
    use std::path::Path;
    use std::path::PathBuf;

    use super::PROPERTIES;

    fn below(place: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(place)
    }

    fn names(place: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(below(place)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn every_property_has_a_fuzz_target_and_a_corpus_and_vice_versa() {
        let properties: BTreeSet<String> = PROPERTIES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("corpus"), properties);
        let targets: BTreeSet<String> = properties.iter().map(|name| format!("{name}.rs")).collect();
        assert_eq!(names("fuzz_targets"), targets);
        let manifest = fs::read_to_string(below("Cargo.toml")).unwrap();
        for name in &properties {
            let target = fs::read_to_string(below("fuzz_targets").join(name).with_extension("rs")).unwrap();
            assert!(target.contains(&format!("\"{name}\"")), "the target {name} runs another property");
            assert!(
                manifest.contains(&format!("name = \"{name}\"\n")),
                "{name} is missing in fuzz/Cargo.toml"
            );
        }
    }

    /// The expected outcome of each seed: `PROPERTY/SEED: OUTCOME`, one per line.
    const OUTCOMES: &str = include_str!("outcomes.txt");

    fn outcomes() -> impl Iterator<Item = (&'static str, &'static str)> {
        OUTCOMES.lines().map(|line| line.split_once(": ").unwrap())
    }

    /// Checks a property with the seeds that `concerns` selects: each exists, has its expected outcome, and the
    /// property holds for it. Returns their number.
    fn hold(property: &str, concerns: impl Fn(&str, &[u8]) -> bool) -> usize {
        let (_, holds) = PROPERTIES.iter().find(|(name, _)| *name == property).unwrap();
        let (mut broken, mut held) = (Vec::new(), 0);
        for (seed, expected) in outcomes().filter(|(seed, _)| seed.starts_with(&format!("{property}/"))) {
            let Ok(bytes) = fs::read(below("corpus").join(seed)) else {
                broken.push(format!("{seed} is missing"));
                continue;
            };
            if !concerns(expected, &bytes) {
                continue;
            }
            held += 1;
            match catch_unwind(|| holds(&bytes)) {
                Ok(outcome) if outcome == expected => {}
                Ok(outcome) => broken.push(format!("{seed} comes to {outcome:?}, not {expected:?}")),
                Err(_) => broken.push(format!("the property does not hold for {seed}, see above")),
            }
        }
        assert!(broken.is_empty(), "{}", broken.join("\n"));
        held
    }

    fn marked(_: &str, bytes: &[u8]) -> bool {
        let mark = super::harness::SECRET_MARK.as_bytes();
        bytes.windows(mark.len()).any(|part| part == mark)
    }

    #[test]
    fn every_seed_has_an_expected_outcome_and_vice_versa() {
        let told: BTreeSet<String> = outcomes().map(|(seed, _)| seed.to_owned()).collect();
        let in_corpus = |name: &'static str| {
            names(&format!("corpus/{name}")).into_iter().map(move |seed| format!("{name}/{seed}"))
        };
        assert_eq!(told, PROPERTIES.into_iter().flat_map(|(name, _)| in_corpus(name)).collect());
    }

    #[test]
    fn a_forged_or_modified_ticket_is_refused() {
        assert!(hold("cookies", |_, _| true) >= 20);
    }

    #[test]
    fn a_callback_query_has_exactly_one_meaning() {
        assert!(hold("callback", |_, _| true) >= 20);
    }

    #[test]
    fn texts_of_webex_are_shown_without_secrets() {
        assert!(hold("replies", marked) >= 4);
    }

    #[test]
    fn errors_in_settings_and_files_quote_no_secret() {
        assert!(hold("settings", marked) >= 5);
        assert!(hold("imports", marked) >= 5);
    }

    #[test]
    fn a_misleading_response_neither_ends_nor_renews_a_grant() {
        let fails = |outcome: &str| {
            ["renewed", "unchanged", "consent_needed"].iter().all(|word| !outcome.starts_with(word))
        };
        assert!(hold("replies", |outcome, _| fails(outcome)) >= 20);
    }

    #[test]
    fn a_grant_ends_only_by_definite_wording_of_webex() {
        hold("replies", |_, _| true);
        let ends = outcomes().filter(|(_, outcome)| outcome.starts_with("consent_needed"));
        let ends: Vec<&str> = ends.map(|(seed, _)| seed).collect();
        assert_eq!(
            ends,
            [
                "replies/a-scope-that-is-no-longer-allowed",
                "replies/a-wrapper-that-echoes-the-token",
                "replies/an-error-that-echoes-the-token",
                "replies/dead-refresh-token",
                "replies/dead-refresh-token-in-the-wrapper",
            ]
        );
    }

    #[test]
    fn every_retry_after_is_bounded_on_both_sides() {
        assert!(hold("retry_after", |_, _| true) >= 15);
    }

    #[test]
    fn a_retry_after_of_years_or_zero_is_bounded() {
        let extreme =
            |outcome: &str| outcome.trim_end_matches(" s").parse().is_ok_and(|s: u64| s == 0 || s > 86_400);
        assert!(hold("retry_after", |outcome, _| extreme(outcome)) >= 4);
    }

    #[test]
    fn a_malformed_retry_after_is_ignored() {
        assert!(hold("retry_after", |outcome, _| outcome == "no wish") >= 5);
    }

    #[test]
    fn a_key_does_only_what_its_rights_allow() {
        assert!(hold("api", |_, _| true) >= 40);
    }

    #[test]
    fn a_malformed_request_is_refused_with_a_detail() {
        assert!(hold("api", |outcome, _| outcome.rsplit(' ').next() >= Some("400")) >= 15);
    }

    #[test]
    fn no_consumer_request_removes_a_grant() {
        assert!(outcomes().filter(|(seed, _)| seed.starts_with("api/forget")).count() >= 2);
        assert!(hold("api", |_, _| true) >= 40);
    }

    /// Prints the actual outcomes.
    #[test]
    #[ignore = "prints what goes into outcomes.txt, to be judged before it is added"]
    fn print_outcomes() {
        for (name, holds) in PROPERTIES {
            for seed in names(&format!("corpus/{name}")) {
                let seed = format!("{name}/{seed}");
                println!("{seed}: {}", holds(&fs::read(below("corpus").join(&seed)).unwrap()));
            }
        }
    }
}
