//! The audit log.

use mlplatform_client::protocol::audit::{AuditRequest, Outcome};
use pyo3::{prelude::*, types::PyDict};

use super::MLPlatform;
use crate::{
    arguments, exit,
    serializers::{audit::MLPAuditEntry, lists},
    text::Text,
};

#[pymethods]
impl MLPlatform {
    /// The audit log of the platform, newest first.
    ///
    /// It contains every change of a token and every refusal. Refusals of unknown tokens are aggregated: the first is a row
    /// at once, the others of that minute are one row with a ``count``.
    ///
    /// Parameters
    /// ----------
    /// token : str, optional
    ///     Id or name of a token, also of a deleted one: only actions of it and on it.
    /// action : str, optional
    ///     Only this action, such as ``"delete_token"``.
    /// outcome : str, optional
    ///     Only this outcome: ``"done"``, ``"refused"`` or ``"replay"``.
    /// since : str, datetime.datetime or datetime.timedelta, optional
    ///     The earliest time: an aware ``datetime`` or RFC 3339 text, or a duration before now (``"2h"``, a
    ///     ``timedelta``) by this machine's clock.
    /// until : str, datetime.datetime or datetime.timedelta, optional
    ///     The time before which the rows are, in the same forms.
    /// limit : int or None, optional
    ///     The most rows, the newest; ``None``: all. Default: 1000.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// list of MLPAuditEntry
    ///     See ``mlplatform_client.serializers.audit``.
    ///
    /// Raises
    /// ------
    /// ForbiddenException
    ///     The role is not Administrator, or the object's own token is unknown, expired or deleted.
    /// BadRequestException
    ///     An argument is invalid. Also a ``ValueError``.
    ///
    /// Examples
    /// --------
    /// >>> for entry in mlp.get_audit(outcome="refused", since="24h"):
    /// ...     print(entry)
    #[pyo3(signature = (*, token=None, action=None, outcome=None, since=None, until=None, limit=1000, timeout=None, **kwargs))]
    #[allow(clippy::too_many_arguments, reason = "filters, all of them optional")]
    fn get_audit(
        &self,
        py: Python<'_>,
        token: Option<Text<'_>>,
        action: Option<Text<'_>>,
        outcome: Option<Text<'_>>,
        since: Option<&Bound<'_, PyAny>>,
        until: Option<&Bound<'_, PyAny>>,
        limit: Option<usize>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        const KNOWN: [&str; 7] = ["token", "action", "outcome", "since", "until", "limit", "timeout"];
        arguments::refuse_unknown("get_audit", &KNOWN, kwargs)?;
        let token = token.map(|text| text.read("token")).transpose()?;
        let action = action.map(|text| text.read("action")).transpose()?;
        let outcome = outcome.map(|text| text.read("outcome")).transpose()?;
        let outcome = outcome.map(|text| {
            Outcome::from_name(&text).ok_or_else(|| {
                let known = Outcome::ALL.map(Outcome::name).join("', '");
                arguments::bad(py, "outcome", format!("'{}' is not an outcome: use '{known}'", text.escape_debug()))
            })
        });
        let request = AuditRequest {
            token,
            action,
            outcome: outcome.transpose()?,
            since: since.map(|value| arguments::moment("since", value)).transpose()?,
            until: until.map(|value| arguments::moment("until", value)).transpose()?,
            ..AuditRequest::default()
        };
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.get_audit(request, limit, timeout).await },
            |py, entries| lists::list(py, entries, |entry| MLPAuditEntry::from_protocol(py, entry)),
        )
    }
}
