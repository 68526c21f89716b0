//! `mlplatform_client.serializers.auth`

use mlplatform_client::protocol::{Open, Role, Secret, TokenInfo};
use pyo3::{prelude::*, sync::PyOnceLock, types::PyTuple};

use super::datetime;

/// What may be known of an access token: everything but its value.
///
/// Printed, it has the form of the reference library: ``Token <name>:`` and four indented lines.
/// Two infos are equal when all their attributes are; they can be pickled.
///
/// Attributes
/// ----------
/// id : str
///     Public id (``tok_…``), unrelated to the value; the platform's log and audit show it.
/// name : str
///     Unique among living access tokens.
/// type : MLPTokenType
///     Its role. A role that only a newer platform knows is a plain ``str``.
/// issuer_name : str
///     Name of the token that made the registration token.
/// exp : datetime.datetime or None
///     When it ends (aware, UTC); ``None``: never.
/// created_at : datetime.datetime
///     When it was made (aware, UTC).
#[pyclass(frozen, get_all, module = "mlplatform_client.serializers.auth")]
#[derive(Debug)]
pub(crate) struct MLPTokenInfo {
    id: String,
    name: String,
    r#type: Py<PyAny>,
    issuer_name: String,
    exp: Py<PyAny>,
    created_at: Py<PyAny>,
}

#[pymethods]
impl MLPTokenInfo {
    #[new]
    fn new(
        id: String,
        name: String,
        r#type: Py<PyAny>,
        issuer_name: String,
        exp: Py<PyAny>,
        created_at: Py<PyAny>,
    ) -> Self {
        Self { id, name, r#type, issuer_name, exp, created_at }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let text = |value: &Py<PyAny>| value.bind(py).str().map(|text| text.to_string());
        Ok(format!(
            "Token {}:\n\tid: {}\n\ttype: {}\n\tissuer_name: {}\n\texp: {}",
            self.name,
            self.id,
            text(&self.r#type)?,
            self.issuer_name,
            text(&self.exp)?
        ))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let values = slf.get().values(slf.py())?;
        let fields = ["id", "name", "type", "issuer_name", "exp", "created_at"].iter().zip(values.iter());
        let fields = fields.map(|(field, value)| Ok(format!("{field}={}", value.repr()?)));
        Ok(format!("MLPTokenInfo({})", fields.collect::<PyResult<Vec<_>>>()?.join(", ")))
    }

    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Ok(other) = other.cast::<Self>() else { return Ok(py.NotImplemented()) };
        let equal = slf.get().values(py)?.eq(other.get().values(py)?)?;
        Ok(equal.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __hash__(slf: &Bound<'_, Self>) -> PyResult<isize> {
        slf.get().values(slf.py())?.hash()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        Ok((slf.get_type().into_any(), slf.get().values(slf.py())?))
    }
}

impl MLPTokenInfo {
    pub(crate) fn from_protocol(py: Python<'_>, info: &TokenInfo) -> PyResult<Self> {
        Ok(Self {
            id: info.id.clone(),
            name: info.name.clone(),
            r#type: token_type(py, &info.role)?,
            issuer_name: info.issuer_name.clone(),
            exp: info.exp.map_or_else(|| Ok(py.None()), |exp| datetime(py, exp))?,
            created_at: datetime(py, info.created_at)?,
        })
    }

    /// In the order of the constructor.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        (&self.id, &self.name, &self.r#type, &self.issuer_name, &self.exp, &self.created_at).into_pyobject(py)
    }
}

/// The member of `MLPTokenType`, which is a Python enumeration.
fn token_type(py: Python<'_>, role: &Open<Role>) -> PyResult<Py<PyAny>> {
    static MLP_TOKEN_TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    match role {
        Open::Known(role) => {
            let class = MLP_TOKEN_TYPE.import(py, "mlplatform_client.serializers.auth", "MLPTokenType")?;
            Ok(class.call1((role.name(),))?.unbind())
        }
        Open::Unknown(text) => Ok(text.into_pyobject(py)?.into_any().unbind()),
    }
}

/// A token's value on its way to the user: a `TokenStr`, whose `repr` is masked.
pub(crate) fn token_str(py: Python<'_>, token: &Secret) -> PyResult<Py<PyAny>> {
    static TOKEN_STR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Ok(TOKEN_STR.import(py, "mlplatform_client.core.token", "TokenStr")?.call1((token.expose(),))?.unbind())
}
