//! Parses the names in InfluxQL, and substitutes Grafana's variables.

use std::collections::BTreeSet;

use spindle_core::schema::{FieldType, Measurement, PIPELINE, measurement};

/// Query and its location, such as `fleet.json: Hot devices: A`.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Values for Grafana's variables. Times are nanoseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Variables {
    pub(crate) from_ns: i64,
    pub(crate) to_ns: i64,
    pub(crate) interval: &'static str,
    pub(crate) source_device: String,
    pub(crate) min_criticality: u8,
}

/// Returns the query as sent to InfluxDB. An unknown variable is an error.
pub(crate) fn fill_in(query: &str, variables: &Variables) -> Result<String, String> {
    let milliseconds = |ns: i64| ns / 1_000_000;
    let (from, to) = (milliseconds(variables.from_ns), milliseconds(variables.to_ns));
    let filled = query
        .replace("$timeFilter", &format!("time >= {from}ms and time <= {to}ms"))
        .replace("$__interval", variables.interval)
        .replace("${SourceDevice:regex}", &regex_quoted(&variables.source_device))
        .replace("${MinCriticality}", &variables.min_criticality.to_string());
    match filled.contains("${") || filled.contains("$_") || filled.contains("$t") {
        true => Err(format!("a variable is left in {filled}")),
        false => Ok(filled),
    }
}

/// Escapes a text like Grafana's format `regex`: every special character, and the solidus.
fn regex_quoted(text: &str) -> String {
    let special = |ch: char| r"\^$*+?.()|{}[]/".contains(ch);
    text.chars().map(|ch| if special(ch) { format!("\\{ch}") } else { ch.to_string() }).collect()
}

/// Token of a query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// Identifier in double quotes.
    Name(String),
    /// String in single quotes.
    Literal(String),
    Regex,
    /// A bare word or a number.
    Word(String),
    Sign(char),
}

pub(crate) fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut found: Vec<Token> = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_regex = first == '/' && matches!(found.last(), Some(Token::Sign('~')));
        let taken = match first {
            '"' | '\'' => quoted(rest, first)?,
            '/' if is_regex => quoted(rest, '/')?,
            _ if is_word(first) => rest.find(|ch| !is_word(ch)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let inner = || rest[1..taken - 1].to_owned();
        found.push(match first {
            '"' => Token::Name(inner()),
            '\'' => Token::Literal(inner()),
            '/' if is_regex => Token::Regex,
            _ if is_word(first) => Token::Word(rest[..taken].to_owned()),
            _ => Token::Sign(first),
        });
        rest = rest[taken..].trim_start();
    }
    Ok(found)
}

fn is_word(ch: char) -> bool {
    ch.is_alphanumeric() || "_$.{}:".contains(ch)
}

fn quoted(rest: &str, quote: char) -> Result<usize, String> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, ch)) = chars.next() {
        match ch {
            '\\' => _ = chars.next(),
            _ if ch == quote => return Ok(at + ch.len_utf8()),
            _ => {}
        }
    }
    Err(format!("{quote} is not closed"))
}

/// Subject of a query whose names are valid.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    /// Fields of the measurement `spindle_pipeline`.
    pub(crate) self_metrics: BTreeSet<&'static str>,
    /// Literals that `metric_type` is compared with.
    pub(crate) metric_types: BTreeSet<String>,
    /// Right-hand numbers of the comparisons `>=`, except those of times and criticality.
    pub(crate) bounds: Vec<f64>,
}

