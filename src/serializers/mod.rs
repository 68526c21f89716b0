//! Value classes, one file for each Python submodule of `mlplatform_client.serializers`.

use std::time::Duration;

use mlplatform_client::{Error, protocol::Timestamp};
use pyo3::{PyClass, prelude::*, pyclass_init::PyClassInitializer, sync::PyOnceLock, types::PyList};

use crate::errors;

/// What shows the fields of a class, in the order of its constructor: `to_dict()`, `vars()`, `dataclasses`.
macro_rules! fields {
    ($class:ident: $($field:ident),* $(,)?) => {
        impl $class {
            const FIELDS: &[&str] = &[$(stringify!($field),)*];

            /// In the order of the constructor.
            fn values<'py>(&self, py: pyo3::Python<'py>) -> pyo3::PyResult<pyo3::Bound<'py, pyo3::types::PyTuple>> {
                let values = [$(pyo3::IntoPyObjectExt::into_bound_py_any(&self.$field, py)?,)*];
                pyo3::types::PyTuple::new(py, values)
            }
        }

        #[pymethods]
        impl $class {
            /// The attributes as a new ``dict``, in their order.
            fn to_dict<'py>(&self, py: pyo3::Python<'py>) -> pyo3::PyResult<pyo3::Bound<'py, pyo3::types::PyDict>> {
                use pyo3::types::{PyDictMethods, PyTupleMethods};
                let dict = pyo3::types::PyDict::new(py);
                for (field, value) in Self::FIELDS.iter().zip(self.values(py)?.iter()) {
                    dict.set_item(field.trim_start_matches("r#"), value)?;
                }
                Ok(dict)
            }

            #[getter]
            fn __dict__<'py>(&self, py: pyo3::Python<'py>) -> pyo3::PyResult<pyo3::Bound<'py, pyo3::types::PyDict>> {
                self.to_dict(py)
            }

            #[classattr]
            const fn __dataclass_fields__() -> $crate::serializers::dataclass::DataclassAttribute {
                $crate::serializers::dataclass::DataclassAttribute::new(
                    "__dataclass_fields__",
                    stringify!($class),
                    Self::FIELDS,
                )
            }

            #[classattr]
            const fn __dataclass_params__() -> $crate::serializers::dataclass::DataclassAttribute {
                $crate::serializers::dataclass::DataclassAttribute::new(
                    "__dataclass_params__",
                    stringify!($class),
                    Self::FIELDS,
                )
            }
        }
    };
}
pub(crate) use fields;

/// What makes a class a value: its fields are what `repr` is made of, what equality and hash are of, and what is pickled.
macro_rules! value {
    ($class:ident: $($field:ident),* $(,)?) => {
        $crate::serializers::fields!($class: $($field),*);

        #[pymethods]
        impl $class {
            fn __repr__(slf: &pyo3::Bound<'_, Self>) -> pyo3::PyResult<String> {
                let _inside = $crate::exit::enter(slf.py());
                $crate::notebook::short_repr(slf.as_any(), Self::FIELDS)
            }

            fn _repr_html_(slf: &pyo3::Bound<'_, Self>) -> pyo3::PyResult<Option<String>> {
                let _inside = $crate::exit::enter(slf.py());
                $crate::notebook::card(slf.as_any(), Self::FIELDS)
            }

            fn __eq__(
                slf: &pyo3::Bound<'_, Self>,
                other: &pyo3::Bound<'_, pyo3::PyAny>,
            ) -> pyo3::PyResult<pyo3::Py<pyo3::PyAny>> {
                use pyo3::types::PyAnyMethods;
                let py = slf.py();
                let _inside = $crate::exit::enter(py);
                let Ok(other) = other.cast::<Self>() else { return Ok(py.NotImplemented()) };
                let equal = slf.get().values(py)?.eq(other.get().values(py)?)?;
                pyo3::IntoPyObjectExt::into_py_any(equal, py)
            }

            fn __hash__(slf: &pyo3::Bound<'_, Self>) -> pyo3::PyResult<isize> {
                use pyo3::types::PyAnyMethods;
                let _inside = $crate::exit::enter(slf.py());
                slf.get().values(slf.py())?.hash()
            }

            fn __reduce__<'py>(
                slf: &pyo3::Bound<'py, Self>,
            ) -> pyo3::PyResult<(pyo3::Bound<'py, pyo3::types::PyType>, pyo3::Bound<'py, pyo3::types::PyTuple>)> {
                use pyo3::types::PyAnyMethods;
                Ok((slf.get_type(), slf.get().values(slf.py())?))
            }
        }
    };
}
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod dataclass;
pub(crate) mod lists;
pub(crate) mod spark_jobs;
pub(crate) mod spark_proxy;

/// Before the first wait: see `exit`.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    datetime_class(py)?;
    timedelta_class(py)?;
    info_list_class(py)?;
    auth::prepare(py)
}

/// What a method returns as a list: one that a notebook shows as a table.
pub(crate) fn list<T, V: PyClass + Into<PyClassInitializer<V>>>(
    py: Python<'_>,
    items: Vec<T>,
    value: impl Fn(T) -> PyResult<V>,
) -> PyResult<Py<PyList>> {
    let list = info_list_class(py)?.call0()?.cast_into::<PyList>()?;
    for item in items {
        list.append(Bound::new(py, value(item)?)?)?;
    }
    Ok(list.unbind())
}

fn info_list_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static INFO_LIST: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    INFO_LIST.import(py, "mlplatform_client.core.lists", "InfoList")
}

pub(crate) fn datetime_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static DATETIME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    DATETIME.import(py, "datetime", "datetime")
}

fn timedelta_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static TIMEDELTA: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    TIMEDELTA.import(py, "datetime", "timedelta")
}

/// An aware `datetime.datetime` in UTC.
fn datetime(py: Python<'_>, at: Timestamp) -> PyResult<Py<PyAny>> {
    // Python 3.9's `fromisoformat` reads no 'Z' and no other number of decimals.
    let text = at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
    let read = datetime_class(py)?.call_method1("fromisoformat", (text,));
    // Of all years Python knows those from 1 to 9999.
    read.map(Bound::unbind).map_err(|_| errors::raise(py, &Error::beyond(&format!("the time {at}"))))
}

/// The same, or `None`.
fn optional_datetime(py: Python<'_>, at: Option<Timestamp>) -> PyResult<Py<PyAny>> {
    at.map_or_else(|| Ok(py.None()), |at| datetime(py, at))
}

/// A `datetime.timedelta`, to the microsecond.
fn timedelta(py: Python<'_>, length: Duration) -> PyResult<Py<PyAny>> {
    let parts = (0, length.as_secs(), length.subsec_micros());
    Ok(timedelta_class(py)?.call1(parts)?.unbind())
}

/// As Python prints it.
fn text(value: &Py<PyAny>, py: Python<'_>) -> PyResult<String> {
    value.bind(py).str().map(|text| text.to_string())
}
