//! Removes credentials from addresses before they reach a log, an error or a terminal.

/// Returns one or several comma-separated addresses without user and password, also if they are malformed.
///
/// When in doubt it removes more: a comma may be part of a password (`http://user:pass,word@host`), so an `@` in a
/// part without a scheme hides the parts before it too, back to the last scheme or `@`.
pub fn without_userinfo(addresses: &str) -> String {
    let mut redacted: Vec<(&str, &str)> = Vec::new();
    // Index of the first part that may still turn out to be user information.
    let mut first_open = 0;
    for part in addresses.split(',').map(str::trim) {
        let (mut scheme, mut rest) = part.split_at(part.find("://").map_or(0, |at| at + 3));
        if let Some(at) = part.rfind('@') {
            let host = &part[at + 1..];
            // An `@` before the `://` makes what looks like a scheme a part of the password.
            if host.len() > rest.len() || scheme.is_empty() {
                scheme = redacted.get(first_open).map_or("", |(scheme, _)| *scheme);
                redacted.truncate(first_open);
            }
            rest = host;
            first_open = redacted.len() + 1;
        } else if !scheme.is_empty() {
            first_open = redacted.len();
        }
        redacted.push((scheme, rest));
    }
    redacted.iter().map(|(scheme, rest)| format!("{scheme}{rest}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_removed_and_the_rest_stays() {
        for (address, redacted) in [
            ("nats://a:b@h:1, c:d@h:2,nats://h:3", "nats://h:1,h:2,nats://h:3"),
            ("nats://h:1,h:2", "nats://h:1,h:2"),
            ("user:secret@host:port", "host:port"),
            ("nats://user:secret@host:port", "nats://host:port"),
            ("http://token@[::1]:8086/path?x=1", "http://[::1]:8086/path?x=1"),
            ("h", "h"),
            ("", ""),
        ] {
            assert_eq!(without_userinfo(address), redacted, "{address}");
        }
    }

    #[test]
    fn malformed_addresses_do_not_leak_either() {
        for (address, redacted) in [
            ("http://a:se@cret@h", "http://h"),
            ("http://a:secret://@h", "http://h"),
            ("a:secret@nats://h", "nats://h"),
            ("http://a:secret,secret@h:1", "http://h:1"),
            ("http://a:secret,secret,secret@x://h:1,h:2", "http://x://h:1,h:2"),
            ("nats://h:1,nats://a:secret,secret@h:2", "nats://h:1,nats://h:2"),
            ("a:b@h:1,c:secret,secret@h:2", "h:1,h:2"),
        ] {
            assert_eq!(without_userinfo(address), redacted, "{address}");
        }
    }
}
