//! Profiles: settings by name, kept in the user's configuration folder, each with the access token that belongs to them.
//!
//! | file | what |
//! | --- | --- |
//! | `config.toml` | `[profiles.NAME]` with the settings that are no secrets |
//! | `tokens/NAME` | the access token: 0600, in a folder that is 0700 |
//! | `lock` | held while the two are written |
//!
//! The folder is `mlplatform` in `$XDG_CONFIG_HOME`, else in `~/.config`. Nothing is written there but by [`Profiles::save`]
//! and [`Profiles::forget_token`], and a folder that cannot be written can be read all the same.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use mlplatform_protocol::Secret;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value, table, value};

use crate::{
    error::Error,
    settings::{IN_PROFILES, REFRESH_TOKEN, Setting, URL},
};

/// What is read of a file: a token has 43 bytes, and a configuration some hundred.
const LARGEST: u64 = 1 << 20;
const LONGEST_NAME: usize = 64;

/// The folder of the profiles.
#[derive(Clone, Debug)]
pub struct Profiles {
    folder: PathBuf,
}

/// What is kept under a name.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// By the names of [`IN_PROFILES`].
    pub settings: BTreeMap<&'static str, String>,
    /// The access token that belongs to them, when it is saved; [`Profiles::token`] reads it.
    pub token: Option<Secret>,
}

impl Profiles {
    /// Where the environment says that a user's configuration is; `None`: it names no home.
    pub fn of(environment: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let folder = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The XDG specification: one that is not absolute is ignored.
        let config = folder("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
        let home = folder("HOME").or_else(|| folder("USERPROFILE"));
        let config = config.or_else(|| home.map(|home| home.join(".config")))?;
        Some(Self { folder: config.join("mlplatform") })
    }

    /// The file with the settings.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// The file with a profile's token.
    #[must_use]
    pub fn token_file(&self, name: &str) -> PathBuf {
        self.folder.join("tokens").join(name)
    }

    /// The names of the profiles that have settings or a token.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what it should be.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = self.document()?.iter().flat_map(profiles).map(|(name, _)| name).collect();
        for entry in fs::read_dir(self.folder.join("tokens")).into_iter().flatten().flatten() {
            names.extend(entry.file_name().into_string().ok().filter(|name| check_name(name).is_ok()));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// A profile; `None`: there is none of that name.
    ///
    /// # Errors
    /// When its name cannot be one, or the file cannot be read, holds what it should not, or could be written by others.
    pub fn read(&self, name: &str) -> Result<Option<Profile>, Error> {
        check_name(name)?;
        let document = self.document()?;
        let settings = match document.as_ref().and_then(|document| profiles(document).find(|(key, _)| key == name)) {
            None => None,
            Some((_, item)) => Some(self.settings(name, item)?),
        };
        if settings.is_none() && !self.token_file(name).exists() {
            return Ok(None);
        }
        Ok(Some(Profile { name: name.to_owned(), settings: settings.unwrap_or_default(), token: None }))
    }

    /// Writes a profile's token, and those of its settings that are given. Either all of it is there afterwards, or the old
    /// token still is.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, profile: &Profile) -> Result<(), Error> {
        check_name(&profile.name)?;
        let failed = |error| self.failed("written", &self.folder, &error);
        let _lock = self.lock().map_err(failed)?;
        let mut document = self.document()?.unwrap_or_default();
        let own = document.entry("profiles").or_insert_with(implicit);
        let own = own.as_table_like_mut().ok_or_else(|| self.wrong("'profiles' is no table"))?;
        let own = own.entry(&profile.name).or_insert_with(table);
        let own = own.as_table_like_mut().ok_or_else(|| self.wrong("a profile is no table"))?;
        let url = |settings: &dyn TableLike| settings.get(URL.name).and_then(Item::as_str).map(str::to_owned);
        if profile.settings.get(URL.name).is_some_and(|new| url(own).is_some_and(|old| old != *new)) {
            // What was meant for another platform is not meant for this one.
            own.clear();
        }
        for (key, text) in &profile.settings {
            own.insert(key, value(text.as_str()));
        }
        replace(&self.config_file(), document.to_string().as_bytes()).map_err(failed)?;
        if let Some(token) = &profile.token {
            let file = self.token_file(&profile.name);
            private_folder(file.parent().unwrap_or(&self.folder)).map_err(failed)?;
            replace(&file, format!("{}\n", token.expose()).as_bytes()).map_err(failed)?;
        }
        Ok(())
    }

    /// That a profile could be saved: asked before a token is made that would be lost otherwise.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn check_writable(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        self.document()?;
        let file = self.token_file(name).with_extension("check");
        let written = private_folder(file.parent().unwrap_or(&self.folder))
            .and_then(|()| replace(&file, &[b'x'; 64]))
            .and_then(|()| fs::remove_file(&file));
        written.map_err(|error| self.failed("written", &self.folder, &error))
    }

