//! Sockets: bind, accept with back-pressure, survive running out of files.

mod settings;
mod slots;
mod socket;

pub use settings::Settings;
pub use slots::{Slot, Slots};
pub use socket::{Listener, bind};
