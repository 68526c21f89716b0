//! Login: stores an access token, or a registration token after redeeming it, in a profile.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use mlplatform_protocol::{
    Secret, TokenInfo, TokenKind,
    token::{self, Shape},
};

use crate::{
    client::Client,
    config::Config,
    credential::Credential,
    error::Error,
    profile::{Profile, Profiles},
    settings::{CA_BUNDLE, CLIENT_CERT, CLIENT_KEY, PROFILE, REFRESH_TOKEN, URL},
    sources::Given,
};

/// A login without the token yet: the platform to check it with, and the profile to store it in.
#[derive(Debug)]
pub struct Login {
    config: Config,
    profile: String,
    settings: BTreeMap<&'static str, String>,
    /// `None`: nothing is written.
    profiles: Option<Profiles>,
}

/// A successful login.
#[derive(Debug)]
pub struct LoggedIn {
    /// The access token.
    pub token: Secret,
    /// The platform's information about it; an error if that failed although a token was redeemed.
    pub info: Result<TokenInfo, Error>,
    /// Whether a registration token was redeemed for it.
    pub redeemed: bool,
    /// The file that it was written to; an error if a redeemed token could not be written: then it exists only here.
    pub saved: Option<Result<PathBuf, Error>>,
}

impl Login {
    /// Reads the settings. The profile need not exist, and gets the given address; a configured token is ignored.
    ///
    /// # Errors
    /// When a setting is invalid, or the profile cannot be saved: checked before a registration token is redeemed.
    pub fn prepare(given: Given, environment: impl Fn(&str) -> Option<OsString>, save: bool) -> Result<Self, Error> {
        let profiles = if save {
            let problem = "there is no folder for profiles: neither XDG_CONFIG_HOME nor HOME is set; set one of them, or do not save the token";
            Some(Profiles::of(&environment).ok_or_else(|| Error::configuration(problem.to_owned()))?)
        } else {
            None
        };
        let path = |path: &Option<String>| path.as_ref().map(|path| absolute(path));
        let mut settings: BTreeMap<&'static str, String> = [
            (&CA_BUNDLE, path(&given.ca_bundle)),
            (&CLIENT_CERT, path(&given.client_cert)),
            (&CLIENT_KEY, path(&given.client_key)),
        ]
        .into_iter()
        .filter_map(|(setting, value)| Some((setting.name, value?)))
        .collect();
        let (mut config, profile) = Config::resolve_for_login(given, environment)?;
        config.credential = None;
        settings.insert(URL.name, config.url.as_str().to_owned());
        if let Some(profiles) = &profiles {
            profiles.check_writable(&profile)?;
        }
        Ok(Self { config, profile, settings, profiles })
    }

    /// The platform's address.
    #[must_use]
    pub fn url(&self) -> &str {
        self.config.url.as_str()
    }

    /// The name of the profile.
    #[must_use]
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// Redeems a registration token, checks the access token with the platform, and stores it.
    ///
    /// # Errors
    /// When the token is invalid. Errors after a registration token was redeemed are part of the result, so that the new token
    /// is not lost.
    pub async fn finish(&self, pasted: Secret) -> Result<LoggedIn, Error> {
        if pasted.expose().is_empty() {
            return Err(Error::argument("token", "it is empty: paste an access token or a registration token"));
        }
        let redeem = token::shape(pasted.expose()) == Shape::Whole(TokenKind::Registration);
        if redeem {
            let token = Client::new(&self.config)?.create_refresh_token(pasted, None).await?;
            let saved = self.save(&token);
            let info = self.who_am_i(&token).await;
            return Ok(LoggedIn { token, info, redeemed: true, saved });
        }
        let info = Ok(self.who_am_i(&pasted).await?);
        let saved = self.save(&pasted).transpose()?.map(Ok);
        Ok(LoggedIn { token: pasted, info, redeemed: false, saved })
    }

    async fn who_am_i(&self, token: &Secret) -> Result<TokenInfo, Error> {
        Client::new(&Config { credential: Some(Credential::AccessToken(token.clone())), ..self.config.clone() })?
            .who_am_i(None)
            .await
    }

    fn save(&self, token: &Secret) -> Option<Result<PathBuf, Error>> {
        let profiles = self.profiles.as_ref()?;
        let (name, settings) = (self.profile.clone(), self.settings.clone());
        let saved = profiles.save(&Profile { name, settings, token: Some(token.clone()) });
        Some(saved.map(|()| profiles.token_file(&self.profile)))
    }
}

/// The variable that would override the saved profile, if one is set.
#[must_use]
pub fn overridden(environment: impl Fn(&str) -> Option<OsString>, profile: &str) -> Option<String> {
    let set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
    let token = REFRESH_TOKEN.variable;
    if set(token) {
        return Some(format!("{token} is set and overrides the profile: unset it"));
    }
    let used = Config::profile(&Given::default(), &environment).unwrap_or_default();
    (used != *profile).then(|| format!("to use this profile, set {}={profile}", PROFILE.variable))
}

/// An absolute path: later uses may be in another folder.
fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}
