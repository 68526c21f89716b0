//! `MLPlatform`: a thin layer over `crates/client`.
//!
//! This file has the constructor, `close()` and the common path of all calls; the methods are in one file for each resource.

mod audit;
mod clusters;
mod connect;
mod jobs;
mod manifests;
mod objects;
mod service_user;
mod tokens;
mod waits;

use std::{
    collections::HashSet,
    convert::Infallible,
    future::Future,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use mlplatform_client::{
    Client, Config, Error, Expiry, Given,
    protocol::{Secret, token},
};
use pyo3::{IntoPyObjectExt, exceptions::PyTypeError, prelude::*, sync::PyOnceLock, types::PyDict};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{
    arguments,
    awaited::{Call, Notifier},
    errors,
    exit::{self, Inside},
    runtime::{self, ProcessLocal},
    serializers,
    text::{FilePath, Text},
};

/// A connection to the ML platform.
///
/// Creating one sends no request; the first call does. One object may be used from several threads and after a
/// ``fork``. It is a context manager, which closes it at the end of the ``with`` block.
///
/// When the interpreter exits, calls of daemon threads end silently; calls of other threads, including executors,
/// are finished first. A handler of ``atexit`` that was registered before this package was
/// imported cannot wait for a daemon thread's call.
///
/// Parameters
/// ----------
/// refresh_token : str, optional
///     The access token (also called refresh token). Surrounding white space is stripped. Default: the
///     environment variable ``MLP_REFRESH_TOKEN``, else the profile's token. Without one, only
///     ``create_refresh_token`` can be called.
/// url : str, optional
///     Address of the platform. Default: ``MLP_URL``, else ``https://msk.cloud.vk.ru/infra/mlplatform``.
/// ca_bundle : str or os.PathLike, optional
///     PEM file of certificate authorities; only these are trusted. Default: ``MLP_CA_BUNDLE``,
///     else the authorities of the system, else bundled ones.
/// client_cert : str or os.PathLike, optional
///     PEM file with the certificate (and its chain) of this client, for platforms that require one.
///     Default: ``MLP_CLIENT_CERT``, else none.
/// client_key : str or os.PathLike, optional
///     PEM file with its private key, without a passphrase. Default: ``MLP_CLIENT_KEY``, else the
///     file of ``client_cert``.
/// timeout : float, optional
///     Seconds for a whole call, retries included; 0 < timeout <= 86400. Default: ``MLP_TIMEOUT``, else 60.
///     Each method also accepts ``timeout=`` for a single call.
/// allow_http : bool, optional
///     Allow tokens over ``http://`` in a closed network, with a warning. Not needed for loopback addresses. Default: ``MLP_ALLOW_HTTP``, else ``False``.
/// profile : str, optional
///     Name of settings saved by ``mlplatform_client.login`` or ``mlp auth login``, used where neither an argument nor a
///     variable is set. Default: ``MLP_PROFILE``, else ``default`` if it exists. If ``url`` is given, the profile
///     ``default`` is used only if it is for that address.
///
/// Raises
/// ------
/// ConfigurationException
///     A setting is invalid; the message names its source.
///
/// Examples
/// --------
/// >>> mlp = MLPlatform("<access token>")
/// >>> print(mlp.who_am_i())
#[pyclass(frozen, subclass, weakref, dict, module = "mlplatform_client")]
pub(crate) struct MLPlatform {
    /// Empty until `__init__`, because a subclass may have another one with other arguments.
    config: OnceLock<Config>,
    client: ProcessLocal<Client>,
    closed: AtomicBool,
    /// Its methods return a [`Call`] instead of waiting.
    awaited: bool,
}

/// The base of ``mlplatform_client.aio.AsyncMLPlatform``: the methods of ``MLPlatform``, which return a ``Call`` instead of
/// waiting.
#[pyclass(frozen, extends = MLPlatform, module = "mlplatform_client._native")]
pub(crate) struct AwaitedPlatform;

#[pymethods]
impl AwaitedPlatform {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(MLPlatform::unset(true)).add_subclass(Self)
    }
}

#[pymethods]
impl MLPlatform {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(refresh_token=None, *, url=None, ca_bundle=None, client_cert=None, client_key=None, timeout=None, allow_http=None, profile=None)")]
    fn new(_args: &Bound<'_, PyAny>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::unset(false)
    }

