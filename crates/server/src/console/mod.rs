//! The console: the platform's pages for people, at `/`.
//!
//! Pages are made here and nowhere else; forms work without script. A page asks and does what the API does, through the
//! same service functions: nothing in this folder knows SQL or a path of the wire.
//!
//! ```text
//! guard      who may ask at all: the host asked for, where a form comes from, headers of every page
//! visitor    who asks: the session behind the cookie; what was sent in a form
//! errors     refusals of the whole server, as pages for whoever reads pages
//! texts      every word that a person reads
//! layout     the frame of a page, and the pieces that pages are made of
//! assets     style, script and icon
//! the rest   one file per page or two
//! ```

mod assets;
mod audit;
mod create;
mod errors;
mod fields;
mod guard;
mod job;
mod layout;
mod own;
mod register;
mod rotate;
mod sign_in;
mod texts;
mod tokens;
mod visitor;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};

pub(crate) use errors::dress;

use crate::{app::App, site::Site};

/// The largest form: names and tokens are a hundredth of it.
const LARGEST_FORM: usize = 16 * 1024;

/// What pages work with.
#[derive(Clone)]
struct Console {
    app: App,
    site: Arc<Site>,
}

/// Every page.
pub(crate) fn router(app: &App, site: &Arc<Site>) -> Router<App> {
    let console = Console { app: app.clone(), site: Arc::clone(site) };
    let pages = Router::new()
        .route("/", get(own::start))
        .route("/sign-in", get(sign_in::page).post(sign_in::with_token))
        .route("/open", get(sign_in::code_page).post(sign_in::with_code))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/me", get(own::page))
        .route("/tokens", get(tokens::list))
        .route("/tokens/new", get(create::page).post(create::create))
        .route("/tokens/{id}/delete", get(tokens::confirm_delete).post(tokens::delete))
        .route("/tokens/{id}/rotate", get(rotate::page).post(rotate::rotate))
        .route("/registration-tokens", get(register::list))
        .route("/registration-tokens/new", get(register::page).post(register::create))
        .route("/registration-tokens/{id}/withdraw", get(register::confirm_withdraw).post(register::withdraw))
        .route("/audit", get(audit::page))
        .route("/audit/export", get(audit::export))
        .route("/clusters/{cluster}/{job}/jobs/", get(job::page))
        .route("/clusters/{cluster}/{job}/jobs", get(job::page))
        .route("/clusters/{cluster}/{job}/log", get(job::whole_log))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(middleware::from_fn_with_state(console.clone(), guard::check));
    assets::mount(pages).with_state(console)
}
