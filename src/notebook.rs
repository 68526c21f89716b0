//! Notebook display: short `repr`s and HTML tables.
//!
//! Most text in a table was chosen by other users. So all of it is escaped, and there is no script, no style sheet and nothing
//! that is loaded; links lead only to http and https. Colours are JupyterLab's variables, with fallbacks that are readable on
//! white and on black; every coloured state is also written as a word. The output is bounded, because a notebook stores it.

use std::fmt::Write;

use mlplatform_client::protocol::token;
use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyInt, PyList, PySlice, PyString},
};

use crate::{exit, times::datetime_class};

/// The most rows of a list: half from its beginning, half from its end.
const ROWS: usize = 100;
/// The most characters of a text in a cell, and in a `repr`.
const CELL: usize = 300;
const FIELD: usize = 80;
/// Texts up to this length (names, ids) are not wrapped.
const NAME: usize = 24;
/// The longest address of a link.
const ADDRESS: usize = 2048;

const GOOD: &str = "var(--jp-success-color1,#2e9e4f)";
const BUSY: &str = "var(--jp-info-color1,#0288d1)";
const BAD: &str = "var(--jp-error-color1,#e53935)";
const OVER: &str = "var(--jp-ui-font-color3,#888888)";

/// The display of a class.
struct View {
    class: &'static str,
    /// The noun in singular and plural.
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
    /// The field with the address to link to.
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
            column("Redeem before", &["exp"]),
            column("Lifetime", &["refresh_ttl"]),
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
        one: "audit entry",
        many: "audit entries",
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

/// The view of an object's class. The class itself counts, not its name.
fn view(item: &Bound<'_, PyAny>) -> Option<&'static View> {
    let class = item.get_type();
    let at = CLASSES.get(item.py())?.iter().position(|known| class.is(known))?;
    VIEWS.get(at)
}

/// `repr` of a value: its identifying fields, or all of them; long texts are shortened.
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
        // Shortened before it is quoted, because it may be a log. `str()`, because it may be an enumeration member.
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

/// The displayed rows of a list, and the number of rows left out between them.
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

/// A list as plain text: one item a line, with as many lines as the table has rows.
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

/// A list as a table; `None` if it is empty, or not all items are of one class with a view.
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
    // Empty columns are left out.
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
        let note = format!("{} of {count} are shown: slice the list or iterate over it to see the others", rows.len());
        html.note(columns, &note);
    }
    html.raw("</tbody>");
    Ok(Some(html.end()))
}

/// The representations of a list, for `_repr_mimebundle_`.
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

/// One object as a table, one field a row; `None` for a class without a view.
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
        /// Fields whose 0 or `{}` is shown as empty.
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

/// `<td>…</td>`; `None` if it is empty.
fn cell(field: &str, value: &Bound<'_, PyAny>, link: Option<&Bound<'_, PyAny>>) -> PyResult<Option<String>> {
    const NEVER: [&str; 4] = ["exp", "refresh_ttl", "suspend_after_inactive_min", "delete_after_inactive_min"];
    let mut html = Html(String::new());
    if value.is_none() {
        let never = if field == "refresh_ttl" { "unlimited" } else { "never" };
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
        // Padded, as a touch target.
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

/// A time in the kernel's time zone and in UTC; `None`: not a time.
fn local_time(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<(String, String)>> {
    let class = datetime_class(value.py())?;
    let time = if value.is_instance(class)? {
        value.clone()
    } else if field == "created_at" {
        // The creation time of a job, which is text in the reference.
        let Ok(time) = class.call_method1("fromisoformat", (value,)) else { return Ok(None) };
        time
    } else {
        return Ok(None);
    };
    // A time that cannot be converted is shown unchanged.
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

/// Whether the address may be a link: http and https only.
fn is_web_address(address: &str) -> bool {
    let scheme = |scheme: &str| address.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    (scheme("https://") || scheme("http://"))
        && address.len() <= ADDRESS
        && !address.chars().any(|c| c.is_whitespace() || is_hidden(c))
}

/// Invisible characters that change how others look.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// HTML under construction.
struct Html(String);

impl Html {
    fn begin(caption: &str) -> Self {
        // Otherwise JupyterLab renders text between dollar signs as mathematics.
        let mut html = Self("<table class=\"tex2jax_ignore mathjax_ignore\">".to_owned());
        if !caption.is_empty() {
            html.raw("<caption style=\"text-align:left\">").text(caption).raw("</caption>");
        }
        html
    }

    /// Appends HTML of this module, unescaped.
    fn raw(&mut self, html: &str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    /// Appends a text, escaped for elements and for double-quoted attributes. Tokens in it are masked, because a notebook
    /// stores its outputs.
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