    #[pyo3(signature = (refresh_token=None, *, url=None, ca_bundle=None, client_cert=None, client_key=None, timeout=None, allow_http=None, profile=None))]
    #[allow(clippy::too_many_arguments, reason = "one for each setting, as keywords")]
    fn __init__(
        &self,
        py: Python<'_>,
        refresh_token: Option<Text<'_>>,
        url: Option<Text<'_>>,
        ca_bundle: Option<FilePath>,
        client_cert: Option<FilePath>,
        client_key: Option<FilePath>,
        timeout: Option<f64>,
        allow_http: Option<bool>,
        profile: Option<Text<'_>>,
    ) -> PyResult<()> {
        let _inside = exit::enter(py);
        let text = |name, text: Option<Text<'_>>| text.map(|text| text.read_setting(name)).transpose();
        let path = |name, path: Option<FilePath>| path.map(|path| path.read_setting(py, name)).transpose();
        let given = Given {
            url: text("url", url)?,
            refresh_token: text("refresh_token", refresh_token)?.map(|token| Secret::from_pasted(&token)),
            ca_bundle: path("ca_bundle", ca_bundle)?,
            client_cert: path("client_cert", client_cert)?,
            client_key: path("client_key", client_key)?,
            timeout,
            allow_http,
            profile: text("profile", profile)?,
        };
        let config =
            Config::resolve(given, |variable| std::env::var_os(variable)).map_err(|error| errors::raise(py, &error))?;
        self.configure(py, config)
    }

    /// Close the connections of this object. Pending calls of other threads raise ``ClosedException``; a later call
    /// connects again. Nothing on the platform is stopped.
    #[pyo3(signature = (**kwargs))]
    fn stop(&self, py: Python<'_>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let _inside = exit::enter(py);
        for (key, _) in kwargs.into_iter().flatten().filter(|(key, _)| !key.eq("timeout").unwrap_or_default()) {
            arguments::warn(py, &format!("stop() ignores the keyword argument '{key}'"))?;
        }
        if let Some(client) = self.client.take(py) {
            client.stop();
        }
        Ok(())
    }

    /// Close this object permanently: later calls raise ``ClosedException``. May be called twice.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.closed.store(true, Ordering::SeqCst);
        self.stop(py, None)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exc_info))]
    fn __exit__(&self, py: Python<'_>, _exc_info: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.get_type().name()?;
        let Some(config) = slf.get().config.get() else { return Ok(format!("<{name} without settings>")) };
        let token = if config.credential.is_some() { "given" } else { "none" };
        Ok(format!("<{name} url='{}' refresh_token={token}>", token::mask(config.url.as_str())))
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let name = slf.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "{name} cannot be pickled or copied: it holds a token and open connections; create one where it is needed \
             ({name}() reads MLP_REFRESH_TOKEN and MLP_URL)"
        )))
    }
}

impl MLPlatform {
    fn unset(awaited: bool) -> Self {
        Self { config: OnceLock::new(), client: ProcessLocal::new(), closed: AtomicBool::new(false), awaited }
    }

    /// Sets the settings, once.
    fn configure(&self, py: Python<'_>, config: Config) -> PyResult<()> {
        if config.plain_http {
            let warning = format!(
                "tokens are sent to {} unencrypted, because allow_http is set",
                token::mask(config.url.as_str())
            );
            arguments::warn(py, &warning)?;
        }
        let again = |_| PyTypeError::new_err("this MLPlatform already has settings: create another one");
        self.config.set(config).map_err(again)
    }

