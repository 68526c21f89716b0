//! `mlplatform_client.serializers.auth`

use mlplatform_client::protocol::{Open, RegisterTokenInfo, RegisterTokenState, Role, Secret, TokenInfo};
use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyString},
};

use super::value::value;
use crate::{
    exit,
    times::{datetime, optional_datetime, timedelta},
};

/// An access token without its value.
///
/// Printed, it has the form of the reference library: ``Token <name>:`` and four indented lines.
/// Two infos are equal when all their attributes are; they can be pickled.
///
/// Attributes
/// ----------
/// id : str
///     Public id (``tok_…``), unrelated to the value; the platform's log and audit show it.
/// name : str
///     Unique among valid access tokens.
/// type : MLPTokenType
///     Its role. An unknown role of a newer platform is a ``str``.
/// issuer_name : str
///     Name of the token that issued it.
/// exp : datetime.datetime or None
///     Its expiry (aware, UTC); ``None``: never.
/// created_at : datetime.datetime
///     When it was created (aware, UTC).
/// issuer_id : str or None
///     Id of that issuer, never reused; ``None``: the platform itself.
/// last_used_at : datetime.datetime or None
///     When it was last used (aware, UTC); ``None``: never.
/// last_used_address : str or None
///     The client's address.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.auth")]
#[derive(Debug)]
pub(crate) struct MLPTokenInfo {
    id: String,
    name: String,
    r#type: Py<PyAny>,
    issuer_name: String,
    exp: Py<PyAny>,
    created_at: Py<PyAny>,
    issuer_id: Option<String>,
    last_used_at: Py<PyAny>,
    last_used_address: Option<String>,
}

