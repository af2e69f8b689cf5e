//! Merging: the table of the defaults, overlaid by the file's values, the environment's and the flags', each with its
//! origin, and deserialized at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};

use super::catalog;
use super::setting::Setting;
use super::settings::{Config, SETTINGS};

/// Settings from the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) file: Option<PathBuf>,
    /// Pairs of a setting's key and the flag's text.
    pub(crate) flags: Vec<(&'static str, String)>,
}

/// Read if it exists and no other file is named.
const DEFAULT_FILE: &str = "spindle.toml";

/// The values merged so far, and the origin of each.
struct Layers {
    values: toml::Table,
    origins: HashMap<&'static str, String>,
}

/// Loads all layers. Each is checked before the next one covers it, so that no mistake stays hidden.
pub(super) fn load(overrides: &Overrides) -> Result<Config> {
    let mut layers = Layers { values: toml::Table::new(), origins: HashMap::new() };
    for setting in SETTINGS {
        let (section, _) = setting.path();
        if !section.is_empty() {
            // It must exist even if nothing in it has a value.
            layers.values.entry(section).or_insert_with(|| toml::Table::new().into());
        }
        if let Some(value) = setting.default_value() {
            insert(&mut layers.values, setting.path(), value);
        }
    }
    layers.read_file(overrides.file.as_deref())?;
    layers.config()?;
    layers.read_environment()?;
    layers.config()?;
    for (key, text) in &overrides.flags {
        let setting = catalog::find(key).with_context(|| format!("no setting '{key}'"))?;
        layers.put(setting, setting.typed(text), &format!("flag --{}", setting.flag));
    }
    let config = layers.config()?;
    Ok(Config { values: layers.values, ..config })
}

impl Layers {
    fn put(&mut self, setting: &Setting, value: toml::Value, origin: &str) {
        insert(&mut self.values, setting.path(), value);
        self.origins.insert(setting.key, origin.to_owned());
    }

    fn read_file(&mut self, named: Option<&Path>) -> Result<()> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(()),
            Err(error) => bail!("cannot read the configuration file {}: {error}", path.display()),
        };
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            anyhow!("{} line {line}: {}", path.display(), error.message().replace('\n', " "))
        })?;
        let origin = path.display().to_string();
        for (key, value) in flatten(table) {
            let setting = catalog::find(&key)
                .with_context(|| format!("unknown key '{key}' in {origin}; {}", catalog::key_advice(&key)))?;
            self.put(setting, value, &origin);
        }
        Ok(())
    }

    fn read_environment(&mut self) -> Result<()> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in names.filter(|name| name.starts_with("SPINDLE_")) {
            if let Some(advice) = catalog::variable_advice(&name) {
                bail!("unknown environment variable {name}; {advice}");
            }
        }
        for (setting, name) in SETTINGS.iter().flat_map(|setting| setting.env.iter().map(move |name| (setting, name))) {
            match std::env::var(name) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => self.put(setting, setting.typed(&text), &format!("environment variable {name}")),
                Err(std::env::VarError::NotPresent) => {}
                Err(std::env::VarError::NotUnicode(_)) => bail!("environment variable {name} is not valid UTF-8"),
            }
        }
        Ok(())
    }

    fn config(&self) -> Result<Config> {
        serde_path_to_error::deserialize(toml::Value::Table(self.values.clone()))
            .map_err(|error| self.explained(&error))
    }

    /// Adds key, value and origin to what was expected.
    fn explained(&self, error: &serde_path_to_error::Error<toml::de::Error>) -> Error {
        let (path, message) = (error.path().to_string(), error.inner().message());
        let expected = match message.rsplit_once(", expected ").map_or(message, |(_, expected)| expected) {
            "a string" | "path string" => "a text in quotes",
            "a boolean" => "true or false",
            expected => expected,
        };
        let Some(setting) = path.split('[').next().and_then(catalog::find) else { return anyhow!("{path}: {message}") };
        let value = match value_of(&self.values, setting).map(|value| setting.redacted(value)) {
            Some(toml::Value::String(text)) => format!("'{text}'"),
            value => value.map_or_else(String::new, |value| value.to_string()),
        };
        let origin = self.origins.get(setting.key).map_or("default", String::as_str);
        anyhow!("{} = {} ({origin}): expected {expected}", setting.key, value.replace('\n', " "))
    }
}

/// Sets the value at a section and name.
pub(super) fn insert(values: &mut toml::Table, (section, name): (&str, &str), value: toml::Value) {
    if section.is_empty() {
        values.insert(name.to_owned(), value);
    } else if let toml::Value::Table(table) = values.entry(section).or_insert_with(|| toml::Table::new().into()) {
        table.insert(name.to_owned(), value);
    }
}

pub(super) fn value_of<'a>(values: &'a toml::Table, setting: &Setting) -> Option<&'a toml::Value> {
    match setting.path() {
        ("", name) => values.get(name),
        (section, name) => values.get(section)?.get(name),
    }
}

/// Returns every leaf of a table with its dotted key.
fn flatten(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut leaves = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                leaves.extend(flatten(inner).into_iter().map(|(rest, leaf)| (format!("{key}.{rest}"), leaf)));
            }
            leaf => leaves.push((key, leaf)),
        }
    }
    leaves
}
