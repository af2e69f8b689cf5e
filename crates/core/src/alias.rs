//! Aliases of drives: `host:name`, the place by the kernel's name. It means whichever drive is there now, and was the
//! name of the device itself before drives were named by their identity.

use crate::wire::Labels;

/// Place of a drive: a host, and the kernel's name of the disk on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    host: String,
    name: String,
}

impl Alias {
    /// Labels that [`Alias::matches`] reads.
    pub const KEYS: [&str; 3] = ["host", "name", "paths"];

    /// Parses `host:name`. Returns `None` for any other text, `host:/mount point` included: a file system has no other
    /// name.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, name) = text.split_once(':')?;
        let is_alias = !host.is_empty() && !name.is_empty() && !name.starts_with('/');
        is_alias.then(|| Self { host: host.to_owned(), name: name.to_owned() })
    }

    /// Returns true if a device with these labels is there: on the host, under the name or with a path of that name.
    pub fn matches(&self, labels: &Labels) -> bool {
        let label = |key: &str| labels.get(key).map(String::as_str);
        let is_path = || label("paths").is_some_and(|paths| paths.split(',').any(|path| path == self.name));
        label("host") == Some(&self.host) && (label("name") == Some(&self.name) || is_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_host_and_a_kernel_name() {
        for text in ["sda", "ST8000_ZA101R30", "vm1:/data", ":sda", "vm1:", ""] {
            assert_eq!(Alias::parse(text), None, "{text}");
        }
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let alias = Alias::parse("vm1:sda").unwrap();
        assert!(alias.matches(&labels(&[("host", "vm1"), ("name", "sda"), ("model", "x")])));
        assert!(alias.matches(&labels(&[("host", "vm1"), ("name", "sdb"), ("paths", "sdb,sda")])));
        assert!(!alias.matches(&labels(&[("host", "vm1"), ("name", "sdb"), ("paths", "sdb,sdaa")])));
        assert!(!alias.matches(&labels(&[("host", "vm2"), ("name", "sda")])));
        assert!(!alias.matches(&labels(&[])));
    }
}
