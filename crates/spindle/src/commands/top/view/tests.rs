use ratatui::Terminal;
use ratatui::backend::TestBackend;
use spindle_bus::FillLevel;

use super::super::pipeline::{PipelineError, StreamView, Waiting};
use super::super::test_data::{Given, event, fleet_of, incident, ok};
use super::*;

const PLAIN: Look = Look { has_unicode: true, has_colour: false };
const NEVER: &str = "the screen shows what is not known";

fn view(look: Look, started: Instant) -> View {
    View::new(Duration::from_secs(2), look, started)
}

/// A fleet with a failing drive, answered at `asked`.
fn picture(asked: Instant) -> News {
    let worst = Given {
        enclosure: "enclosure-02",
        bay: "17",
        since: Some("2026-11-30T02:14:00Z"),
        ..Given::new("DiskUnit-0041", "critical")
    };
    let devices = [vec![worst, Given::new("quiet", "silent"), Given::new("w", "warning")], ok(12_000)].concat();
    let place = [("enclosure", "enclosure-02"), ("bay", "17")];
    News::Picture(Ok(Box::new(Picture {
        fleet: fleet_of(&devices),
        incidents: vec![incident("DiskUnit-0041", "critical", &place, "2026-11-30T02:14:00Z")],
        events: vec![
            event("2026-11-30T09:40:07Z", "DiskUnit-0041", 9, "unreadable \u{1b}[2J sectors"),
            event("2026-11-29T19:41:00Z", "quiet", 8, "gone"),
        ],
        asked,
    })))
}

fn pipeline(asked: Instant) -> News {
    let stream = |name, n_messages, percent, level, waiting| StreamView { name, n_messages, percent, level, waiting };
    let streams = vec![
        stream("METRICS", 12_345, 12, FillLevel::Roomy, Some(Waiting::Messages(17))),
        stream("EVENTS", 14, 99, FillLevel::Full, Some(Waiting::NoWriter)),
        stream("DEADLETTER", 3, 0, FillLevel::Roomy, None),
    ];
    News::Pipeline(Ok(Pipeline { streams, asked }))
}