value!(MLPTokenInfo: id, name, r#type, issuer_name, exp, created_at, issuer_id, last_used_at, last_used_address);

#[pymethods]
impl MLPTokenInfo {
    #[new]
    #[pyo3(signature = (id, name, r#type, issuer_name, exp, created_at, issuer_id=None, last_used_at=None, last_used_address=None))]
    #[allow(clippy::too_many_arguments, reason = "one for each field")]
    fn new(
        py: Python<'_>,
        id: String,
        name: String,
        r#type: Py<PyAny>,
        issuer_name: String,
        exp: Py<PyAny>,
        created_at: Py<PyAny>,
        issuer_id: Option<String>,
        last_used_at: Option<Py<PyAny>>,
        last_used_address: Option<String>,
    ) -> Self {
        let last_used_at = last_used_at.unwrap_or_else(|| py.None());
        Self { id, name, r#type, issuer_name, exp, created_at, issuer_id, last_used_at, last_used_address }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py);
        Ok(format!(
            "Token {}:\n\tid: {}\n\ttype: {}\n\tissuer_name: {}\n\texp: {}",
            self.name,
            self.id,
            text(&self.r#type, py)?,
            self.issuer_name,
            text(&self.exp, py)?
        ))
    }
}

impl MLPTokenInfo {
    pub(crate) fn from_protocol(py: Python<'_>, info: &TokenInfo) -> PyResult<Self> {
        Ok(Self {
            id: info.id.clone(),
            name: info.name.clone(),
            r#type: member(token_types(py)?, &info.role, Role::name)?,
            issuer_name: info.issuer_name.clone(),
            exp: optional_datetime(py, info.exp)?,
            created_at: datetime(py, info.created_at)?,
            issuer_id: info.issuer_id.clone(),
            last_used_at: optional_datetime(py, info.last_used_at)?,
            last_used_address: info.last_used_address.clone(),
        })
    }
}

/// A registration token without its value.
///
/// Printed, it is ``Register token <client_name>:`` and indented lines; lines without information are left out. Two infos are equal when all their attributes are; they can be pickled.
///
/// Attributes
/// ----------
/// id : str
///     Public id (``tok_…``), unrelated to the value; ``delete_register_token`` takes it.
/// client_name : str
///     Name of the future access token.
/// type : MLPTokenType
///     Role of that access token. An unknown role of a newer platform is a ``str``.
/// issuer_name : str
///     Name of the token that issued it.
/// created_at : datetime.datetime
///     When it was created (aware, UTC, as all times).
/// exp : datetime.datetime
///     When it expires.
/// refresh_ttl : datetime.timedelta or None
///     Lifetime of the access token, from its creation; ``None``: it never expires.
/// state : MLPRegisterTokenState
///     Its state. An unknown state of a newer platform is a ``str``.
/// redeemed_at : datetime.datetime or None
///     When it was redeemed.
/// redeemed_address : str or None
///     The client's address.
/// redeemed_token_id, redeemed_token_name : str or None
///     The access token that it was redeemed for, also if that was deleted.
/// withdrawn_at : datetime.datetime or None
///     When it was withdrawn: by ``delete_register_token``, with its issuer, or because the answer with its
///     value was lost and it was replaced.
/// replay_count : int
///     The number of further attempts to redeem it.
/// last_replay_at : datetime.datetime or None
///     The time of the last such attempt.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.auth")]
#[derive(Debug)]
pub(crate) struct MLPRegisterTokenInfo {
    id: String,
    client_name: String,
    r#type: Py<PyAny>,
    issuer_name: String,
    created_at: Py<PyAny>,
    exp: Py<PyAny>,
    refresh_ttl: Py<PyAny>,
    state: Py<PyAny>,
    redeemed_at: Py<PyAny>,
    redeemed_address: Option<String>,
    redeemed_token_id: Option<String>,
    redeemed_token_name: Option<String>,
    withdrawn_at: Py<PyAny>,
    replay_count: u64,
    last_replay_at: Py<PyAny>,
}

value!(
    MLPRegisterTokenInfo: id, client_name, r#type, issuer_name, created_at, exp, refresh_ttl, state, redeemed_at,
    redeemed_address, redeemed_token_id, redeemed_token_name, withdrawn_at, replay_count, last_replay_at,
);

#[pymethods]
impl MLPRegisterTokenInfo {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "one for each field")]
    fn new(
        id: String,
        client_name: String,
        r#type: Py<PyAny>,
        issuer_name: String,
        created_at: Py<PyAny>,
        exp: Py<PyAny>,
        refresh_ttl: Py<PyAny>,
        state: Py<PyAny>,
        redeemed_at: Py<PyAny>,
        redeemed_address: Option<String>,
        redeemed_token_id: Option<String>,
        redeemed_token_name: Option<String>,
        withdrawn_at: Py<PyAny>,
        replay_count: u64,
        last_replay_at: Py<PyAny>,
    ) -> Self {
        Self {
            id,
            client_name,
            r#type,
            issuer_name,
            created_at,
            exp,
            refresh_ttl,
            state,
            redeemed_at,
            redeemed_address,
            redeemed_token_id,
            redeemed_token_name,
            withdrawn_at,
            replay_count,
            last_replay_at,
        }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py);
        let mut lines = vec![
            format!("Register token {}:", self.client_name),
            format!("id: {}", self.id),
            format!("type: {}", text(&self.r#type, py)?),
            format!("issuer_name: {}", self.issuer_name),
            format!("exp: {}", text(&self.exp, py)?),
            format!("refresh_ttl: {}", text(&self.refresh_ttl, py)?),
            format!("state: {}", text(&self.state, py)?),
        ];
        if !self.redeemed_at.is_none(py) {
            lines.push(format!("redeemed_at: {}", text(&self.redeemed_at, py)?));
            lines.extend(self.redeemed_address.iter().map(|address| format!("redeemed_address: {address}")));
        }
        if !self.withdrawn_at.is_none(py) {
            lines.push(format!("withdrawn_at: {}", text(&self.withdrawn_at, py)?));
        }
        if self.replay_count > 0 {
            lines.push(format!("replay_count: {}", self.replay_count));
            lines.push(format!("last_replay_at: {}", text(&self.last_replay_at, py)?));
        }
        Ok(lines.join("\n\t"))
    }
}

impl MLPRegisterTokenInfo {
    pub(crate) fn from_protocol(py: Python<'_>, info: &RegisterTokenInfo) -> PyResult<Self> {
        let refresh_ttl = info.refresh_ttl.map(|lifetime| timedelta(py, lifetime.duration())).transpose()?;
        Ok(Self {
            id: info.id.clone(),
            client_name: info.client_name.clone(),
            r#type: member(token_types(py)?, &info.role, Role::name)?,
            issuer_name: info.issuer_name.clone(),
            created_at: datetime(py, info.created_at)?,
            exp: datetime(py, info.exp)?,
            refresh_ttl: refresh_ttl.unwrap_or_else(|| py.None()),
            state: member(states(py)?, &info.state, RegisterTokenState::name)?,
            redeemed_at: optional_datetime(py, info.redeemed_at)?,
            redeemed_address: info.redeemed_address.clone(),
            redeemed_token_id: info.redeemed_token_id.clone(),
            redeemed_token_name: info.redeemed_token_name.clone(),
            withdrawn_at: optional_datetime(py, info.withdrawn_at)?,
            replay_count: info.replay_count,
            last_replay_at: optional_datetime(py, info.last_replay_at)?,
        })
    }
}

/// Imports the classes before the first wait: see `exit`.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    token_types(py)?;
    states(py)?;
    token_str_class(py).map(drop)
}

/// The members of `MLPTokenType`.
fn token_types(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static MEMBERS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    members(py, &MEMBERS, "MLPTokenType")
}

/// The members of `MLPRegisterTokenState`.
fn states(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static MEMBERS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    members(py, &MEMBERS, "MLPRegisterTokenState")
}

/// The members of a Python enumeration by name; a member's name is its value.
fn members<'py>(
    py: Python<'py>,
    members: &'static PyOnceLock<Py<PyDict>>,
    class_name: &str,
) -> PyResult<&'py Bound<'py, PyDict>> {
    let find = || {
        let class = py.import("mlplatform_client.serializers.auth")?.getattr(class_name)?;
        let members = py.get_type::<PyDict>().call1((class.getattr("__members__")?,))?;
        Ok::<_, PyErr>(members.cast_into::<PyDict>()?.unbind())
    };
    members.get_or_try_init(py, find).map(|members| members.bind(py))
}

/// A member, or the text if the enumeration does not know it.
fn member<T: Copy>(
    members: &Bound<'_, PyDict>,
    value: &Open<T>,
    name: impl Fn(T) -> &'static str,
) -> PyResult<Py<PyAny>> {
    let text = match value {
        Open::Known(value) => name(*value),
        Open::Unknown(text) => text,
    };
    let text = PyString::new(members.py(), text).into_any();
    Ok(members.get_item(&text)?.unwrap_or(text).unbind())
}

/// A token's value as a `TokenStr`, whose `repr` is masked.
pub(crate) fn token_str(py: Python<'_>, token: &Secret) -> PyResult<Py<PyAny>> {
    Ok(token_str_class(py)?.call1((token.expose(),))?.unbind())
}

fn token_str_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static TOKEN_STR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    TOKEN_STR.import(py, "mlplatform_client.core.token", "TokenStr")
}

/// As Python prints it.
fn text(value: &Py<PyAny>, py: Python<'_>) -> PyResult<String> {
    value.bind(py).str().map(|text| text.to_string())
}
