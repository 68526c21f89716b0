//! The console: the platform's pages for people, at `/`.
//!
//! Pages are made here and nowhere else; forms work without script. A page asks and does what the API does, through the
//! same functions: nothing in this crate knows SQL or a path of the wire.
//!
//! ```text
//! guard      who may ask at all: the host asked for, where a form comes from, how many at once; headers of every page
//! visitor    who asks: the session behind the cookie; what was sent in a form
//! confirm    the token's value once more, before something is changed
//! errors     refusals of the whole server, as pages for whoever reads pages
//! texts      every word that a person reads
//! layout     the frame of a page, and the pieces that pages are made of
//! assets     style, script and icon
//! the rest   one file per page or two
//! ```

mod assets;
mod audit;
mod confirm;
mod create;
pub mod errors;
mod fields;
mod guard;
mod job;
mod layout;
mod links;
mod own;
mod prompt;
mod register;
mod rotate;
pub mod router;
mod sign_in;
pub mod site;
mod state;
mod texts;
mod tokens;
mod visitor;
