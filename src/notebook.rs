//! What a notebook shows by itself: short `repr`s, and tables in HTML.
//!
//! Other users chose most of what stands in a table. So all of it is escaped, and there is no script, no style sheet and
//! nothing that is loaded; links lead to http and https alone. Colours are JupyterLab's variables, with fallbacks that can be
//! seen on white and on black; no colour says what a word beside it does not. What is shown is bounded, however long the
//! list or a text in it: a notebook keeps its outputs.

use std::fmt::Write;

use mlplatform_client::protocol::token;
use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyInt, PyList, PySlice, PyString},
};

use crate::{exit, times::datetime_class};

/// Of a longer list so many rows are shown: half of them from its beginning, half from its end.
const ROWS: usize = 100;
/// Characters that are shown of a longer text: in a cell, and in a `repr`.
const CELL: usize = 300;
const FIELD: usize = 80;
/// What is no longer, as a name or an id, stays on one line.
const NAME: usize = 24;
/// A longer address is not a link.
const ADDRESS: usize = 2048;

const GOOD: &str = "var(--jp-success-color1,#2e9e4f)";
const BUSY: &str = "var(--jp-info-color1,#0288d1)";
const BAD: &str = "var(--jp-error-color1,#e53935)";
const OVER: &str = "var(--jp-ui-font-color3,#888888)";

/// How the objects of a class are shown.
struct View {
    class: &'static str,
    /// What one and what several of them are called.
    one: &'static str,
    many: &'static str,
    /// The fields that are in the `repr`.
    short: &'static [&'static str],
    columns: &'static [Column],
}

struct Column {
    heading: &'static str,
    /// The first of these fields that is not `None`.
    fields: &'static [&'static str],
    /// The field with the address that the text leads to.
    link: Option<&'static str>,
}

const fn column(heading: &'static str, fields: &'static [&'static str]) -> Column {
    Column { heading, fields, link: None }
}

const VIEWS: &[View] = &[
    View {
        class: "MLPTokenInfo",
        one: "access token",
        many: "access tokens",
        short: &["name", "type", "exp"],
        columns: &[
            column("Name", &["name"]),
            column("Role", &["type"]),
            column("Ends", &["exp"]),
            column("Issuer", &["issuer_name"]),
            column("Created", &["created_at"]),
            column("Last used", &["last_used_at"]),
            column("From", &["last_used_address"]),
            column("Id", &["id"]),
        ],
    },
    View {
        class: "MLPRegisterTokenInfo",
        one: "registration token",
        many: "registration tokens",
        short: &["client_name", "type", "state", "exp"],
        columns: &[
            column("For", &["client_name"]),
            column("Role", &["type"]),
            column("State", &["state"]),
            column("To be redeemed before", &["exp"]),
            column("Access token lives", &["refresh_ttl"]),
            column("Issuer", &["issuer_name"]),
            column("Redeemed", &["redeemed_at"]),
            column("From", &["redeemed_address"]),
            column("Withdrawn", &["withdrawn_at"]),
            column("Tried again", &["replay_count"]),
            column("Id", &["id"]),
        ],
    },
    View {
        class: "K8sClusterInfo",
        one: "cluster",
        many: "clusters",
        short: &["name", "status", "id"],
        columns: &[
            column("Name", &["name"]),
            column("State", &["status"]),
            column("Reason", &["status_reason"]),
            column("Inactive (min)", &["inactive_min"]),
            column("Suspended after (min)", &["suspend_after_inactive_min"]),
            column("Deleted after (min)", &["delete_after_inactive_min"]),
            column("Bucket", &["s3_bucket_name"]),
            column("History server", &["history_server_url"]),
            column("Id", &["id"]),
        ],
    },
    View {
        class: "K8sSparkJobInfo",
        one: "job",
        many: "jobs",
        short: &["job_name", "status", "created_at"],
        columns: &[
            Column { heading: "Job", fields: &["job_name"], link: Some("ui_url") },
            column("State", &["status"]),
            column("Submitted", &["created_at"]),
        ],
    },
    View {
        class: "K8sSparkJobInfoDetail",
        one: "job",
        many: "jobs",
        short: &["job_name", "status", "created_at", "pod_status"],
        columns: &[
            Column { heading: "Job", fields: &["job_name"], link: Some("ui_url") },
            column("State", &["status"]),
            column("Submitted", &["created_at"]),
            column("Pod", &["pod_status"]),
            column("Reason", &["pod_state_reason", "pod_status_reason"]),
        ],
    },
    View {
        class: "K8sSparkEvent",
        one: "event",
        many: "events",
        short: &["time", "job_name", "type", "reason"],
        columns: &[
            column("Time", &["time"]),
            column("Job", &["job_name"]),
            column("Type", &["type"]),
            column("Reason", &["reason"]),
            column("Message", &["message"]),
        ],
    },
    View {
        class: "MLPAuditEntry",
        one: "entry of the audit",
        many: "entries of the audit",
        short: &["seq", "at", "actor_name", "action", "outcome", "subject_name"],
        columns: &[
            column("No.", &["seq"]),
            column("Time", &["at"]),
            column("Who", &["actor_name", "actor"]),
            column("From", &["address"]),
            column("Action", &["action"]),
            column("Outcome", &["outcome"]),
            column("Whom", &["subject_name", "subject"]),
            column("Detail", &["detail"]),
            column("Request", &["request_id"]),
        ],
    },
];

fn view_named(class: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.class == class)
}

