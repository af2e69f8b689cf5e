//! `spindle judge` on recorded drives. The figures on real fleets need data that is not ours and lies beside the
//! workspace; without it the test reports that.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::process::Output;

use crate::harness::spindle;

fn judge(files: &[&Path]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    spindle(folder.path()).arg("judge").args(files).output().unwrap()
}

fn rows(output: &Output) -> Vec<Vec<String>> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Returns 20 days of 40 drives, of which S0 counts reallocated and pending sectors from the 15th on and fails.
fn table() -> String {
    let mut table = "date,serial_number,model,capacity_bytes,failure,smart_5_raw,smart_197_raw\n".to_owned();
    for day in 1..=20 {
        for drive in 0..40 {
            let bad = if drive == 0 && day >= 15 { 400 * (day - 14) } else { 0 };
            let failed = u8::from(drive == 0 && day == 20);
            table += &format!("2024-03-{day:02},S{drive},M,1,{failed},{bad},{bad}\n");
        }
    }
    table
}

#[test]
fn each_row_is_judged_by_itself_and_earlier_rows_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drives.csv");
    std::fs::write(&file, table()).unwrap();
    let whole = rows(&judge(&[&file]));
    assert_eq!(whole[0].join(","), "device,date,score,alarm");
    assert_eq!(whole.len(), 1 + 20 * 40);
    let alarms: Vec<String> = whole.iter().filter(|row| row[3] == "1").map(|row| row[..2].join(" ")).collect();
    assert!(alarms.iter().all(|alarm| alarm.starts_with("S0 ")), "{alarms:?}");
    assert_eq!(alarms.first().map(String::as_str), Some("S0 2024-03-15"), "{alarms:?}");
    for n_lines in [2, 41, 400, 777] {
        let head: String = table().lines().take(n_lines).map(|line| format!("{line}\n")).collect();
        std::fs::write(&file, head).unwrap();
        assert_eq!(rows(&judge(&[&file])), whole[..n_lines], "later rows changed earlier scores");
    }
    let unfailed = table().replace(",M,1,1,", ",M,1,0,");
    std::fs::write(&file, unfailed).unwrap();
    assert_eq!(rows(&judge(&[&file])), whole, "a failure is known on its own day");
}

#[test]
fn a_year_in_several_files_is_one_history_and_bad_rows_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (all, first, second) = (folder.path().join("all"), folder.path().join("1"), folder.path().join("2"));
    let table = table();
    std::fs::write(&all, &table).unwrap();
    let (header, days) = table.split_once('\n').unwrap();
    let (early, late) = days.split_at(days.find("2024-03-11").unwrap());
    std::fs::write(&first, format!("{header}\n{early}")).unwrap();
    std::fs::write(&second, format!("{header}\n{late}2024-03-21,S1,M,1,0\n")).unwrap();
    let joined = judge(&[&first, &second]);
    assert_eq!(rows(&joined), rows(&judge(&[&all])));
    let stderr = String::from_utf8_lossy(&joined.stderr);
    assert!(stderr.contains("row has 5 fields, the header has 7"), "{stderr}");
    let missing = judge(&[Path::new("no/such.csv")]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot open no/such.csv to judge it"));
}

/// Figures of a judgement, as the scorer beside the data defines them.
struct Figures {
    auc: f64,
    at_1_percent: f64,
    at_0_1_percent: f64,
    /// By its own alarm: share of failing drives found, share of healthy drives accused, share of accusations right.
    own: [f64; 3],
}

#[derive(Default)]
struct Judged {
    failed: Option<String>,
    /// Date, score, alarm.
    scores: Vec<(String, f64, bool)>,
}

