//! `spindle detect`: rows as given, each judged once, the same from a file, a packed file and standard input; without a
//! server, a configuration or a data directory.

use std::io::Write;
use std::process::{Output, Stdio};

use crate::harness::spindle;

/// A wave of minutes with a burst, a missing value and a time in another spelling.
fn series() -> String {
    let mut text = "timestamp,value\n".to_owned();
    for i in 0..4_000_u32 {
        let wave = (f64::from(i) / 50.0).sin() + f64::from(i.wrapping_mul(2_654_435_761) >> 16) / 65_536.0;
        let value = if i > 3_900 { wave + 50.0 } else { wave };
        let value = if i == 77 { String::new() } else { value.to_string() };
        let (day, minute) = (1 + i / 1_440, i % 1_440);
        text += &format!("2024-05-{day:02} {:02}:{:02}:00,{value}\n", minute / 60, minute % 60);
    }
    text
}

fn detect(arguments: &[&str], input: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = spindle(&folder.path().join("data"));
    command.arg("detect").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments reads nothing.
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(!folder.path().join("data").exists(), "it needs no data directory");
    output
}

#[test]
fn each_row_is_judged_once_whatever_the_way_in() {
    let folder = tempfile::tempdir().unwrap();
    let (file, picture) = (folder.path().join("series.csv"), folder.path().join("series.svg"));
    let text = series();
    std::fs::write(&file, &text).unwrap();
    let output = detect(&[file.to_str().unwrap(), "--plot", picture.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 row without a number"));
    let scores = String::from_utf8(output.stdout).unwrap();
    assert_eq!(scores.lines().count(), text.lines().count());
    let mut alarms = Vec::new();
    for (number, (given, scored)) in text.lines().zip(scores.lines()).enumerate().skip(1) {
        let cells: Vec<_> = scored.split(',').collect();
        assert_eq!(cells[0], given.split(',').next().unwrap());
        assert!((0.0..=1.0).contains(&cells[1].parse::<f64>().unwrap()), "{scored}");
        alarms.extend((cells[2] == "1").then_some(number));
    }
    assert!(alarms.iter().any(|row| (3_900..3_910).contains(row)), "{alarms:?}");
    assert!(std::fs::read_to_string(&picture).unwrap().ends_with("</svg>\n"));
    let picture = folder.path().join("series.PNG");
    assert_eq!(detect(&["-", "--plot", picture.to_str().unwrap()], text.as_bytes()).stdout, scores.as_bytes());
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));

    assert_eq!(detect(&["-"], text.as_bytes()).stdout, scores.as_bytes());
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    assert_eq!(detect(&["-"], &packed.finish().unwrap()).stdout, scores.as_bytes());
    let json = String::from_utf8(detect(&["-", "--format", "json"], text.as_bytes()).stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(json.lines().count() + 1, scores.lines().count());
    assert!(last["expected"][0].as_f64() < last["expected"][1].as_f64(), "{last}");
}

#[test]
fn a_mistake_is_one_line_with_its_remedy() {
    let refused = |arguments: &[&str], input: &str, words: &[&str]| {
        let output = detect(arguments, input.as_bytes());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} not all in: {text}");
    };
    refused(&["no-such-file.csv"], "", &["no-such-file.csv", "check the path"]);
    refused(&["-"], "", &["no rows", "timestamp,value"]);
    refused(&["-"], "date,reading\n2024-05-01,1\n", &["date,reading", "'timestamp' and 'value'"]);
    refused(&["-", "--plot", "a.gif"], "timestamp,value\n", &["a.gif", "FILE.svg or FILE.png"]);
    refused(&["-", "--format", "xml"], "", &["xml", "csv", "json"]);
}
