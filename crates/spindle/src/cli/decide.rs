//! Arguments of `spindle accept` and `spindle acknowledge`.

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct AcceptArgs {
    /// Device; `host:sda` is the drive there now
    device: String,
    /// Metric or event type of the finding
    metric: String,
    #[command(flatten)]
    decision: DecisionArgs,
}

#[derive(Debug, Args)]
pub(super) struct AcknowledgeArgs {
    /// Device; `host:sda` is the drive there now
    device: String,
    #[command(flatten)]
    decision: DecisionArgs,
}

#[derive(Debug, Args)]
struct DecisionArgs {
    /// Reason, for those who read it later
    #[arg(long, short = 'm', value_name = "TEXT", visible_alias = "message")]
    reason: String,
    /// End: a time, or a duration from now such as 30d (default: a year for accept, a week for acknowledge)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Decision about a device, from the command line.
#[derive(Debug)]
pub(crate) struct DecisionTask {
    pub(crate) device: String,
    /// Finding to accept; `None` acknowledges the device.
    pub(crate) metric: Option<String>,
    pub(crate) reason: String,
    /// Time, or duration from now.
    pub(crate) until: Option<String>,
}

impl From<AcceptArgs> for DecisionTask {
    fn from(AcceptArgs { device, metric, decision: DecisionArgs { reason, until } }: AcceptArgs) -> Self {
        Self { device, metric: Some(metric), reason, until }
    }
}

impl From<AcknowledgeArgs> for DecisionTask {
    fn from(AcknowledgeArgs { device, decision: DecisionArgs { reason, until } }: AcknowledgeArgs) -> Self {
        Self { device, metric: None, reason, until }
    }
}
