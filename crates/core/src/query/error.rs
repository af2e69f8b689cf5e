//! Errors of queries. Their text goes to the client.

use super::table;

/// Reason for rejecting a query.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// Larger than [`MAX_QUERY_BYTES`](super::MAX_QUERY_BYTES).
    #[error("query of {0} bytes is larger than {max}", max = super::MAX_QUERY_BYTES)]
    TooLarge(usize),
    /// Not JSON, or not an object.
    #[error("query is not a valid JSON object: {0}")]
    Json(String),
    /// Unknown query type.
    #[error("unknown query_type {0}: expected one of {names}", names = table::names())]
    UnknownType(String),
    /// `query_type` is missing.
    #[error("field 'query_type' is missing: expected one of {names}", names = table::names())]
    NoType,
    /// Field beside `query_type` and `params`: most likely a misplaced parameter.
    #[error(
        "unknown field '{field}' beside query_type: expected the parameters of {query_type} in \"params\", as in {{\"query_type\":\"{query_type}\",\"params\":{{\"{example}\":…}}}}"
    )]
    UnknownField {
        /// Query type.
        query_type: &'static str,
        /// Name of the field.
        field: String,
        /// Parameter of this query type: the intended one, if the field is one.
        example: &'static str,
    },
    /// Parameter that this query type does not have.
    #[error("unknown parameter '{param}' for {query_type}: expected {expected}")]
    UnknownParam {
        /// Query type.
        query_type: &'static str,
        /// Name of the parameter.
        param: String,
        /// Parameters it has.
        expected: String,
    },
    /// Parameter given more than once, on a command line or in an address.
    #[error("parameter '{param}' of {query_type} is given more than once: expected it once")]
    RepeatedParam {
        /// Query type.
        query_type: &'static str,
        /// Name of the parameter.
        param: String,
    },
    /// Missing parameter without a default.
    #[error("parameter '{param}' of {query_type} is missing: expected {expected}")]
    MissingParam {
        /// Query type.
        query_type: &'static str,
        /// Name of the parameter.
        param: &'static str,
        /// Values it takes.
        expected: String,
    },
    /// Parameter of a wrong type or value.
    #[error("parameter '{param}' of {query_type} is {found}: expected {expected}")]
    BadParam {
        /// Query type.
        query_type: &'static str,
        /// Name of the parameter.
        param: &'static str,
        /// Value given.
        found: String,
        /// Values it takes.
        expected: String,
    },
}
