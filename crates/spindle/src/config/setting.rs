//! A setting, and the macro that declares structs and table of all settings at once.

/// One setting.
pub(crate) struct Setting {
    /// `section.name` in the file.
    pub(crate) key: &'static str,
    /// Name of the flag; empty for none.
    pub(crate) flag: &'static str,
    /// Environment variables; a later one overrides an earlier one.
    pub(crate) env: &'static [&'static str],
    /// Default as TOML source; empty for none. Its type is the type that texts from flags and variables are read as.
    pub(crate) default: &'static str,
    pub(crate) shown: Shown,
    pub(crate) help: &'static str,
}

/// Degree to which a value may appear in output, logs and errors.
#[derive(Clone, Copy)]
pub(crate) enum Shown {
    Plain,
    /// An address: without user and password.
    Address,
    Secret,
}

/// Declares the structs of the configuration and [`SETTINGS`] in one place, so that a key, its environment variables,
/// its flag, its default and its help cannot drift apart:
///
/// ```text
/// /// Help of the setting.
/// name: Type as "reader" = default ["ENVIRONMENT_VARIABLE"] flag "name" shown Secret;
/// ```
///
/// A setting without a default is an `Option`, and a text that is empty is unset. Fields in `+ { … }` are not settings: sections, and what is computed.
macro_rules! settings {
    ($($(#[$attribute:meta])* $name:ident $section:literal {
        $($(#[doc = $help:literal])+ $field:ident: $type:ty $(as $reader:literal)?
            $(= $default:tt)? [$($env:literal),+] $(flag $flag:literal)? $(shown $shown:ident)?;)*
    } $(+ { $($(#[$part_attribute:meta])* $part:ident: $part_type:ty),+ })?)+) => {
        $(
            $(#[$attribute])*
            #[derive(Clone, serde::Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct $name {
                $($(#[doc = $help])+ $(#[serde(deserialize_with = $reader)])? pub(crate) $field: $type,)*
                $($($(#[$part_attribute])* pub(crate) $part: $part_type,)+)?
            }
        )+

        /// Every setting, section by section.
        pub(crate) const SETTINGS: &[$crate::config::setting::Setting] = &[$($($crate::config::setting::Setting {
            key: concat!($section, stringify!($field)),
            flag: [$($flag,)? ""][0],
            env: &[$($env),+],
            default: [$(stringify!($default),)? ""][0],
            shown: [$($crate::config::setting::Shown::$shown,)? $crate::config::setting::Shown::Plain][0],
            help: concat!($($help),+).trim_ascii(),
        },)*)+];
    };
}

impl Setting {
    /// Section and name; the section of a top-level setting is empty.
    pub(super) fn path(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    pub(super) fn default_value(&self) -> Option<toml::Value> {
        let document: toml::Table = toml::from_str(&format!("value = {}", self.default)).ok()?;
        document.get("value").cloned()
    }

    /// Reads the text of a flag or variable as the type of the default; a text that does not parse stays a text,
    /// which deserialization refuses.
    pub(super) fn typed(&self, text: &str) -> toml::Value {
        let typed = match self.default_value() {
            Some(toml::Value::Integer(_)) => text.parse().ok().map(toml::Value::Integer),
            Some(toml::Value::Boolean(_)) => text.parse().ok().map(toml::Value::Boolean),
            Some(toml::Value::Array(_)) => Some(text.split(',').collect::<Vec<_>>().into()),
            _ => None,
        };
        typed.unwrap_or_else(|| text.into())
    }

    /// A value without its secrets.
    pub(super) fn redacted(&self, value: &toml::Value) -> toml::Value {
        match (self.shown, value) {
            (_, toml::Value::String(text)) if text.is_empty() => value.clone(),
            (Shown::Secret, _) => "***".into(),
            (Shown::Address, toml::Value::String(text)) => spindle_core::redact::without_userinfo(text).into(),
            (Shown::Address | Shown::Plain, _) => value.clone(),
        }
    }
}
