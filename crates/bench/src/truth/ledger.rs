//! Claims: what Spindle says beside what is.

use std::fmt::Debug;

/// Claims of one case.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    claims: Vec<Claim>,
}

#[derive(Debug)]
struct Claim {
    about: String,
    said: String,
    truth: String,
    holds: bool,
}

impl Ledger {
    /// Notes a number or word that must equal the truth.
    pub(super) fn equal<T: PartialEq + Debug>(&mut self, about: impl Into<String>, said: T, truth: T) {
        let holds = said == truth;
        self.claims.push(Claim { about: about.into(), said: format!("{said:?}"), truth: format!("{truth:?}"), holds });
    }

    /// Notes a text that must be true by a rule; `truth` names the rule.
    pub(super) fn holds(&mut self, about: impl Into<String>, said: impl Debug, truth: &str, holds: bool) {
        self.claims.push(Claim { about: about.into(), said: format!("{said:?}"), truth: truth.to_owned(), holds });
    }

    /// Returns the number of claims, and of those that do not hold.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.claims.len(), self.claims.iter().filter(|claim| !claim.holds).count())
    }

    /// Describes the claims that do not hold, or all.
    pub(super) fn lines(&self, all: bool) -> Vec<String> {
        let shown = self.claims.iter().filter(|claim| all || !claim.holds);
        shown
            .map(|Claim { about, said, truth, holds }| {
                let verdict = if *holds { "true " } else { "FALSE" };
                format!("    {verdict}  {about}: said {said}, is {truth}")
            })
            .collect()
    }
}
