//! The fields of the two forms that make tokens: name, role, lifetimes.

use maud::{Markup, html};
use mlplatform_platform::{app::App, error::Result, tokens::search};
use mlplatform_protocol::{Lifetime, Role, TokenName, lifetime::LifetimeError};
use serde::Deserialize;

use crate::{layout, texts::T};

/// What stands in the form, as it was typed.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sent {
    pub(crate) nonce: String,
    pub(crate) name: String,
    pub(crate) role: String,
    /// `unlimited`, or it ends after number and unit.
    pub(crate) lifetime: String,
    pub(crate) number: String,
    pub(crate) unit: String,
    /// Of a registration token: within what time it is redeemed.
    pub(crate) redeem_number: String,
    pub(crate) redeem_unit: String,
}

/// What is wrong with it, by field.
#[derive(Default)]
pub(crate) struct Problems {
    pub(crate) name: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) lifetime: Option<String>,
    pub(crate) redeem: Option<String>,
}

impl Problems {
    pub(crate) fn any(&self) -> bool {
        let all = [&self.name, &self.role, &self.lifetime, &self.redeem];
        all.into_iter().any(Option::is_some)
    }
}

impl Sent {
    /// An empty form.
    pub(crate) fn fresh() -> Result<Self> {
        let text = str::to_owned;
        Ok(Self {
            nonce: nonce()?,
            lifetime: text("unlimited"),
            number: text("30"),
            unit: text("d"),
            redeem_number: text("24"),
            redeem_unit: text("h"),
            ..Self::default()
        })
    }

    pub(crate) fn name(&self) -> Result<TokenName, String> {
        TokenName::new(self.name.trim()).map_err(|error| error.to_string())
    }

    pub(crate) fn role(&self) -> Result<Role, String> {
        Role::from_name(&self.role).ok_or_else(|| T.choose_role.to_owned())
    }

    /// Of the access token; `None`: unlimited.
    pub(crate) fn lifetime(&self) -> Result<Option<Lifetime>, String> {
        if self.lifetime == "unlimited" { Ok(None) } else { lifetime(&self.number, &self.unit).map(Some) }
    }

    pub(crate) fn redeem_within(&self) -> Result<Lifetime, String> {
        lifetime(&self.redeem_number, &self.redeem_unit)
    }
}

/// The units that a lifetime is chosen in, as the lifetime's grammar writes them.
fn units() -> [(&'static str, &'static str); 4] {
    [("m", T.minutes), ("h", T.hours), ("d", T.days), ("w", T.weeks)]
}

fn nonce() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `focus`: it is where to begin.
pub(crate) fn name_field(label: &str, hint: &str, value: &str, problem: Option<&str>, focus: bool) -> Markup {
    html! {
        div.field {
            label for="name" { (label) }
            p.hint #name-hint { (hint) }
            (field_problem("name", problem))
            input #name type="text" name="name" value=(value) required autocomplete="off" spellcheck="false"
                autofocus[focus] aria-invalid=[problem.map(|_| "true")]
                aria-describedby=(if problem.is_some() { "name-problem name-hint" } else { "name-hint" });
        }
    }
}

pub(crate) fn role_field(chosen: &str, problem: Option<&str>) -> Markup {
    let choices = [(Role::User, T.user, T.user_may), (Role::Administrator, T.administrator, T.administrator_may)];
    html! {
        fieldset.field aria-describedby=[problem.map(|_| "role-problem")] {
            legend { (T.role) }
            (field_problem("role", problem))
            div.choices {
                @for (role, name, may) in choices {
                    label.choice {
                        input type="radio" name="role" value=(role.name()) required checked[chosen == role.name()];
                        span { strong { (name) } span.hint { (may) } }
                    }
                }
            }
        }
    }
}

pub(crate) fn lifetime_field(legend: &str, sent: &Sent, problem: Option<&str>) -> Markup {
    either(legend, [T.unlimited, T.unlimited_hint, T.chosen], sent, problem)
}

/// Nothing in particular, or a length of time; the texts are the first choice, its hint, and the second.
pub(crate) fn either(legend: &str, [nothing, hint, chosen]: [&str; 3], sent: &Sent, problem: Option<&str>) -> Markup {
    html! {
        fieldset.field aria-describedby=[problem.map(|_| "lifetime-problem")] {
            legend { (legend) }
            (field_problem("lifetime", problem))
            div.choices {
                label.choice {
                    input type="radio" name="lifetime" value="unlimited" checked[sent.lifetime == "unlimited"];
                    span { strong { (nothing) } span.hint { (hint) } }
                }
                div.choice {
                    input #chosen type="radio" name="lifetime" value="chosen" checked[sent.lifetime != "unlimited"];
                    div {
                        label for="chosen" { strong { (chosen) } }
                        (duration("number", "unit", &sent.number, &sent.unit, Some("chosen")))
                    }
                }
            }
        }
    }
}

/// A number and its unit; `radio` is what choosing one of them chooses too.
pub(crate) fn duration(number_name: &str, unit_name: &str, number: &str, unit: &str, radio: Option<&str>) -> Markup {
    html! {
        div.duration {
            input type="text" inputmode="decimal" name=(number_name) value=(number) aria-label=(T.number)
                autocomplete="off" data-chooses=[radio];
            select name=(unit_name) aria-label=(T.unit) data-chooses=[radio] {
                @for (value, name) in units() { option value=(value) selected[value == unit] { (name) } }
            }
        }
    }
}

/// Why a name cannot be had: a token has it, or else what the platform says.
pub(crate) async fn conflict(app: &App, name: &str, said: String) -> Result<String> {
    Ok(if search::is_living_name(app, name).await? { layout::naming(T.name_taken, name) } else { said })
}

pub(crate) fn field_problem(field: &str, problem: Option<&str>) -> Markup {
    html! { @if let Some(text) = problem { p.problem id={ (field) "-problem" } { (text) } } }
}

fn lifetime(number: &str, unit: &str) -> Result<Lifetime, String> {
    // As people write it: a decimal comma is a point.
    let text = format!("{}{unit}", number.trim().replace(',', "."));
    text.parse().map_err(|error: LifetimeError| error.to_string())
}
