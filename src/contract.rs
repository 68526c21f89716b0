//! The tables of the protocol for Python: tests compare documentation and Python classes with them.

use mlplatform_client::{
    protocol::{ErrorCode, ROUTES, RegisterTokenState, Role, token},
    settings::SETTINGS,
};
use pyo3::{prelude::*, types::PyDict};

/// The tables of the protocol: ``roles``, ``register_token_states``, ``error_codes``, ``routes``, ``settings`` and ``token_pattern``.
///
/// The package's own tests and documentation are checked against it; it is not meant for users.
#[pyfunction]
pub(crate) fn contract(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let contract = PyDict::new(py);
    contract.set_item("roles", Role::ALL.map(Role::name))?;
    contract.set_item("register_token_states", RegisterTokenState::ALL.map(RegisterTokenState::name))?;
    contract
        .set_item("error_codes", ErrorCode::ALL.iter().map(|code| (code.name(), code.status())).collect::<Vec<_>>())?;
    let routes = ROUTES.iter().map(|route| {
        (route.name, route.method.as_str(), route.path, format!("{:?}", route.access), format!("{:?}", route.origin))
    });
    contract.set_item("routes", routes.collect::<Vec<_>>())?;
    let settings = SETTINGS.iter().map(|setting| (setting.name, setting.variable, setting.default, setting.secret));
    contract.set_item("settings", settings.collect::<Vec<_>>())?;
    contract.set_item("token_pattern", token::PATTERN)?;
    Ok(contract)
}