    /// Removes a profile's token; gives whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget_token(&self, name: &str) -> Result<bool, Error> {
        check_name(name)?;
        let file = self.token_file(name);
        match fs::remove_file(&file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("removed", &file, &error)),
        }
    }

    fn lock(&self) -> io::Result<File> {
        private_folder(&self.folder)?;
        let file =
            private(OpenOptions::new().write(true).create(true).truncate(false)).open(self.folder.join("lock"))?;
        file.lock()?;
        Ok(file)
    }

    fn document(&self) -> Result<Option<DocumentMut>, Error> {
        let path = self.config_file();
        let text = match read(&path, 0o002) {
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(self.failed("read", &path, &error)),
            Ok(text) => text,
        };
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| self.wrong(error))?;
        for (key, item) in document.iter() {
            if key != "profiles" || !item.is_table_like() {
                return Err(self.wrong(format_args!("'{key}' is not known: settings belong into [profiles.NAME]")));
            }
        }
        Ok(Some(document))
    }

    fn settings(&self, name: &str, item: &Item) -> Result<BTreeMap<&'static str, String>, Error> {
        let given = item.as_table_like().ok_or_else(|| self.wrong(format_args!("profiles.{name} is no table")))?;
        given.iter().map(|(key, item)| self.setting(name, key, item)).collect()
    }

    fn setting(&self, profile: &str, key: &str, item: &Item) -> Result<(&'static str, String), Error> {
        if key == REFRESH_TOKEN.name {
            let file = self.token_file(profile);
            return Err(self.wrong(format_args!(
                "profiles.{profile}.{key}: a token does not belong here: it is kept in '{}', where `mlp auth login` puts it",
                file.display()
            )));
        }
        let known = IN_PROFILES.iter().find(|setting| setting.name == key);
        let Some(Setting { name, .. }) = known else {
            let all: Vec<&str> = IN_PROFILES.iter().map(|setting| setting.name).collect();
            return Err(
                self.wrong(format_args!("profiles.{profile}.{key} is not known: a profile has {}", all.join(", ")))
            );
        };
        let text = match item.as_value() {
            Some(Value::String(text)) => text.value().clone(),
            Some(Value::Integer(number)) => number.value().to_string(),
            Some(Value::Float(number)) => number.value().to_string(),
            Some(Value::Boolean(yes)) => u8::from(*yes.value()).to_string(),
            _ => return Err(self.wrong(format_args!("profiles.{profile}.{key} is neither a text nor a number"))),
        };
        Ok((name, text))
    }

    /// The access token of a profile.
    ///
    /// # Errors
    /// When its file cannot be read, or could be read by others.
    pub fn token(&self, name: &str) -> Result<Option<Secret>, Error> {
        let file = self.token_file(name);
        match read(&file, 0o077) {
            Ok(text) => Ok(Some(Secret::from_pasted(&text)).filter(|token| !token.expose().is_empty())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.failed("read", &file, &error)),
        }
    }

    fn failed(&self, what: &str, path: &Path, error: &io::Error) -> Error {
        Error::configuration(format!("the profiles cannot be {what}: '{}': {error}", path.display()))
    }

    fn wrong(&self, problem: impl std::fmt::Display) -> Error {
        Error::configuration(format!("'{}': {problem}", self.config_file().display()))
    }
}

fn profiles(document: &DocumentMut) -> impl Iterator<Item = (String, &Item)> {
    let all = document.get("profiles").and_then(Item::as_table_like).into_iter().flat_map(TableLike::iter);
    all.map(|(name, item)| (name.to_owned(), item))
}

/// A table of tables only: `[profiles.NAME]` needs no `[profiles]` above it.
fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

/// Names are names of files, too.
fn check_name(name: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(plain) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "'{}' is no name of a profile: at most {LONGEST_NAME} letters, digits, '-', '_' and '.', beginning with a letter or digit",
        name.escape_debug()
    )))
}

