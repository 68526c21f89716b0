//! The routes of the console.

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{get, post},
};
use mlplatform_platform::app::App;

use crate::{assets, audit, create, guard, job, own, register, rotate, sign_in, site::Site, state::Console, tokens};

/// Every page.
pub fn router(app: &App, site: &Arc<Site>) -> Router<App> {
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
