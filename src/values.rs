//! Conversion between Python values and the YAML tree.

use mlplatform_client::protocol::yaml::{self, Kind, Mapping, Node, Scalar, Value};
use pyo3::{
    IntoPyObjectExt,
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple},
};

use crate::{exit, text};

/// A Python value as a value of a manifest. `name` is the argument's name, for errors.
pub(crate) fn to_node(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Node> {
    // A mapping may be implemented in Python.
    let _inside = exit::enter(value.py());
    node(name, value, yaml::MAX_DEPTH)
}

/// A `dict` argument.
pub(crate) fn to_mapping(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Mapping> {
    match to_node(name, value)?.value {
        Value::Mapping(mapping) => Ok(mapping),
        _ => Err(wrong(name, "must be a dict", value)),
    }
}

/// An argument that is a list of `dict`s.
pub(crate) fn to_sequence(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Node>> {
    match to_node(name, value)?.value {
        Value::Sequence(items) => Ok(items),
        _ => Err(wrong(name, "must be a list of dicts", value)),
    }
}

fn node(path: &str, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Node> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(PyTypeError::new_err(format!("{path} is nested too deeply, or contains itself")));
    };
    let number = |text: &str| Node::made(Value::Scalar(yaml::number_scalar(text)));
    if value.is_none() {
        Ok(Node::null())
    } else if let Ok(text) = value.cast::<PyString>() {
        Ok(Node::text(text::read(path, text)?))
    } else if let Ok(truth) = value.cast::<PyBool>() {
        Ok(Node::bool(truth.is_true()))
    } else if value.is_instance_of::<PyInt>() {
        // `int.__repr__`, of any size, not that of a subclass.
        Ok(number(&value.py().get_type::<PyInt>().call_method1("__repr__", (value,))?.str()?.to_cow()?))
    } else if let Ok(float) = value.cast::<PyFloat>() {
        let float = float.value();
        Ok(match float {
            _ if float.is_nan() => Node::made(Value::Scalar(Scalar::plain(".nan"))),
            _ if float.is_infinite() => {
                Node::made(Value::Scalar(Scalar::plain(if float > 0.0 { ".inf" } else { "-.inf" })))
            }
            // With a decimal point, so that it is not read as an integer.
            _ => number(&format!("{float:?}")),
        })
    } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items = value.try_iter()?.enumerate().map(|(index, item)| node(&format!("{path}[{index}]"), &item?, depth));
        Ok(Node::sequence(items.collect::<PyResult<_>>()?))
    } else if let Ok(entries) = value.cast::<PyMapping>() {
        let mut mapping = Mapping::default();
        for entry in entries.items()?.iter() {
            let (key, value) = entry.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            let Ok(key) = key.cast::<PyString>() else {
                return Err(wrong(path, "must have str keys", &key));
            };
            let key = text::read(&format!("a key of {path}"), key)?;
            mapping.set(&key, node(&format!("{path}.{key}"), &value, depth)?);
        }
        Ok(Node::made(Value::Mapping(mapping)))
    } else {
        Err(wrong(path, "must be a dict, list, str, int, float, bool or None", value))
    }
}

fn wrong(path: &str, rule: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let what = value.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("{path} {rule}, not {what}"))
}

/// The mapping as a new dict.
pub(crate) fn from_mapping<'py>(py: Python<'py>, mapping: &Mapping) -> PyResult<Bound<'py, PyAny>> {
    let dict = PyDict::new(py);
    for entry in mapping {
        dict.set_item(entry.key.as_str(), from_node(py, &entry.value)?)?;
    }
    Ok(dict.into_any())
}

fn from_node<'py>(py: Python<'py>, node: &Node) -> PyResult<Bound<'py, PyAny>> {
    match &node.value {
        Value::Mapping(mapping) => from_mapping(py, mapping),
        Value::Sequence(items) => {
            let items = items.iter().map(|item| from_node(py, item)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyList::new(py, items)?.into_any())
        }
        Value::Scalar(scalar) => match scalar.kind() {
            Kind::Null => Ok(py.None().into_bound(py)),
            Kind::Bool(truth) => truth.into_bound_py_any(py),
            // Base 0 reads the prefix of the text; Python has no size limit.
            Kind::Int => py.get_type::<PyInt>().call1((scalar.as_str(), 0)),
            Kind::Float => scalar.as_f64().into_bound_py_any(py),
            Kind::Str => scalar.as_str().into_bound_py_any(py),
        },
    }
}

/// JSON as Python's `json` module would read it.
pub(crate) fn from_json<'py>(py: Python<'py>, value: &serde_json::Value) -> PyResult<Bound<'py, PyAny>> {
    use serde_json::Value;
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(truth) => truth.into_bound_py_any(py),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_bound_py_any(py),
            (_, Some(number)) => number.into_bound_py_any(py),
            _ => number.as_f64().into_bound_py_any(py),
        },
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(items) => {
            let items = items.iter().map(|item| from_json(py, item)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyList::new(py, items)?.into_any())
        }
        Value::Object(entries) => {
            let dict = PyDict::new(py);
            for (key, value) in entries {
                dict.set_item(key, from_json(py, value)?)?;
            }
            Ok(dict.into_any())
        }
    }
}
