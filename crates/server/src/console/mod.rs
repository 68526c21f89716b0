//! The console: the platform's pages for people, at `/`.
//!
//! Pages are made here and nowhere else; forms work without script. A page asks and does what the API does, through the
//! same service functions: nothing in this folder knows SQL or a path of the wire.
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
mod errors;
mod fields;
mod guard;
mod job;
mod layout;
mod links;
mod own;
mod question;
mod register;
mod rotate;
mod sign_in;
mod state;
mod texts;
mod tokens;
mod visitor;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{get, post},
};

pub(crate) use errors::dress;

use crate::{app::App, site::Site};
use state::Console;

/// Every page.
pub(crate) fn router(app: &App, site: &Arc<Site>) -> Router<App> {
    let console = Console { app: app.clone(), site: Arc::clone(site) };
    let pages = Router::new()
        .route("/", get(own::start))
        .route("/sign-in", get(sign_in::page).post(sign_in::with_token))
        .route("/open", get(sign_in::code_page).post(sign_in::with_code))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/me", get(own::page))
        .route("/me/sign-out-others", get(own::confirm_sign_out_others).post(own::sign_out_others))
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
        .layer(middleware::from_fn_with_state(console.clone(), guard::admit))
        .layer(middleware::from_fn_with_state(console.clone(), guard::check));
    assets::mount(pages).with_state(console)
}
