//! Arguments of `spindle accept` and `spindle acknowledge`.

use clap::Args;

use crate::decision_service::DecisionRequest;

#[derive(Debug, Args)]
pub(super) struct AcceptArgs {
    /// Device; `host:sda` is the drive there now
    device: String,
    /// Metric or event type of the finding, as `spindle query device_health --format json` names it
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
    /// Revoke the decision in force instead
    #[arg(long, conflicts_with = "until")]
    revoke: bool,
    /// Name of the operator (default: the login name)
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl DecisionArgs {
    fn request(self, source_device: String, metric: Option<String>) -> DecisionRequest {
        let Self { reason, until, revoke, by } = self;
        let until = if revoke { Some("0s".to_owned()) } else { until };
        DecisionRequest { source_device, metric, reason, until, by }
    }
}

impl From<AcceptArgs> for DecisionRequest {
    fn from(AcceptArgs { device, metric, decision }: AcceptArgs) -> Self {
        decision.request(device, Some(metric))
    }
}

impl From<AcknowledgeArgs> for DecisionRequest {
    fn from(AcknowledgeArgs { device, decision }: AcknowledgeArgs) -> Self {
        decision.request(device, None)
    }
}
