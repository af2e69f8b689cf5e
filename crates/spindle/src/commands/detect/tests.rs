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
    let svg = |plot: &Plot, name: &str| String::from_utf8(plot.draw(name, Format::Svg).unwrap()).unwrap();
    assert!(svg(&plot, "empty").contains("</svg>"));
    for (second, value) in [1.0, f64::NAN, -1e300, 1e300, f64::INFINITY, 5.0].into_iter().enumerate() {
        let score = RowScore { anomaly_score: 0.5, alarm: second == 3, expected: Some((0.0, 1.0)) };
        plot.push(Timestamp::from_seconds(second as i64), value, score);
    }
    let svg = svg(&plot, "<a&b>");
    assert!(svg.contains("&lt;a&amp;b&gt;") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    for part in ["expected", "alarms", "values", "scores"] {
        let drawn = svg.split_once(&format!("id=\"{part}\" d=\"M")).is_some();
        assert!(drawn, "{part} is not drawn: {svg}");
    }
}

/// Each part has its color; the font has the title, whatever the name of the file.
#[test]
fn a_png_has_each_part() {
    let mut plot = Plot::default();
    let colors = |plot: &Plot, name: &str| {
        let file = plot.draw(name, Format::Png).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (2_400, 840));
        let count = |color: [u8; 3]| pixels.chunks_exact(3).filter(|pixel| *pixel == color).count();
        [[0xcf, 0xe3, 0xf7], [0xd6, 0x27, 0x28], [0x1f, 0x4e, 0x79], [0xff, 0x7f, 0x0e], [0, 0, 0]].map(count)
    };
    assert_eq!(colors(&plot, "empty")[..4], [0; 4]);
    for second in 0..500 {
        let value = if second % 100 == 99 { f64::NAN } else { f64::from(second % 7) };
        let score = RowScore { anomaly_score: 0.5, alarm: second == 300, expected: Some((0.0, 9.0)) };
        plot.push(Timestamp::from_seconds(i64::from(second)), value, score);
    }
    let drawn = colors(&plot, "d\u{e9}bit \u{1f680}\u{1b}[31m");
    assert!(drawn.iter().all(|n_pixels| *n_pixels > 500), "{drawn:?}");
}
