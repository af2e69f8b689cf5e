//! Asks on an interval, beside the view: a question without an answer never blocks the screen.

use std::time::Duration;

use anyhow::Result;
use spindle_bus::Bus;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval};

use super::answers::{self, Picture};
use super::pipeline::{self, Pipeline, PipelineError};

/// News for the view.
pub(super) enum News {
    Picture(Result<Box<Picture>>),
    Pipeline(Result<Pipeline, PipelineError>),
}

/// Asks the reader until the view ends.
pub(super) async fn pictures(bus: Bus, subject: String, pause: Duration, news: Sender<News>) {
    let mut ticker = interval(pause);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticker.tick().await;
        if news.send(News::Picture(answers::ask(&bus, &subject).await.map(Box::new))).await.is_err() {
            return;
        }
    }
}

/// Looks up the streams until the view ends. After a refusal only a new connection asks again, because the server logs
/// each refusal.
pub(super) async fn pipelines(bus: Bus, pause: Duration, news: Sender<News>) {
    let mut ticker = interval(pause);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut denied_on = None;
    loop {
        ticker.tick().await;
        if denied_on == Some(bus.n_connects()) {
            continue;
        }
        let found = pipeline::look_up(&bus).await;
        denied_on = found.as_ref().is_err_and(|error| error.is_denied).then(|| bus.n_connects());
        if news.send(News::Pipeline(found)).await.is_err() {
            return;
        }
    }
}
