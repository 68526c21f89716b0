//! The routes of the API, and the answers to requests that have none.

use axum::{Router, extract::Request, response::Response};
use mlplatform_platform::{app::App, error::Error};
use mlplatform_protocol::ErrorCode;

use crate::{handlers, refusal::refusal};

/// Every route of the contract.
pub fn router() -> Router<App> {
    handlers::api().router
}

/// The refusal of a path that is none of ours.
pub async fn no_route(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let text = format!("there is no {method} {path} here: is the platform's address right, and is it of this version?");
    refusal(Error::refused(ErrorCode::NotFound, text))
}

/// The refusal of a method that a path does not have.
pub async fn no_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let text = format!("{path} is not for {method}: the header Allow says for what");
    refusal(Error::refused(ErrorCode::MethodNotAllowed, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_contract_is_mounted() {
        let mut mounted = handlers::api().mounted;
        let mut routes: Vec<_> = mlplatform_protocol::ROUTES.iter().map(|route| route.name).collect();
        mounted.sort_unstable();
        routes.sort_unstable();
        assert_eq!(mounted, routes);
    }
}