/// The classes of [`VIEWS`], in that order.
static CLASSES: PyOnceLock<Vec<Py<PyAny>>> = PyOnceLock::new();

/// Takes the classes from the module that exports them. None of them can be subclassed.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let classes = VIEWS.iter().map(|view| module.getattr(view.class).map(Bound::unbind));
    let classes = classes.collect::<PyResult<Vec<_>>>()?;
    CLASSES.get_or_init(module.py(), || classes);
    Ok(())
}

/// By the class itself: another class of the same name is none of ours.
fn view(item: &Bound<'_, PyAny>) -> Option<&'static View> {
    let class = item.get_type();
    let at = CLASSES.get(item.py())?.iter().position(|known| class.is(known))?;
    VIEWS.get(at)
}

/// `repr` of a value: the fields that tell it from others, or all of them; long texts are cut.
pub(crate) fn short_repr(item: &Bound<'_, PyAny>, fields: &[&str]) -> PyResult<String> {
    let class = item.get_type().name()?.to_string();
    let view = view_named(&class);
    let mut shown = Vec::with_capacity(fields.len());
    for field in view.map_or(fields, |view| view.short) {
        let field = field.trim_start_matches("r#");
        shown.push(format!("{field}={}", short(&item.getattr(field)?)?));
    }
    Ok(match view {
        Some(_) => format!("<{class} {}>", shown.join(" ")),
        None => format!("{class}({})", shown.join(", ")),
    })
}

fn short(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = value.py();
    if value.is_instance(datetime_class(py)?)? {
        return Ok(value.str()?.to_string_lossy().into_owned());
    }
    if let Ok(text) = value.cast::<PyString>() {
        // Cut before it is quoted: it may be a log. `str()` of it: an enumeration's member is its text.
        let head = text.str()?.as_any().get_item(PySlice::new(py, 0, isize::try_from(FIELD).unwrap_or(0), 1))?;
        let cut = if text.len()? > FIELD { "…" } else { "" };
        return Ok(format!("{}{cut}", token::mask(&head.repr()?.to_string_lossy())));
    }
    Ok(token::mask(&cut(&value.repr()?.to_string_lossy(), FIELD)))
}

fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The rows of a list that are shown, and how many are left out between them.
struct Shown<'py> {
    first: Vec<Bound<'py, PyAny>>,
    left_out: usize,
    last: Vec<Bound<'py, PyAny>>,
}

impl<'py> Shown<'py> {
    fn of(items: &Bound<'py, PyList>) -> Self {
        let length = items.len();
        if length <= ROWS {
            return Self { first: items.iter().collect(), left_out: 0, last: Vec::new() };
        }
        let half = ROWS / 2;
        Self {
            first: items.get_slice(0, half).iter().collect(),
            left_out: length - 2 * half,
            last: items.get_slice(length - half, length).iter().collect(),
        }
    }

    fn rows(&self) -> impl Iterator<Item = &Bound<'py, PyAny>> {
        self.first.iter().chain(&self.last)
    }
}

/// What a notebook keeps of a list as text: one item a line, as many as the table has rows.
pub(crate) fn plain(items: &Bound<'_, PyList>) -> PyResult<String> {
    let shown = Shown::of(items);
    let mut lines = Vec::with_capacity(ROWS + 1);
    for item in &shown.first {
        lines.push(cut(&item.repr()?.to_string_lossy(), CELL));
    }
    if shown.left_out > 0 {
        lines.push(format!("… {} more …", shown.left_out));
    }
    for item in &shown.last {
        lines.push(cut(&item.repr()?.to_string_lossy(), CELL));
    }
    Ok(format!("[{}]", lines.join(",\n ")))
}

