//! Support of Python's `dataclasses` for value classes: `asdict(info)`, `pandas.DataFrame(infos)`.

use pyo3::{prelude::*, sync::PyOnceLock};

/// `__dataclass_fields__` or `__dataclass_params__` of a class. Created on demand, because importing
/// `dataclasses` takes longer than importing this package.
#[pyclass(frozen, module = "mlplatform_client._native")]
pub(crate) struct DataclassAttribute {
    attribute: &'static str,
    class: &'static str,
    fields: &'static [&'static str],
    value: PyOnceLock<Py<PyAny>>,
}

impl DataclassAttribute {
    pub(crate) const fn new(attribute: &'static str, class: &'static str, fields: &'static [&'static str]) -> Self {
        Self { attribute, class, fields, value: PyOnceLock::new() }
    }
}

#[pymethods]
impl DataclassAttribute {
    fn __get__(
        &self,
        py: Python<'_>,
        _instance: &Bound<'_, PyAny>,
        _owner: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let value = self.value.get_or_try_init(py, || {
            let fields: Vec<_> = self.fields.iter().map(|field| field.trim_start_matches("r#")).collect();
            let dataclass = py.import("dataclasses")?.call_method1("make_dataclass", (self.class, fields))?;
            dataclass.getattr(self.attribute).map(Bound::unbind)
        })?;
        Ok(value.clone_ref(py))
    }
}
