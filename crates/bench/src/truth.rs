//! Truth harness: compares what Spindle says (answers, counters, readiness, exit codes) with what is. `faults` proves
//! that nothing is lost while processes die; here nothing dies, but somebody else answers on the store's address, data is
//! aged, ids collide, outputs are not drained, programs are replaced, and clocks are wrong.
//!
//! Each case plays one situation against real processes, with values chosen by the seed, and notes claims: the words or
//! numbers of Spindle beside the truth. A claim that does not hold is printed, and makes the exit code 1.
//!
//! - `rig`: servers, roles, HTTP, NATS; `stored`: the contents of the store; `stranger`: a proxy that answers itself.
//! - `ledger`: the claims.
//! - `writes`, `messages`, `streams`, `verdicts`, `platform`: the cases.

mod ledger;
mod messages;
mod platform;
mod rig;
mod stored;
mod stranger;
mod streams;
mod verdicts;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::print;
use ledger::Ledger;
use rig::{Backend, Rig};

/// Options of the harness.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// `spindle` program to test [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Seed of the values: the same seed gives the same situations
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cases to play [default: all]
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// Print every claim, not only those that do not hold
    #[arg(long)]
    all: bool,
}

/// Situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    ForeignAnswers,
    AgedData,
    Identities,
    Duplicates,
    ForeignMessages,
    UnsafeStreams,
    FullStream,
    DeadDrives,
    SoundDrives,
    RefusedStart,
    UndrainedOutput,
    ReplacedProgram,
    WrongClock,
    ExitCodes,
}

const CASES: [(&str, Case); 14] = [
    ("foreign-answers", Case::ForeignAnswers),
    ("aged-data", Case::AgedData),
    ("identities", Case::Identities),
    ("duplicates", Case::Duplicates),
    ("foreign-messages", Case::ForeignMessages),
    ("unsafe-streams", Case::UnsafeStreams),
    ("full-stream", Case::FullStream),
    ("dead-drives", Case::DeadDrives),
    ("sound-drives", Case::SoundDrives),
    ("refused-start", Case::RefusedStart),
    ("undrained-output", Case::UndrainedOutput),
    ("replaced-program", Case::ReplacedProgram),
    ("wrong-clock", Case::WrongClock),
    ("exit-codes", Case::ExitCodes),
];

impl Case {
    /// Returns the stores on which a case is played.
    fn backends(self) -> &'static [Backend] {
        match self {
            Self::AgedData | Self::Identities | Self::Duplicates | Self::ForeignMessages | Self::DeadDrives => {
                &[Backend::Embedded, Backend::Influxdb]
            }
            Self::ForeignAnswers | Self::RefusedStart => &[Backend::Influxdb],
            _ => &[Backend::Embedded],
        }
    }

    async fn play(self, rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
        match self {
            Self::ForeignAnswers => writes::foreign_answers(rig, ledger).await,
            Self::AgedData => writes::aged_data(rig, ledger).await,
            Self::Identities => messages::identities(rig, ledger).await,
            Self::Duplicates => messages::duplicates(rig, ledger).await,
            Self::ForeignMessages => messages::foreign_messages(rig, ledger).await,
            Self::UnsafeStreams => streams::unsafe_streams(rig, ledger).await,
            Self::FullStream => streams::full_stream(rig, ledger).await,
            Self::DeadDrives => verdicts::dead_drives(rig, ledger).await,
            Self::SoundDrives => verdicts::sound_drives(rig, ledger).await,
            Self::RefusedStart => platform::refused_start(rig, ledger).await,
            Self::UndrainedOutput => platform::undrained_output(rig, ledger).await,
            Self::ReplacedProgram => platform::replaced_program(rig, ledger).await,
            Self::WrongClock => platform::wrong_clock(rig, ledger).await,
            Self::ExitCodes => platform::exit_codes(rig, ledger).await,
        }
    }
}

/// Plays the cases one after another and prints the claims.
pub(crate) async fn run(options: Options) -> Result<ExitCode> {
    let program = options.program()?;
    let unknown = options.cases.iter().find(|name| CASES.iter().all(|(known, _)| known != name));
    let names = CASES.map(|(name, _)| name).join(", ");
    ensure!(unknown.is_none(), "no case '{}': {names}", unknown.map_or("", String::as_str));
    let (mut n_claims, mut n_false, mut n_unplayed) = (0, 0, 0);
    for (name, case) in CASES {
        if !options.cases.is_empty() && options.cases.iter().all(|wanted| wanted != name) {
            continue;
        }
        for backend in case.backends() {
            let began = Instant::now();
            let mut ledger = Ledger::default();
            let mut rig = Rig::new(program.clone(), *backend, options.seed)?;
            let played = case.play(&mut rig, &mut ledger).await;
            let (claims, lies) = ledger.counts();
            n_claims += claims;
            n_false += lies;
            let seconds = began.elapsed().as_secs_f64();
            print(&format!("{name:<18} {backend:<9} {seconds:>6.1} s  {claims:>3} claims, {lies} false"));
            ledger.lines(options.all).iter().for_each(|line| print(line));
            if let Err(error) = played {
                n_unplayed += 1;
                print(&format!("    NOT PLAYED  {error:#}"));
            }
        }
    }
    print(&format!("seed {}: {n_claims} claims, {n_false} false, {n_unplayed} cases not played", options.seed));
    Ok(if n_false == 0 && n_unplayed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn program(&self) -> Result<PathBuf> {
        let found = match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("spindle"),
        };
        found
            .canonicalize()
            .with_context(|| format!("no program {}: build it, or name it with --program", found.display()))
    }
}
