//! Macros for value classes: the methods that each of them has.

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

/// What makes a class a value: its fields are what `repr` is made of, what equality and hash are of, and what is pickled.
macro_rules! value {
    ($class:ident: $($field:ident),* $(,)?) => {
        $crate::serializers::value::fields!($class: $($field),*);

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
pub(crate) use {fields, value};