/// A list as a table; `None` where it is empty, or holds anything but objects of one class of ours.
#[pyfunction]
pub(crate) fn table(items: &Bound<'_, PyList>) -> PyResult<Option<String>> {
    let _inside = exit::enter(items.py());
    let shown = Shown::of(items);
    let Some(view) = shown.rows().next().and_then(view) else { return Ok(None) };
    let mut rows = Vec::with_capacity(ROWS);
    for item in shown.rows() {
        if self::view(item).is_none_or(|other| other.class != view.class) {
            return Ok(None);
        }
        let cells = view.columns.iter().map(|column| column.cell(item));
        rows.push(cells.collect::<PyResult<Vec<_>>>()?);
    }
    // A column in which nothing stands is left out.
    let used: Vec<bool> =
        (0..view.columns.len()).map(|at| rows.iter().any(|row| row.get(at).is_some_and(Option::is_some))).collect();
    let columns = used.iter().filter(|used| **used).count();
    let count = shown.first.len() + shown.left_out + shown.last.len();
    let mut html = Html::begin(&format!("{count} {}", if count == 1 { view.one } else { view.many }));
    html.raw("<thead><tr>");
    for (column, _) in view.columns.iter().zip(&used).filter(|(_, used)| **used) {
        html.raw("<th scope=\"col\" style=\"text-align:left\">").text(column.heading).raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for (at, row) in rows.iter().enumerate() {
        if shown.left_out > 0 && at == shown.first.len() {
            html.note(columns, &format!("⋮ {} more", shown.left_out));
        }
        html.raw("<tr>");
        for (cell, _) in row.iter().zip(&used).filter(|(_, used)| **used) {
            html.raw(cell.as_deref().unwrap_or("<td></td>"));
        }
        html.raw("</tr>");
    }
    if shown.left_out > 0 {
        let note = format!("{} of {count} are shown: slice the list, or loop over it, for the others", rows.len());
        html.note(columns, &note);
    }
    html.raw("</tbody>");
    Ok(Some(html.end()))
}

/// All that a frontend may choose from for a list, as `_repr_mimebundle_` gives it.
#[pyfunction]
pub(crate) fn mimebundle<'py>(items: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyDict>> {
    let _inside = exit::enter(items.py());
    let bundle = PyDict::new(items.py());
    bundle.set_item("text/plain", plain(items)?)?;
    if let Some(html) = table(items)? {
        bundle.set_item("text/html", html)?;
    }
    Ok(bundle)
}

/// One object, a field a row; `None` for a class without a view.
pub(crate) fn card(item: &Bound<'_, PyAny>, fields: &[&str]) -> PyResult<Option<String>> {
    let Some(view) = view(item) else { return Ok(None) };
    let mut html = Html::begin(view.class);
    html.raw("<tbody>");
    for field in fields.iter().map(|field| field.trim_start_matches("r#")) {
        html.raw("<tr><th scope=\"row\" style=\"text-align:left\">").text(field).raw("</th>");
        let value = item.getattr(field)?;
        html.raw(cell(field, &value, None)?.as_deref().unwrap_or("<td style=\"text-align:left\">None</td>"));
        html.raw("</tr>");
    }
    html.raw("</tbody>");
    Ok(Some(html.end()))
}

impl Column {
    fn cell(&self, item: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        /// Fields whose 0 or `{}` says nothing.
        const BLANK: [&str; 2] = ["replay_count", "detail"];
        let link = self.link.map(|field| item.getattr(field)).transpose()?;
        for field in self.fields {
            let value = item.getattr(*field)?;
            if BLANK.contains(field) && !value.is_truthy()? {
                continue;
            }
            if let Some(cell) = cell(field, &value, link.as_ref())? {
                return Ok(Some(cell));
            }
        }
        Ok(None)
    }
}

