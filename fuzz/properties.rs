//! What the targets check: the same functions that `tests/properties` calls.

#[path = "../tests/properties/holds/mod.rs"]
pub mod holds;
