//! `spindle top` in a pseudo-terminal, which `script` of util-linux provides.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use spindle_testkit::wait_until;

use crate::harness::{NO_SOURCES, PATIENCE, System, program, send_signal, spindle, spindle_at};
use crate::rights;

/// A terminal of 80 columns and 24 rows in which the program runs; its settings are printed before and after.
struct Pseudo {
    child: Child,
    keys: ChildStdin,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Pseudo {
    fn start(data_dir: &Path, environment: &[(&str, &str)]) -> Self {
        let program = program().display().to_string();
        let inner = "sh -c 'echo PID=$$; exec \"$PROGRAM\" top --interval 500ms'; echo CODE=$?";
        let shell = format!("stty rows 24 cols 80; echo BEFORE=$(stty -g); {inner}; echo AFTER=$(stty -g)");
        let mut command = spindle_at("script".as_ref(), data_dir);
        command.args(["-q", "-c", &shell, "/dev/null"]).env("PROGRAM", program).env("SHELL", "/bin/sh");
        command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color").envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let output = Arc::new(Mutex::new(Vec::new()));
        let read = output.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n) = stdout.read(&mut chunk)
                && n > 0
            {
                read.lock().unwrap().extend(&chunk[..n]);
            }
        });
        Self { child, keys, output }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    /// Returns a value that the shell printed.
    fn value(&self, name: &str) -> Option<String> {
        let text = self.text();
        let rest = &text[text.find(&format!("{name}="))? + name.len() + 1..];
        rest.split_once(['\r', '\n']).map(|(value, _)| value.to_owned())
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let came = wait_until(PATIENCE, what, || wanted(&screen(&self.text())));
        let shown = screen(&self.text());
        assert!(came.is_ok(), "{what}:\n{shown}");
        shown
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for the end and checks that the terminal is as it was. Returns the exit code and all output.
    fn ended(mut self) -> (String, String) {
        wait_until(PATIENCE, "the view ends", || self.value("AFTER").is_some()).unwrap();
        let (before, after, code) = (self.value("BEFORE"), self.value("AFTER"), self.value("CODE"));
        assert_eq!(before, after, "the settings of the terminal are as before");
        let text = self.text();
        let (main_screen, other) = ("\u{1b}[?1049l", "\u{1b}[?1049h");
        assert_eq!(text.matches(other).count(), 1, "{text:?}");
        assert_eq!(text.matches(main_screen).count(), 1, "the main screen is back: {text:?}");
        let back = text.rfind(main_screen).unwrap();
        assert!(text[back..].contains("\u{1b}[?25h"), "the cursor is back: {text:?}");
        self.child.wait().unwrap();
        (code.unwrap(), text[back..].to_owned())
    }
}

impl Drop for Pseudo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays the output on an empty screen: positions and text count, everything else does not.
fn screen(output: &str) -> String {
    let mut cells = vec![vec![' '; 80]; 24];
    let (mut row, mut column) = (0_usize, 0_usize);
    let Some(start) = output.find("\u{1b}[?1049h") else { return String::new() };
    let mut rest = output[start..].chars();
    while let Some(ch) = rest.next() {
        if ch == '\u{1b}' {
            // `ESC [ parameters letter`; others do not occur.
            let sequence: String = rest.by_ref().take_while(|ch| !ch.is_ascii_alphabetic()).collect();
            let numbers = sequence.trim_start_matches('[').split_once(';');
            if let Some((Ok(y), Ok(x))) = numbers.map(|(y, x)| (y.parse::<usize>(), x.parse::<usize>())) {
                // Colours have numbers too, and are followed by text: only places on the screen count.
                if (1..=24).contains(&y) && (1..=80).contains(&x) {
                    (row, column) = (y - 1, x - 1);
                }
            }
        } else if let Some(cell) = cells.get_mut(row).and_then(|cells| cells.get_mut(column)) {
            *cell = ch;
            column += 1;
        }
    }
    cells.iter().map(|cells| cells.iter().collect::<String>().trim_end().replace('\u{a0}', " ") + "\n").collect()
}

