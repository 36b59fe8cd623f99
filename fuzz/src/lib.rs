//! The properties that the fuzz targets hold; the very ones that the ordinary tests run over the seeds.

#[path = "../../tests/properties/mod.rs"]
mod properties;

/// Panics if the property `name` does not hold for `data`.
pub fn holds(name: &str, data: &[u8]) {
    let (_, holds) = properties::PROPERTIES.iter().find(|(known, _)| *known == name).expect("a property of this name");
    let _ = holds(data);
}