/// `<td>…</td>`; `None` where there is nothing to show.
fn cell(field: &str, value: &Bound<'_, PyAny>, link: Option<&Bound<'_, PyAny>>) -> PyResult<Option<String>> {
    const NEVER: [&str; 4] = ["exp", "refresh_ttl", "suspend_after_inactive_min", "delete_after_inactive_min"];
    let mut html = Html(String::new());
    if value.is_none() {
        let never = if field == "refresh_ttl" { "for ever" } else { "never" };
        return Ok(NEVER
            .contains(&field)
            .then(|| html.raw("<td style=\"text-align:left\">").raw(never).raw("</td>").take()));
    }
    if let Some((local, utc)) = local_time(field, value)? {
        html.raw("<td style=\"text-align:left;white-space:nowrap\"><time title=\"").text(&utc).raw("\">");
        html.text(&local).raw("</time></td>");
        return Ok(Some(html.take()));
    }
    let text = value.str()?;
    let text = text.to_string_lossy();
    let align = if value.is_instance_of::<PyInt>() { "right" } else { "left" };
    let wrap = if text.chars().nth(NAME).is_some() { "" } else { ";white-space:nowrap" };
    html.raw("<td style=\"text-align:").raw(align).raw(wrap).raw("\">");
    if let Some(colour) = colour(field, &text) {
        html.raw("<span aria-hidden=\"true\" style=\"color:").raw(colour).raw("\">●</span> ");
    }
    let shown = cut(&text, CELL);
    let address = match link {
        Some(link) => link.str()?.to_string_lossy().into_owned(),
        None if field.ends_with("_url") => text.into_owned(),
        None => String::new(),
    };
    if is_web_address(&address) {
        // Padded, so that a finger can hit it.
        html.raw(
            "<a style=\"display:inline-block;padding:4px 0\" target=\"_blank\" rel=\"noopener noreferrer\" href=\"",
        );
        html.text(&address).raw("\">");
        html.text(&shown).raw("</a>");
    } else {
        html.text(&shown);
    }
    Ok(Some(html.raw("</td>").take()))
}

/// A time by the clock of the machine that the notebook's kernel runs on, and in UTC; `None`: it is no time.
fn local_time(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<(String, String)>> {
    let class = datetime_class(value.py())?;
    let time = if value.is_instance(class)? {
        value.clone()
    } else if field == "created_at" {
        // A job's, which the reference has as text.
        let Ok(time) = class.call_method1("fromisoformat", (value,)) else { return Ok(None) };
        time
    } else {
        return Ok(None);
    };
    // What neither the calendar nor the machine's table of zones knows is shown as it is.
    let local = time.call_method0("astimezone").and_then(|local| local.call_method1("isoformat", (" ", "seconds")));
    Ok(local.ok().and_then(|local| Some((local.extract::<String>().ok()?, time.str().ok()?.extract::<String>().ok()?))))
}

fn colour(field: &str, word: &str) -> Option<&'static str> {
    if !["state", "status", "outcome", "type", "pod_status"].contains(&field) {
        return None;
    }
    Some(match word {
        "RUNNING" | "COMPLETED" | "Running" | "Succeeded" | "REDEEMED" | "done" => GOOD,
        "SUBMITTED"
        | "PENDING_RERUN"
        | "Pending"
        | "WAITING"
        | "CREATING"
        | "CREATING_REGISTRY"
        | "INSTALL_SPARK_OPERATOR"
        | "PROVISIONING"
        | "RECONCILING"
        | "STARTING"
        | "FREEZING"
        | "DELETING" => BUSY,
        "FAILED" | "FAILING" | "SUBMISSION_FAILED" | "Failed" | "CREATE_FAILED" | "ERROR" | "WARNING" | "refused"
        | "replay" => BAD,
        "SHUTOFF" | "EXPIRED" | "WITHDRAWN" => OVER,
        _ => return None,
    })
}

/// Whether a click may lead there. `javascript:` and the like may not.
fn is_web_address(address: &str) -> bool {
    let scheme = |scheme: &str| address.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    (scheme("https://") || scheme("http://"))
        && address.len() <= ADDRESS
        && !address.chars().any(|c| c.is_whitespace() || is_hidden(c))
}

/// Characters that nobody sees, and that make others look like something else.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// HTML under construction.
struct Html(String);

impl Html {
    fn begin(caption: &str) -> Self {
        // JupyterLab would set what stands between two dollar signs as mathematics.
        let mut html = Self("<table class=\"tex2jax_ignore mathjax_ignore\">".to_owned());
        if !caption.is_empty() {
            html.raw("<caption style=\"text-align:left\">").text(caption).raw("</caption>");
        }
        html
    }

    /// Ours, as it is.
    fn raw(&mut self, html: &str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    /// Somebody's text: escaped for elements and for attributes in double quotes. It may be a token that was pasted in
    /// the wrong place, which must not be kept in a notebook.
    fn text(&mut self, text: &str) -> &mut Self {
        for c in token::mask(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                hidden if is_hidden(hidden) => {
                    let _: std::fmt::Result = write!(self.0, "{}", hidden.escape_unicode());
                }
                c => self.0.push(c),
            }
        }
        self
    }

    /// A row with one cell.
    fn note(&mut self, columns: usize, text: &str) {
        let columns = columns.to_string();
        self.raw("<tr><td style=\"text-align:left\" colspan=\"").raw(&columns).raw("\">").text(text).raw("</td></tr>");
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.0)
    }

    fn end(mut self) -> String {
        self.raw("</table>").take()
    }
}
