//! The contents of the secrets and config maps that a job's plan names.

use mlplatform_protocol::ErrorCode;
use mlplatform_runner::{
    plan::{ObjectKind, Plan},
    values::{Value, Values},
};

use crate::{
    app::App,
    error::{Error, Result},
    objects,
};

/// Reads them; one that does not exist is among them as such.
pub(super) async fn values_of(app: &App, cluster: &str, plan: &Plan) -> Result<Values> {
    let mut values = Values::default();
    for object in plan.objects() {
        let kind = match object.kind {
            ObjectKind::Secret => objects::Kind::Secret,
            ObjectKind::ConfigMap => objects::Kind::Configmap,
        };
        let data = match objects::values(app, kind, cluster, &plan.namespace, &object.name).await {
            Ok(data) => Some(data),
            Err(Error::Refused { code: ErrorCode::NotFound, .. }) => None,
            Err(error) => return Err(error),
        };
        let value = |value: objects::Value| Value { bytes: value.bytes, is_binary: value.is_binary };
        let data = data.map(|data| data.into_iter().map(|(key, stored)| (key, value(stored))).collect());
        values.insert(object.clone(), data);
    }
    Ok(values)
}