    /// The common path of all calls: gets the client of this process, waits, converts errors. `show` converts the answer for
    /// Python. For asyncio it returns a [`Call`].
    fn call<T, F, V>(
        &self,
        inside: &Inside<'_>,
        verb: impl FnOnce(Arc<Client>) -> F,
        show: impl FnOnce(Python<'_>, T) -> PyResult<V> + Send + 'static,
    ) -> PyResult<Py<PyAny>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
        V: for<'py> IntoPyObject<'py>,
    {
        let py = inside.py();
        let client = self.client(py)?;
        let (answer, show) = (verb(Arc::clone(&client)), shown(client, show));
        if self.awaited {
            Call::new(answer, show).into_py_any(py)
        } else {
            show(py, runtime::block_on(inside, answer)?)
        }
    }

    /// The same for a call with updates: `verb` gets a reporter, and `show_update` converts each update for `on_update`.
    fn call_with_updates<T, F, V, U, W>(
        &self,
        inside: &Inside<'_>,
        verb: impl FnOnce(Arc<Client>, Reporter<U>) -> F,
        on_update: Option<Py<PyAny>>,
        show_update: impl Fn(Python<'_>, U) -> PyResult<W> + Send + 'static,
        show: impl FnOnce(Python<'_>, T) -> PyResult<V> + Send + 'static,
    ) -> PyResult<Py<PyAny>>
    where
        T: Send + 'static,
        U: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
        V: for<'py> IntoPyObject<'py>,
        W: for<'py> IntoPyObject<'py>,
    {
        let py = inside.py();
        let Some(on_update) = on_update else {
            return self.call(inside, |client| verb(client, Reporter(None)), show);
        };
        let client = self.client(py)?;
        let (sender, mut updates) = unbounded_channel();
        let notifier = Notifier::default();
        let answer = verb(Arc::clone(&client), Reporter(Some((sender, notifier.clone()))));
        let show = shown(client, show);
        let show_update = move |py: Python<'_>, update| show_update(py, update)?.into_py_any(py);
        if self.awaited {
            return Call::new(answer, show).with_updates(notifier, updates, on_update, show_update).into_py_any(py);
        }
        let tell = |py: Python<'_>, update| on_update.call1(py, (show_update(py, update)?,)).map(drop);
        show(py, runtime::block_on_with_updates(inside, answer, &mut updates, tell)?)
    }

    /// The object that the user has, for references to it.
    fn public_object(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        if slf.get().awaited { slf.getattr("_public").map(Bound::unbind) } else { Ok(slf.clone().into_any().unbind()) }
    }

    /// This process' client.
    fn client(&self, py: Python<'_>) -> PyResult<Arc<Client>> {
        prepare(py);
        if self.closed.load(Ordering::SeqCst) {
            return Err(errors::raise(py, &Error::closed("this MLPlatform was closed: create another one")));
        }
        let unset = "this MLPlatform has no settings: an __init__ of a subclass calls super().__init__(…) first";
        let config = self.config.get().ok_or_else(|| Error::configuration(unset.to_owned()));
        let client = self.client.get_or_try_init(py, || Client::new(config?));
        client.map_err(|error| errors::raise(py, &error))
    }
}

/// Converts the result of a call for Python, after a warning if the access token expires soon.
fn shown<T, V: for<'py> IntoPyObject<'py>>(
    client: Arc<Client>,
    show: impl FnOnce(Python<'_>, T) -> PyResult<V> + Send + 'static,
) -> impl FnOnce(Python<'_>, Result<T, Error>) -> PyResult<Py<PyAny>> + Send + 'static {
    move |py, result| {
        if let Some(expiry) = client.expiry() {
            warn_of_expiry(py, expiry);
        }
        show(py, result.map_err(|error| errors::raise(py, &error))?)?.into_py_any(py)
    }
}

/// Sends updates of a pending call, if there is a receiver.
struct Reporter<U>(Option<(UnboundedSender<U>, Notifier)>);

impl<U> Reporter<U> {
    fn report(&self, update: U) {
        if let Some((sender, notifier)) = &self.0 {
            // An error means that the call was cancelled.
            let _ = sender.send(update);
            notifier.notify();
        }
    }
}

/// The Python value of an answer without content.
fn nothing(py: Python<'_>, (): ()) -> PyResult<Py<PyAny>> {
    Ok(py.None())
}

/// Imports everything needed for answers and errors before the first wait, because the exit of the interpreter has to wait for
/// work after a wait. Errors are ignored (imports fail during shutdown); the code that needs a name imports it again.
pub(crate) fn prepare(py: Python<'_>) {
    static READY: PyOnceLock<()> = PyOnceLock::new();
    let _: PyResult<&()> = READY.get_or_try_init(py, || errors::prepare(py).and_then(|()| serializers::prepare(py)));
}

/// Warns about the expiry of the access token, once for each token and process.
fn warn_of_expiry(py: Python<'_>, expiry: Expiry) {
    static WARNED: ProcessLocal<Mutex<HashSet<String>>> = ProcessLocal::new();
    let Ok::<_, Infallible>(told) = WARNED.get_or_try_init(py, || Ok(Mutex::default()));
    let first = told.lock().unwrap_or_else(PoisonError::into_inner).insert(expiry.token_id);
    // If warnings are errors, the error must not replace the answer, which may contain a secret that is shown only once. So
    // it is reported as unraisable.
    if first && let Err(error) = arguments::warn(py, &expiry.text) {
        error.write_unraisable(py, None);
    }
}
