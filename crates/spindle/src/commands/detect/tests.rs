use super::*;

fn row(time: &str, value: f64) -> SeriesRow {
    SeriesRow { time: time.to_owned(), at: None, value }
}

#[test]
fn lines_keep_the_time_as_it_is() {
    let score = RowScore { anomaly_score: 0.25, alarm: true, expected: Some((1.0, 2.0)) };
    assert_eq!(csv_line(&row("2014-04-01 00:00", 1.0), score), "2014-04-01 00:00,0.250000,1\n");
    assert_eq!(csv_line(&row("a,\"b\"", 1.0), score), "\"a,\"\"b\"\"\",0.250000,1\n");
    let line = json_line(&row("7", f64::NAN), score);
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(read["value"], serde_json::Value::Null);
    assert_eq!(read["expected"][1], 2.0);
}

#[test]
fn a_picture_has_each_part_and_survives_any_series() {
    let mut plot = Plot::default();
    assert!(plot.svg("empty").contains("</svg>"));
    for (second, value) in [1.0, f64::NAN, -1e300, 1e300, f64::INFINITY, 5.0].into_iter().enumerate() {
        let score = RowScore { anomaly_score: 0.5, alarm: second == 3, expected: Some((0.0, 1.0)) };
        plot.push(Timestamp::from_seconds(second as i64), value, score);
    }
    let svg = plot.svg("<a&b>");
    assert!(svg.contains("&lt;a&amp;b&gt;") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    for part in ["expected", "alarms", "values", "scores"] {
        let drawn = svg.split_once(&format!("id=\"{part}\" d=\"M")).is_some();
        assert!(drawn, "{part} is not drawn: {svg}");
    }
}
