//! Standard output and error that nobody drains, or that are closed: nothing waits for them.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use spindle_testkit::wait_until;

use crate::harness::{PATIENCE, nats_options, program, run_file_of, send_signal, spindle, spindle_at};
use crate::pipeline::get_from;

/// A `spindle up` whose standard output and error are a pipe of 4 KiB; killed when dropped.
struct Undrained {
    folder: tempfile::TempDir,
    child: Child,
    /// The other end of its output.
    output: PipeReader,
}

pub(crate) fn small_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    #[cfg(target_os = "linux")]
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    (reader, writer)
}

impl Undrained {
    fn start(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (output, writer) = small_pipe();
        let mut command = spindle(&folder.path().join("data"));
        command.args(["up", "--source", "simulate", "--devices", "20", "--interval", "50ms"]);
        command.env("SPINDLE_CLIENT_INTERVAL", "100ms").env("CLIENT_MIN_CRITICALITY", "1");
        command.envs(environment.iter().copied()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        // The command holds our copies of the writing end.
        drop(command);
        let undrained = Self { folder, child, output };
        let up = || run_file_of(&undrained.data(), undrained.child.id()).is_some();
        wait_until(PATIENCE, "it is up", up).unwrap();
        undrained
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn run_file(&self, name: &str) -> String {
        run_file_of(&self.data(), self.child.id()).unwrap()[name].as_str().unwrap().to_owned()
    }

    fn http(&self, path: &str) -> String {
        get_from(self.run_file("http").trim_start_matches("http://"), path).1
    }

    fn n_dropped(&self) -> u64 {
        let metrics = self.http("/metrics");
        let line = metrics.lines().find(|line| line.starts_with("spindle_log_lines_dropped_total"));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0, |number| number.parse().unwrap())
    }

    async fn publish_bad_messages(&self, n_messages: usize) {
        let url = self.run_file("nats");
        let client = nats_options(&url).connect(&url).await.unwrap();
        for number in 0..n_messages {
            client.publish("events.metrics", format!("no JSON, number {number}").into()).await.unwrap();
        }
        client.flush().await.unwrap();
    }

    fn signal(&self, signal: &str) {
        send_signal(self.child.id(), signal);
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        };
        wait_until(PATIENCE, "it ends", ended).unwrap();
        status.unwrap()
    }
}

impl Drop for Undrained {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_drains_stops_nothing_and_its_loss_is_counted() {
    let mut undrained = Undrained::start(&[("SPINDLE_LOG", "trace")]);
    undrained.publish_bad_messages(500).await;
    wait_until(PATIENCE, "lines are dropped", || undrained.n_dropped() > 0).unwrap();
    assert!(undrained.http("/healthz").contains("ok"));
    let letters = || undrained.http("/metrics").contains("spindle_writer_dead_letters_total{reason=\"bad_json\"} 500");
    wait_until(PATIENCE, "all bad messages are dead letters", letters).unwrap();
    let devices = || {
        let output = spindle(&undrained.data()).args(["query", "devices", "--json"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).matches("source_device").count() >= 20
    };
    wait_until(PATIENCE, "values are stored", devices).unwrap();
    // Once somebody reads again, the log goes on and says what is missing.
    let mut output = undrained.output.try_clone().unwrap();
    let (mut text, mut chunk) = (String::new(), [0; 65_536]);
    let said = || {
        let n_bytes = output.read(&mut chunk).unwrap();
        text += &String::from_utf8_lossy(&chunk[..n_bytes]);
        text.contains("log lines dropped, standard error was not drained")
    };
    wait_until(PATIENCE, "the loss is logged", said).unwrap();
    undrained.signal("INT");
    assert_eq!(undrained.wait_for_end().code(), Some(0));
    assert!(!undrained.data().join("run.json").exists());
}

#[test]
fn ctrl_c_stops_in_order_though_nobody_drains_the_log() {
    let mut undrained = Undrained::start(&[("SPINDLE_LOG", "trace")]);
    wait_until(PATIENCE, "lines are dropped", || undrained.n_dropped() > 0).unwrap();
    assert!(undrained.http("/healthz").contains("ok"));
    undrained.signal("INT");
    assert_eq!(undrained.wait_for_end().code(), Some(0));
    assert!(!undrained.data().join("run.json").exists());
}

#[test]
fn a_second_ctrl_c_ends_a_runtime_that_is_blocked() {
    let mut undrained = Undrained::start(&[("SPINDLE_TEST_BLOCK_STOP", "yes"), ("SPINDLE_LOG", "trace")]);
    wait_until(PATIENCE, "lines are dropped", || undrained.n_dropped() > 0).unwrap();
    let address = undrained.run_file("http").trim_start_matches("http://").to_owned();
    undrained.signal("INT");
    wait_until(PATIENCE, "nothing answers any more", || !answers(&address)).unwrap();
    assert!(undrained.child.try_wait().unwrap().is_none());
    undrained.signal("INT");
    assert_eq!(undrained.wait_for_end().code(), Some(130));
}

/// Returns `true` if the liveness probe answers within a moment.
pub(crate) fn answers(address: &str) -> bool {
    let probe = || -> std::io::Result<usize> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(std::time::Duration::from_millis(300)))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        stream.read(&mut [0; 16])
    };
    probe().is_ok_and(|n_bytes| n_bytes > 0)
}

#[test]
fn an_error_at_the_end_does_not_wait_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (_output, mut writer) = small_pipe();
    writer.write_all(&[b'x'; 4096]).unwrap();
    let mut command = spindle(&folder.path().join("data"));
    let mut child = command.args(["up", "--nonsense"]).stderr(writer).spawn().unwrap();
    let mut status = None;
    wait_until(PATIENCE, "it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .unwrap();
    assert_eq!(status.unwrap().code(), Some(2));
}

/// `2>&-`, `>&-`, and a reader that went away.
#[test]
fn closed_outputs_are_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut command = spindle_at(Path::new("sh"), &data);
    command.args(["-c", "exec \"$1\" up --source simulate --devices 3 >&- 2>&-", "sh"]).arg(program());
    let mut child = command.spawn().unwrap();
    wait_until(PATIENCE, "it is up", || run_file_of(&data, child.id()).is_some()).unwrap();
    let ask = |command: &mut Command| command.args(["query", "devices"]).status().unwrap().success();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let away = || {
        let mut command = spindle(&data);
        ask(command.stdout(writer.try_clone().unwrap()).stderr(Stdio::null()))
    };
    wait_until(PATIENCE, "a reader that went away is no error", away).unwrap();
    send_signal(child.id(), "TERM");
    assert!(child.wait().unwrap().success());
}