/// Scores a judgement from a date on; the last `lead` rows of a failing drive do not count.
fn figures(table: &str, scores: &[Vec<String>], from: &str, lead: usize) -> Figures {
    let mut drives: HashMap<&str, Judged> = HashMap::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.splitn(6, ',').collect();
        let drive = drives.entry(cells[1]).or_default();
        drive.failed = (cells[4] == "1").then(|| cells[0].to_owned()).or(drive.failed.take());
    }
    for row in &scores[1..] {
        let judged = (row[1].clone(), row[2].parse().unwrap(), row[3] == "1");
        drives.get_mut(row[0].as_str()).unwrap().scores.push(judged);
    }
    let (mut failing, mut healthy) = (Vec::new(), Vec::new());
    for mut drive in drives.into_values() {
        match &drive.failed {
            Some(failed) if failed.as_str() < from => {}
            Some(_) => {
                drive.scores.truncate(drive.scores.len() - lead);
                failing.push(drive.scores);
            }
            None => {
                drive.scores.retain(|(date, ..)| date.as_str() >= from);
                healthy.push(drive.scores);
            }
        }
    }
    failing.retain(|scores| !scores.is_empty());
    healthy.retain(|scores| !scores.is_empty());
    let last = |scores: &Vec<(String, f64, bool)>| scores.last().unwrap().1;
    let worst = |scores: &Vec<(String, f64, bool)>| scores.iter().map(|row| row.1).fold(f64::MIN, f64::max);
    let share = |n: usize, of: usize| n as f64 / of as f64;
    let mut peaks: Vec<f64> = healthy.iter().map(worst).collect();
    peaks.sort_by(|one, other| other.total_cmp(one));
    let at = |percent: f64| {
        let threshold = peaks[(percent / 100.0 * peaks.len() as f64) as usize];
        share(failing.iter().filter(|scores| worst(scores) > threshold).count(), failing.len())
    };
    let mut ends: Vec<f64> = healthy.iter().map(last).collect();
    ends.sort_by(f64::total_cmp);
    let wins = failing.iter().map(|scores| {
        let end = last(scores);
        (ends.partition_point(|other| *other < end) + ends.partition_point(|other| *other <= end)) as f64 / 2.0
    });
    let accused =
        |drives: &[Vec<(String, f64, bool)>]| drives.iter().filter(|rows| rows.iter().any(|row| row.2)).count();
    let (n_found, n_wrong) = (accused(&failing), accused(&healthy));
    Figures {
        auc: wins.sum::<f64>() / (failing.len() * healthy.len()) as f64,
        at_1_percent: at(1.0),
        at_0_1_percent: at(0.1),
        own: [share(n_found, failing.len()), share(n_wrong, healthy.len()), share(n_found, n_found + n_wrong)],
    }
}

#[test]
fn failing_drives_of_real_fleets_are_found_and_few_others_accused() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let history = data.join("smart-history/2013-04-10_2013-05-03.csv.xz");
    let last_day = data.join("backblaze/ST8000NM0055-last-day-2019.csv");
    let (Ok(packed), Ok(table)) = (std::fs::File::open(&history), std::fs::read_to_string(&last_day)) else {
        spindle_testkit::not_checked(&format!("judgement of real fleets, {} is incomplete", data.display()));
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let blanked = folder.path().join("blanked.csv");
    std::fs::write(&blanked, without_age(&table)).unwrap();
    let found = figures(&table, &rows(&judge(&[&blanked])), "", 0);
    assert!(found.auc >= 0.88, "{}", found.auc);
    assert!(found.at_1_percent >= 0.48, "{}", found.at_1_percent);
    assert!(found.at_0_1_percent >= 0.25, "{}", found.at_0_1_percent);

    let mut table = String::new();
    lzma_rust2::XzReader::new(packed, true).read_to_string(&mut table).unwrap();
    let found = figures(&table, &rows(&judge(&[&history])), "2013-04-17", 1);
    assert!(found.auc >= 0.93, "{}", found.auc);
    assert!(found.at_1_percent >= 0.62, "{}", found.at_1_percent);
    assert!(found.at_0_1_percent >= 0.30, "{}", found.at_0_1_percent);
    let [own_found, own_accused, own_right] = found.own;
    assert!(own_found >= 0.25 && own_accused <= 0.0025 && own_right >= 0.30, "{:?}", found.own);
}

/// Empties power-on hours and total writes and reads: the healthy drives of this file are all of the last day.
fn without_age(table: &str) -> String {
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let is_age =
        |name: &str| ["smart_9_", "smart_240_", "smart_241_", "smart_242_"].iter().any(|age| name.starts_with(age));
    let mut blanked = format!("{}\n", header.join(","));
    for line in table.lines().skip(1) {
        let cells = line.split(',').zip(&header).map(|(cell, name)| if is_age(name) { "" } else { cell });
        blanked += &format!("{}\n", cells.collect::<Vec<_>>().join(","));
    }
    blanked
}
