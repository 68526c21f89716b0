//! `mlp audit`: the audit log.

use mlplatform_protocol::{
    Timestamp,
    audit::{self, AuditRequest},
};

use crate::{
    args::Audit,
    context::Context,
    failure::Failure,
    output::{moment, word},
};

pub(crate) async fn run(context: &Context, command: Audit) -> Result<(), Failure> {
    let Audit::List { token, action, outcome, since, until, limit } = command;
    let now = Timestamp::now();
    let at = |text: Option<String>| text.map(|text| audit::moment(&text, now)).transpose().map_err(Failure::usage);
    let outcome = outcome.map(audit::Outcome::from);
    let request =
        AuditRequest { token, action, outcome, since: at(since)?, until: at(until)?, limit: None, cursor: None };
    let rows = context.client().await?.get_audit(request, Some(limit), None).await?;
    context.output.list(&["SEQ", "AT", "ACTION", "OUTCOME", "ACTOR", "SUBJECT", "ADDRESS", "DETAIL"], &rows, |row| {
        let named = |name: &Option<String>, id: &Option<String>| {
            name.clone().or_else(|| id.clone()).unwrap_or_else(|| "-".to_owned())
        };
        let detail = row.detail.iter().map(|(key, value)| format!("{key}={}", word(value))).collect::<Vec<_>>();
        vec![
            row.seq.to_string(),
            moment(row.at),
            row.action.clone(),
            word(&row.outcome),
            named(&row.actor_name, &row.actor),
            named(&row.subject_name, &row.subject),
            row.address.clone(),
            detail.join(" "),
        ]
    })
}
