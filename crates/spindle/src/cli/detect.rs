//! Arguments of `spindle detect`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};

#[derive(Debug, Args)]
pub(super) struct DetectArgs {
    /// Recorded series (CSV, plain, gzip, bzip2, xz or Zstandard), or - for standard input
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Output format; json is one object per line, with the value and its expected range
    #[arg(
        long,
        short = 'o',
        visible_alias = "output",
        value_name = "FORMAT",
        default_value = "csv",
        ignore_case = true
    )]
    #[arg(value_parser = PossibleValuesParser::new([PossibleValue::new("csv"), PossibleValue::new("json")]))]
    format: String,
    /// Also draw the series, its expected range and the anomalies into a picture, SVG or PNG
    #[arg(long, value_name = "FILE.svg|png")]
    plot: Option<PathBuf>,
}

/// Series to judge.
#[derive(Debug)]
pub(crate) struct DetectTask {
    /// The file; `-` is standard input.
    pub(crate) file: PathBuf,
    pub(crate) as_json: bool,
    pub(crate) plot: Option<PathBuf>,
}

impl From<DetectArgs> for DetectTask {
    fn from(args: DetectArgs) -> Self {
        Self { file: args.file, as_json: args.format.eq_ignore_ascii_case("json"), plot: args.plot }
    }
}