fn rendered(view: &View, columns: u16, rows: u16, now: Instant) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| view.render(frame, now)).unwrap();
    let cells = terminal.backend().buffer().content();
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    let lines = cells.chunks(usize::from(columns.max(1))).map(|cells| line(cells).trim_end().replace('\u{a0}', " "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_terminal_of_the_usual_size_shows_everything() {
    let start = Instant::now();
    let mut view = view(PLAIN, start);
    view.take(picture(start));
    view.take(pipeline(start));
    let text = rendered(&view, 80, 24, start + Duration::from_secs(1));
    let expected = " \
Spindle                                           live, 1 s old · 09:41:21 UTC

 ◆ One drive is failing: enclosure-02, bay 17
   Since 02:14, for 7 h 27 min. Replace the drive. One more thing needs a look;
   one device is silent.
 ◆ 1 act now  ▲ 1 worth a look  ◌ 1 overdue: unknown  • 12 000 as expected

 Needs attention  3, worst first
 ◆ DiskUnit-0041  enclosure-02, bay 17                  since 02:14, 7 h 27 min
   → Replace the drive
 ▲ w
   because
 ◌ quiet                                                       since 09:41, 2 s
   because

 Pipeline
 • METRICS     ██░░░░░░░░░░  12 %  17 to store, 12 345 held
 ◆ EVENTS      ████████████  99 %  full, refuses messages: no writer yet, 14 h…
 • DEADLETTER  ░░░░░░░░░░░░   0 %  3 dead letters to decide on

 Critical events  newest first
 ◆ 09:40:07         9 DiskFailing  DiskUnit-0041  unreadable \\u{1b}[2J sectors
 ◆ yesterday 19:41  8 DiskFailing  quiet          gone
 q quits                                                               every 2s";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn every_size_renders_and_the_worst_stays_in_sight() {
    let start = Instant::now();
    let mut view = view(PLAIN, start);
    let sizes = || (0..90).flat_map(|columns| (0..40).map(move |rows| (columns, rows))).step_by(7).chain([(40, 10)]);
    for (columns, rows) in sizes() {
        rendered(&view, columns, rows, start);
    }
    view.take(picture(start));
    view.take(pipeline(start));
    for failure in [None, Some("the reader refuses, and gives its reasons in many more words than fit in one line")] {
        if let Some(failure) = failure {
            view.take(News::Picture(Err(anyhow::anyhow!(failure))));
        }
        for (columns, rows) in sizes() {
            let text = rendered(&view, columns, rows, start);
            let is_large = columns >= 40 && rows >= 10;
            for said in ["One drive is failing", "DiskUnit-0041", "Replace the drive"] {
                assert_eq!(text.contains(said), is_large, "{columns}x{rows}: {said}\n{text}");
            }
            assert_eq!(text.contains("no answer"), is_large && failure.is_some(), "{columns}x{rows}\n{text}");
        }
    }
    assert!(rendered(&view, 39, 10, start).contains("40x10 at least"));
}

#[test]
fn nothing_old_is_shown_as_new() {
    let start = Instant::now();
    let mut view = view(PLAIN, start);
    let at = |seconds| start + Duration::from_secs(seconds);
    assert!(rendered(&view, 80, 24, at(1)).contains("Waiting for the first answer"));
    view.take(News::Picture(Err(anyhow::anyhow!("nobody answers on 'reader.query'"))));
    assert!(rendered(&view, 80, 24, at(3)).contains("no answer for 3 s: nobody answers on 'reader.query'"));
    view.take(picture(at(4)));
    let text = rendered(&view, 80, 24, at(5));
    assert!(text.contains("live, 1 s old") && !text.contains("no answer"), "{text}");
    // An answer that does not come: first the age grows, then all of it is old.
    assert!(rendered(&view, 80, 24, at(13)).contains("live, 9 s old"));
    let text = rendered(&view, 80, 24, at(16));
    for said in ["no answer for 12 s", "as of 09:41:20 UTC", "Nothing is known since 09:41", "below is how it was"] {
        assert!(text.contains(said), "{said}:\n{text}");
    }
    assert!(!text.contains("live") && !text.contains("is failing"), "{NEVER}:\n{text}");
    assert!(text.contains("DiskUnit-0041"), "the last picture stays:\n{text}");
    view.take(News::Picture(Err(anyhow::anyhow!("the store \u{1b}[2J is away"))));
    assert!(rendered(&view, 80, 24, at(17)).contains("no answer for 13 s: the store \\u{1b}[2J is away"));
    view.take(picture(at(18)));
    assert!(rendered(&view, 80, 24, at(18)).contains("One drive is failing"));
}

#[test]
fn streams_that_are_not_known_say_why() {
    let start = Instant::now();
    let mut view = view(PLAIN, start);
    view.take(picture(start));
    assert!(rendered(&view, 80, 40, start).contains("asking NATS"));
    let message = "the NATS user may not publish to '$JS.API.STREAM.INFO.METRICS'".to_owned();
    view.take(News::Pipeline(Err(PipelineError { message, is_denied: true })));
    assert!(rendered(&view, 80, 40, start).contains("not shown: the NATS user may not publish"));
    view.take(pipeline(start));
    assert!(rendered(&view, 80, 40, start).contains("17 to store"));
    assert!(rendered(&view, 80, 40, start + Duration::from_secs(11)).contains("Pipeline  as it was 11 s ago"));
}

#[test]
fn a_terminal_without_unicode_gets_ascii_and_no_colour_is_none() {
    let start = Instant::now();
    let mut view = view(Look { has_unicode: false, has_colour: false }, start);
    view.take(picture(start));
    view.take(pipeline(start));
    let mut terminal = Terminal::new(TestBackend::new(100, 40)).unwrap();
    terminal.draw(|frame| view.render(frame, start)).unwrap();
    let cells = terminal.backend().buffer().content();
    assert!(cells.iter().all(|cell| cell.symbol().is_ascii()));
    assert!(cells.iter().all(|cell| cell.fg == ratatui::style::Color::Reset));
    let text = rendered(&view, 100, 40, start);
    for said in ["# 1 act now", "^ 1 worth a look", "o 1 overdue", ". 12 000 as expected", "> Replace the drive"] {
        assert!(text.contains(said), "{said}:\n{text}");
    }
}

#[test]
fn a_fleet_that_is_well_or_empty_says_so() {
    let start = Instant::now();
    let mut view = view(PLAIN, start);
    for (n, said) in [(3, "All 3 drives are well"), (0, "No devices yet")] {
        let (fleet, incidents, events) = (fleet_of(&ok(n)), Vec::new(), Vec::new());
        view.take(News::Picture(Ok(Box::new(Picture { fleet, incidents, events, asked: start }))));
        let text = rendered(&view, 60, 20, start);
        for said in [said, "Nothing needs attention", "No critical events in 24 h"] {
            assert!(text.contains(said), "{said}:\n{text}");
        }
    }
}
