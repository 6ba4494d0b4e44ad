//! Table completeness, block arithmetic, recorded bytes.
use super::*;

#[test]
fn every_format_is_registered_once() {
    for entry in &FORMATS {
        assert_eq!(Format::from_id(entry.id), Ok(entry.format));
        assert_eq!(Format::from_name(&entry.name.to_lowercase()), Ok(entry.format));
        assert_eq!(entry.format.name(), entry.name);
    }
    assert!(Format::from_id(99).unwrap_err().to_string().contains("Q4_K"));
}
