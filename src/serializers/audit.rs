//! `mlplatform_client.serializers.audit`

use mlplatform_client::protocol::{Open, Value, audit::AuditEntry};
use pyo3::prelude::*;

use super::value::value;
use crate::{exit, times::datetime, values};

/// A row of the audit log: actor, action, time, address and outcome.
///
/// Two entries are equal when all their attributes are; they can be pickled, not hashed.
///
/// Attributes
/// ----------
/// seq : int
///     The row's number; the numbers have no gaps.
/// at : datetime.datetime
///     The time (aware, UTC).
/// action : str
///     A method's name, or an action of the platform itself.
/// outcome : str
///     ``done``, ``refused``, or ``replay`` (a second attempt to redeem a registration token).
/// actor : str or None
///     Id of the acting token; ``None``: unauthenticated, or the platform itself.
/// actor_name : str or None
///     That token's name.
/// subject : str or None
///     Id of the affected token, of either kind.
/// subject_name : str or None
///     That token's name.
/// address : str
///     The client's address; ``local`` for a command on the platform's machine.
/// request_id : str
///     The request's id, as in exceptions.
/// detail : dict
///     Details, such as the ``reason`` of a refusal; ``count`` is the number of aggregated refusals.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.audit")]
#[derive(Debug)]
pub(crate) struct MLPAuditEntry {
    seq: u64,
    at: Py<PyAny>,
    action: String,
    outcome: String,
    actor: Option<String>,
    actor_name: Option<String>,
    subject: Option<String>,
    subject_name: Option<String>,
    address: String,
    request_id: String,
    detail: Py<PyAny>,
}

#[pymethods]
impl MLPAuditEntry {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "a row has that many columns")]
    fn new(
        seq: u64,
        at: Py<PyAny>,
        action: String,
        outcome: String,
        actor: Option<String>,
        actor_name: Option<String>,
        subject: Option<String>,
        subject_name: Option<String>,
        address: String,
        request_id: String,
        detail: Py<PyAny>,
    ) -> Self {
        Self { seq, at, action, outcome, actor, actor_name, subject, subject_name, address, request_id, detail }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py);
        let token = |name: &Option<String>, id: &Option<String>| name.as_ref().or(id.as_ref()).cloned();
        let who = token(&self.actor_name, &self.actor).unwrap_or_else(|| "-".to_owned());
        let whom = token(&self.subject_name, &self.subject).map(|whom| format!(" {whom}")).unwrap_or_default();
        let (at, detail) = (self.at.bind(py).str()?, self.detail.bind(py).str()?);
        Ok(format!("{at} {who} ({}): {}{whom} {} {detail}", self.address, self.action, self.outcome))
    }
}

impl MLPAuditEntry {
    pub(crate) fn from_protocol(py: Python<'_>, entry: AuditEntry) -> PyResult<Self> {
        let detail = values::from_json(py, &Value::Object(entry.detail))?;
        Ok(Self {
            seq: entry.seq,
            at: datetime(py, entry.at)?,
            action: entry.action,
            outcome: match entry.outcome {
                Open::Known(outcome) => outcome.name().to_owned(),
                Open::Unknown(text) => text,
            },
            actor: entry.actor,
            actor_name: entry.actor_name,
            subject: entry.subject,
            subject_name: entry.subject_name,
            address: entry.address,
            request_id: entry.request_id,
            detail: detail.unbind(),
        })
    }
}

value!(MLPAuditEntry: seq, at, action, outcome, actor, actor_name, subject, subject_name, address, request_id, detail);