#[tokio::test]
async fn the_fleet_shows_in_a_terminal_and_a_key_gives_it_back() {
    let system = System::start(NO_SOURCES, &[]);
    let nats = system.nats().await;
    let mut view = Pseudo::start(&system.data_dir(), &[]);
    view.wait_for("a fleet without devices", |text| text.contains("No devices yet"));
    let now = time_now();
    let metric = format!(
        r#"{{"timestamp":"{now}","sourceDevice":"disk-1","metricType":"DiskTemp","value":36,"labels":{{"enclosure":"e-02","bay":"17","class":"DiskUnit"}}}}"#
    );
    let event = format!(
        r#"{{"id":"0f8fad5b-d9cb-469f-a165-70867728950e","criticality":9,"timestamp":"{now}","sourceDevice":"disk-1","eventType":"SmartFailed","eventMessage":"it says \u001b[2J so"}}"#
    );
    nats.publish("events.metrics", metric.into()).await.unwrap();
    nats.publish("events.event", event.into()).await.unwrap();
    nats.flush().await.unwrap();
    let text = view.wait_for("the failing drive", |text| text.contains("One drive is failing: e-02, bay 17"));
    view.wait_for("the event", |text| text.contains("SmartFailed  disk-1"));
    view.wait_for("the streams", |text| text.contains("to store"));
    assert!(text.contains("UTC") && text.contains("q quits"), "{text}");
    assert!(!view.text().contains("\u{1b}[2J so"), "the terminal obeys a message of an event");
    view.press(b"q");
    assert_eq!(view.ended().0, "0");
}

#[test]
fn a_signal_and_a_panic_give_the_terminal_back() {
    let system = System::start(NO_SOURCES, &[]);
    let view = Pseudo::start(&system.data_dir(), &[]);
    view.wait_for("the view", |text| text.contains("No devices yet"));
    send_signal(view.value("PID").unwrap().trim().parse().unwrap(), "TERM");
    assert_eq!(view.ended().0, "0");
    let mut view = Pseudo::start(&system.data_dir(), &[]);
    view.wait_for("the view", |text| text.contains("No devices yet"));
    view.press(&[3]);
    assert_eq!(view.ended().0, "0", "Ctrl-C is a key here");
    let (code, text) = Pseudo::start(&system.data_dir(), &[("SPINDLE_TEST_PANIC_IN_TOP", "1")]).ended();
    assert_eq!(code, "101");
    assert!(text.contains("planted"), "the message is on the main screen: {text:?}");
}

#[test]
fn an_answer_that_does_not_come_is_said() {
    let mut system = System::start(NO_SOURCES, &[]);
    let mut view = Pseudo::start(&system.data_dir(), &[]);
    view.wait_for("the view", |text| text.contains("No devices yet"));
    system.kill();
    view.wait_for("the lost answer", |text| text.contains("no answer for") && text.contains("Nothing is known since"));
    system.start_again();
    view.wait_for("the next answer", |text| text.contains("live,") && text.contains("No devices yet"));
    view.press(b"\x1b");
    assert_eq!(view.ended().0, "0");
}

#[test]
fn the_user_of_queries_sees_all_but_the_streams() {
    let nats = rights::server();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _roles = ["writer", "reader"].map(|user| rights::start(&data, &nats, user, &[user]));
    let (url, password) = (nats.url(), |user: &str| format!("pw-{user}"));
    let view = |user: &str| {
        Pseudo::start(&data, &[("NATS_URL", &url), ("NATS_USER", user), ("NATS_PASSWORD", &password(user))])
    };
    let mut of_client = view("client");
    of_client.wait_for("the fleet", |text| text.contains("No devices yet"));
    of_client.wait_for("the missing permission", |text| {
        text.contains("not shown") && text.contains("'$JS.API.STREAM.INFO.")
    });
    of_client.press(b"q");
    assert_eq!(of_client.ended().0, "0");
    let mut of_admin = view("admin");
    of_admin.wait_for("the streams", |text| text.contains("0 to store, 0 held") && text.contains("no dead letters"));
    of_admin.press(b"q");
    assert_eq!(of_admin.ended().0, "0");
}

#[test]
fn without_a_terminal_it_says_so_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = spindle(&folder.path().join("data")).arg("top").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("needs a terminal") && text.lines().count() == 1, "{text}");
}

fn time_now() -> String {
    let output = Command::new("date").args(["-u", "+%FT%T.%NZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
