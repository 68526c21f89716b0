//! Lists of `mlplatform_client.serializers.spark_proxy`.

use mlplatform_client::protocol::JobEvent;
use pyo3::{
    PyClass,
    exceptions::PyIndexError,
    prelude::*,
    pyclass_init::PyClassInitializer,
    sync::PyOnceLock,
    types::{PyDict, PyList, PySlice},
};

use super::spark_jobs::K8sSparkEvent;
use crate::{exit, notebook};

/// A returned list, which a notebook shows as a table.
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

pub(super) fn info_list_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static INFO_LIST: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    INFO_LIST.import(py, "mlplatform_client.core.lists", "InfoList")
}

/// A list that prints one item a line.
macro_rules! list {
    ($(#[$doc:meta])* $class:ident) => {
        $(#[$doc])*
        #[pyclass(frozen, weakref, sequence, module = "mlplatform_client.serializers.spark_proxy")]
        #[derive(Debug)]
        pub(crate) struct $class {
            items: Py<PyList>,
        }

        #[pymethods]
        impl $class {
            #[new]
            fn new(items: &Bound<'_, PyAny>) -> PyResult<Self> {
                let _inside = exit::enter(items.py());
                let list = PyList::empty(items.py());
                for item in items.try_iter()? {
                    list.append(item?)?;
                }
                Ok(Self { items: list.unbind() })
            }

            fn __len__(&self, py: Python<'_>) -> usize {
                self.items.bind(py).len()
            }

            fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
                if index.is_instance_of::<PySlice>() {
                    return info_list_class(py)?.call1((self.items.bind(py).as_any().get_item(index)?,));
                }
                let items = self.items.bind(py);
                let number: isize = index.extract()?;
                let length = isize::try_from(items.len()).unwrap_or(isize::MAX);
                let at = if number < 0 { number + length } else { number };
                let at = usize::try_from(at).map_err(|_| PyIndexError::new_err("list index out of range"))?;
                items.get_item(at)
            }

            fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.items.bind(py).try_iter()?.into_any())
            }

            fn __contains__(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<bool> {
                let _inside = exit::enter(py);
                self.items.bind(py).contains(item)
            }

            fn __str__(&self, py: Python<'_>) -> PyResult<String> {
                let _inside = exit::enter(py);
                let lines = self.items.bind(py).iter().map(|item| Ok(item.str()?.to_string()));
                Ok(lines.collect::<PyResult<Vec<_>>>()?.join("\n"))
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                let _inside = exit::enter(py);
                Ok(format!("{}({})", stringify!($class), notebook::plain(self.items.bind(py))?))
            }

            fn _repr_html_(&self, py: Python<'_>) -> PyResult<Option<String>> {
                notebook::table(self.items.bind(py))
            }

            #[pyo3(signature = (**_kwargs))]
            fn _repr_mimebundle_<'py>(
                &self,
                py: Python<'py>,
                _kwargs: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<Bound<'py, PyDict>> {
                notebook::mimebundle(self.items.bind(py))
            }

            fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
                let _inside = exit::enter(py);
                match other.cast::<Self>() {
                    Ok(other) => self.items.bind(py).eq(other.get().items.bind(py)),
                    Err(_) => Ok(false),
                }
            }

            fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
                let _inside = exit::enter(py);
                self.items.bind(py).to_tuple().hash()
            }

            fn __reduce__<'py>(
                slf: &Bound<'py, Self>,
            ) -> (Bound<'py, pyo3::types::PyType>, (Bound<'py, PyList>,)) {
                (slf.get_type(), (slf.get().items.bind(slf.py()).clone(),))
            }
        }

        impl $class {
            pub(crate) fn of<T: pyo3::PyClass + Into<pyo3::PyClassInitializer<T>>>(
                py: Python<'_>,
                items: Vec<T>,
            ) -> PyResult<Self> {
                let list = PyList::empty(py);
                for item in items {
                    list.append(Bound::new(py, item)?)?;
                }
                Ok(Self { items: list.unbind() })
            }
        }
    };
}

list! {
    /// The jobs of a cluster, in the order of submission: iterable, with ``len()`` and indexes.
    ///
    /// Printed, it is one ``K8sSparkJobInfo`` a line.
    K8sSparkJobsInfoList
}

list! {
    /// The events of a cluster, oldest first: iterable, with ``len()`` and indexes.
    ///
    /// Printed, it is one ``K8sSparkEvent`` a line.
    K8sSparkEventsList
}

impl K8sSparkEventsList {
    pub(crate) fn from_protocol(py: Python<'_>, events: Vec<JobEvent>) -> PyResult<Self> {
        let events = events.into_iter().map(|event| K8sSparkEvent::from_protocol(py, event));
        Self::of(py, events.collect::<PyResult<Vec<_>>>()?)
    }
}
