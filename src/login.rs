//! `mlplatform_client.login` without the prompt.

use mlplatform_client::{
    Given,
    login::{LoggedIn, overridden},
    protocol::Secret,
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    errors,
    exit::enter,
    platform, runtime,
    serializers::auth::{MLPTokenInfo, token_str},
    text::{FilePath, Text},
};

/// The platform to check a token with, and the profile to store it in. Creating it writes nothing.
#[pyclass(frozen, module = "mlplatform_client._native")]
pub(crate) struct Login(mlplatform_client::login::Login);

#[pymethods]
impl Login {
    #[new]
    #[pyo3(signature = (*, profile, url, ca_bundle, save))]
    fn new(
        py: Python<'_>,
        profile: Option<Text<'_>>,
        url: Option<Text<'_>>,
        ca_bundle: Option<FilePath>,
        save: bool,
    ) -> PyResult<Self> {
        let _inside = enter(py);
        let text = |name, text: Option<Text<'_>>| text.map(|text| text.read_setting(name)).transpose();
        let ca_bundle = ca_bundle.map(|path| path.read_setting(py, "ca_bundle")).transpose()?;
        let given = Given { url: text("url", url)?, profile: text("profile", profile)?, ca_bundle, ..Given::default() };
        let login = mlplatform_client::login::Login::prepare(given, |name| std::env::var_os(name), save);
        login.map(Self).map_err(|error| errors::raise(py, &error))
    }

    #[getter]
    fn url(&self) -> &str {
        self.0.url()
    }

    #[getter]
    fn profile(&self) -> &str {
        self.0.profile()
    }

    /// The access token with its state, as a `dict`.
    fn finish<'py>(slf: Py<Self>, py: Python<'py>, token: Text<'_>) -> PyResult<Bound<'py, PyDict>> {
        let inside = enter(py);
        platform::prepare(py);
        let token = Secret::from_pasted(&token.read("token")?);
        let login = slf.clone_ref(py);
        let done: Result<LoggedIn, mlplatform_client::Error> =
            runtime::block_on(&inside, async move { login.get().0.finish(token).await })?;
        let done = done.map_err(|error| errors::raise(py, &error))?;
        let answer = PyDict::new(py);
        answer.set_item("token", token_str(py, &done.token)?)?;
        answer.set_item("redeemed", done.redeemed)?;
        let (info, problem) = (done.info, "problem");
        match info {
            Ok(info) => answer.set_item("info", Py::new(py, MLPTokenInfo::from_protocol(py, &info)?)?)?,
            Err(error) => answer.set_item(problem, error.to_string())?,
        }
        match done.saved {
            Some(Ok(path)) => answer.set_item("saved", path)?,
            Some(Err(error)) => answer.set_item(problem, error.to_string())?,
            None => {}
        }
        let used = overridden(|name| std::env::var_os(name), slf.get().0.profile());
        answer.set_item("overridden", used.filter(|_| answer.contains("saved").unwrap_or_default()))?;
        Ok(answer)
    }
}
