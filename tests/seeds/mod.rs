//! What must hold for whatever comes from outside: one property for each kind of input, a function of bytes.
//!
//! The fuzz targets (`fuzz/`) call them with what a fuzzer makes up; the tests here with the seeds of their corpora.

mod api;
mod callback;
mod cookies;
mod imports;
mod parts;
mod replies;
mod retry_after;
mod settings;

/// Panics if it does not hold for these bytes.
type Property = fn(&[u8]);

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
    fn every_property_has_a_fuzz_target_and_a_corpus_and_there_are_no_others() {
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

    #[test]
    fn every_property_holds_for_every_seed() {
        let mut broken = Vec::new();
        for (name, holds) in PROPERTIES {
            let seeds = names(&format!("corpus/{name}"));
            assert!(seeds.len() >= 5, "{name} has {} seeds", seeds.len());
            broken.extend(seeds.into_iter().map(|seed| format!("{name}/{seed}")).filter(|seed| {
                let bytes = fs::read(below("corpus").join(seed)).unwrap();
                catch_unwind(|| holds(&bytes)).is_err()
            }));
        }
        assert!(broken.is_empty(), "see above what does not hold: {broken:?}");
    }
}