/// There is no such file, or no folder that it could be in.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The text of a file for which nobody else has one of those rights.
fn read(path: &Path, forbidden: u32) -> io::Result<String> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = meta.permissions().mode() & 0o777;
        if mode & forbidden != 0 {
            let problem = if forbidden & 0o004 == 0 { "written" } else { "read" };
            let text = format!("others than its owner could have {problem} it (mode {mode:03o}): chmod 600 it");
            return Err(io::Error::other(text));
        }
    }
    #[cfg(not(unix))]
    let _ = forbidden;
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Whole or not at all, for the owner alone, and there to stay.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let _ = fs::remove_file(&beside);
    let written = private(OpenOptions::new().write(true).create_new(true))
        .open(&beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.inspect_err(|_| drop(fs::remove_file(&beside)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(folder: &Path) -> Profiles {
        let home = folder.to_owned();
        Profiles::of(move |name| (name == "HOME").then(|| home.clone().into_os_string())).unwrap()
    }

    fn profile(name: &str, url: &str, token: &str) -> Profile {
        let settings = BTreeMap::from([("url", url.to_owned())]);
        Profile { name: name.to_owned(), settings, token: Some(Secret::from_pasted(token)) }
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        replace(path, text.as_bytes()).unwrap();
    }

    #[test]
    fn what_is_saved_is_read_and_what_stands_beside_it_stays() {
        let home = tempfile::tempdir().unwrap();
        let profiles = profiles(home.path());
        assert!(profiles.read("default").unwrap().is_none());
        assert!(profiles.names().unwrap().is_empty());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "reading writes nothing");
        write(&profiles.config_file(), "# mine\n[profiles.a]\ntimeout = 5 # seconds\nallow_http = true\n");
        profiles.save(&profile("a", "https://a.example", "one")).unwrap();
        profiles.save(&profile("b-2", "https://b.example", "two")).unwrap();
        let text = fs::read_to_string(profiles.config_file()).unwrap();
        assert!(text.starts_with("# mine\n[profiles.a]\ntimeout = 5 # seconds\n") && !text.contains("one"), "{text}");
        let a = profiles.read("a").unwrap().unwrap();
        let shown: Vec<_> = a.settings.iter().map(|(key, text)| format!("{key}={text}")).collect();
        assert_eq!(shown, ["allow_http=1", "timeout=5", "url=https://a.example"]);
        assert_eq!(profiles.token("a").unwrap().unwrap().expose(), "one");
        assert_eq!(profiles.names().unwrap(), ["a", "b-2"]);
        assert!(profiles.forget_token("a").unwrap() && !profiles.forget_token("a").unwrap());
        assert!(profiles.read("a").unwrap().is_some() && profiles.token("a").unwrap().is_none());
        profiles.check_writable("c").unwrap();
        assert_eq!(profiles.names().unwrap(), ["a", "b-2"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_token_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let profiles = profiles(home.path());
        profiles.save(&profile("a", "https://a.example", "one")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = profiles.token_file("a");
        assert_eq!((mode(&file), mode(file.parent().unwrap()), mode(&profiles.config_file())), (0o600, 0o700, 0o600));
        for (path, open, text) in [
            (file, 0o640, "others than its owner could have read it (mode 640): chmod 600 it"),
            (profiles.config_file(), 0o666, "others than its owner could have written it (mode 666)"),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            let problem = profiles.read("a").and_then(|_| profiles.token("a")).unwrap_err().to_string();
            assert!(problem.contains(text) && problem.contains(path.to_str().unwrap()), "{problem}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let home = tempfile::tempdir().unwrap();
        let profiles = profiles(home.path());
        for (text, told) in [
            ("[profiles.a", "config.toml': TOML parse error at line 1"),
            ("url = 'x'", "'url' is not known: settings belong into [profiles.NAME]"),
            ("[profiles.a]\nulr = 'x'", "profiles.a.ulr is not known: a profile has url, ca_bundle"),
            ("[profiles.a]\nrefresh_token = 'secret'", "a token does not belong here"),
            ("[profiles.a]\nurl = ['x']", "profiles.a.url is neither a text nor a number"),
            ("profiles.a = 1", "profiles.a is no table"),
        ] {
            write(&profiles.config_file(), text);
            let problem = profiles.read("a").unwrap_err().to_string();
            assert!(problem.contains(told) && !problem.contains("secret"), "{text}: {problem}");
        }
        for name in ["", ".", "..", "a/b", "-a", "é", &"a".repeat(65)] {
            assert!(profiles.read(name).unwrap_err().to_string().contains("is no name of a profile"), "{name}");
        }
    }

    #[test]
    fn where_the_folder_is() {
        let of = |all: &[(&str, &str)]| {
            let all: Vec<(String, OsString)> = all.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(*v))).collect();
            let found =
                Profiles::of(move |name| all.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()));
            found.map(|profiles| profiles.config_file().display().to_string())
        };
        assert_eq!(of(&[("HOME", "/h")]).unwrap(), "/h/.config/mlplatform/config.toml");
        assert_eq!(of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]).unwrap(), "/x/mlplatform/config.toml");
        assert_eq!(of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "x")]).unwrap(), "/h/.config/mlplatform/config.toml");
        assert_eq!(of(&[("HOME", "")]), None);
    }
}