/// Checks every name of a query, and the types of function arguments.
pub(crate) fn examine(query: &str) -> Result<Subject, String> {
    let tokens = tokens(query)?;
    let from = measurement_of(&tokens)?;
    let mut own_names = BTreeSet::new();
    for pair in tokens.windows(2) {
        if let [Token::Word(word), Token::Name(name)] = pair
            && word.eq_ignore_ascii_case("as")
        {
            own_names.insert(name.as_str());
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        let Token::Name(name) = token else {
            unquoted(token)?;
            continue;
        };
        let field = from.fields.iter().find(|field| field.name == name);
        if !(name == from.name
            || from.tags.contains(&name.as_str())
            || field.is_some()
            || own_names.contains(name.as_str()))
        {
            return Err(format!("{} has no {name:?}", from.name));
        }
        if let (Some(field), Some(function)) = (field, function_before(&tokens, at)) {
            let takes_text = ["count", "first", "last", "distinct", "mode"].contains(&function);
            if field.field_type == FieldType::Text && !takes_text {
                return Err(format!("{function} of {name:?}, which is text"));
            }
        } else if from.tags.contains(&name.as_str()) && function_before(&tokens, at).is_some() {
            return Err(format!("{name:?} is a tag: functions take fields"));
        }
    }
    let mut subject = subject(&tokens);
    if from.name == PIPELINE.name {
        let named = |name: &str| tokens.iter().any(|token| matches!(token, Token::Name(one) if one == name));
        subject.self_metrics.extend(from.fields.iter().map(|field| field.name).filter(|name| named(name)));
    }
    Ok(subject)
}

/// Checks that a bare word is a keyword, a number or a variable: any other would be an unchecked name.
fn unquoted(token: &Token) -> Result<(), String> {
    const WORDS: [&str; 39] = [
        "select",
        "from",
        "where",
        "and",
        "or",
        "group",
        "by",
        "order",
        "desc",
        "asc",
        "limit",
        "as",
        "time",
        "now",
        "fill",
        "null",
        "none",
        "previous",
        "show",
        "tag",
        "values",
        "with",
        "key",
        "in",
        "mean",
        "max",
        "min",
        "last",
        "first",
        "count",
        "sum",
        "spread",
        "difference",
        "moving_average",
        "percentile",
        "derivative",
        "median",
        "distinct",
        "stddev",
    ];
    let Token::Word(word) = token else { return Ok(()) };
    let is_number_or_variable = word.starts_with(|first: char| first.is_ascii_digit() || first == '$');
    match is_number_or_variable || WORDS.contains(&word.to_ascii_lowercase().as_str()) {
        true => Ok(()),
        false => Err(format!("{word} is neither in quotes nor in the subset of InfluxQL used here")),
    }
}

/// Returns the single measurement of a query. Each `FROM` names it, or a query in brackets that does.
fn measurement_of(tokens: &[Token]) -> Result<&'static Measurement, String> {
    let mut found: Option<&'static Measurement> = None;
    for pair in tokens.windows(2) {
        let [Token::Word(word), source] = pair else { continue };
        if !word.eq_ignore_ascii_case("from") {
            continue;
        }
        match source {
            Token::Name(name) => {
                let known = measurement(name).ok_or_else(|| format!("there is no measurement {name:?}"))?;
                if found.is_some_and(|other| other.name != known.name) {
                    return Err("two measurements in one query".to_owned());
                }
                found = Some(known);
            }
            Token::Sign('(') => {}
            _ => return Err(format!("FROM {source:?}: a measurement stands in double quotes")),
        }
    }
    found.ok_or_else(|| "no measurement".to_owned())
}

fn function_before(tokens: &[Token], at: usize) -> Option<&str> {
    match tokens.get(at.checked_sub(2)?..at)? {
        [Token::Word(word), Token::Sign('(')] => Some(word.as_str()),
        _ => None,
    }
}

fn subject(tokens: &[Token]) -> Subject {
    let mut subject = Subject::default();
    for four in tokens.windows(4) {
        match four {
            [Token::Name(name), Token::Sign('='), Token::Literal(kind), _] if name == "metric_type" => {
                subject.metric_types.insert(kind.clone());
            }
            [Token::Name(name), Token::Sign('>'), Token::Sign('='), Token::Word(number)] if name != "criticality" => {
                subject.bounds.extend(number.parse::<f64>());
            }
            _ => {}
        }
    }
    if let [.., Token::Name(name), Token::Sign('='), Token::Literal(kind)] = tokens
        && name == "metric_type"
    {
        subject.metric_types.insert(kind.clone());
    }
    subject
}
