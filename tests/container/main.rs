//! The image and the stack of `compose.yaml`, as users run them: real containers, Docker's DNS, Flask under gunicorn.
//!
//! They need a Docker engine, docker-compose and the images (`just images`). Where one is missing they say so and are
//! skipped; with `CI` set they fail. All traffic goes to ports that Docker publishes on 127.0.0.1.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on ends here, and one that is skipped says so"
)]

mod docker;
mod image;
mod load;
mod stack;
mod system;
