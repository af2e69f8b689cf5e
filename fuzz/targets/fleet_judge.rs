//! Arbitrary bytes as the saved state of the fleet's judge, and any valid metrics and events: no panic, the same input
//! gives the same events, and a restored judge continues as the saved one.

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use spindle_core::judge::FleetJudge;
use spindle_core::{Event, Timestamp, wire};
use spindle_fuzz::{is_one_line, made};

/// Magnitudes of values. Numbers of more than 256 digits fit no label, so that notes about them are not sent.
const MIN: f64 = 1e-50;
const MAX: f64 = 1e100;

fuzz_target!(|input: &[u8]| {
    match FleetJudge::restore(input) {
        Ok(judge) => {
            let saved = save(&judge);
            let again = FleetJudge::restore(&saved[..]).expect("a saved judge is restored");
            assert_eq!(save(&again), saved);
        }
        Err(error) => drop(is_one_line(error)),
    }
    let mut input = Unstructured::new(input);
    let mut judge = FleetJudge::default();
    feed(&mut judge, &mut input, 8);
    let saved = save(&judge);
    let mut restored = FleetJudge::restore(&saved[..]).expect("a saved judge is restored");
    assert_eq!(save(&restored), saved);
    let mut damaged = saved.clone();
    for _ in 0..4 {
        let (place, byte): (usize, u8) = (input.arbitrary().unwrap_or(0), input.arbitrary().unwrap_or(0));
        let place = place % damaged.len();
        damaged[place] = byte;
        if let Err(error) = FleetJudge::restore(&damaged[..]) {
            is_one_line(error);
        }
    }
    let mut rest = Unstructured::new(input.take_rest());
    let mut other = Unstructured::new(rest.peek_bytes(rest.len()).unwrap_or_default());
    assert_eq!(feed(&mut judge, &mut rest, 64), feed(&mut restored, &mut other, 64), "a restored judge continues");
    assert_eq!(save(&restored), save(&judge));
});

fn save(judge: &FleetJudge) -> Vec<u8> {
    let mut bytes = Vec::new();
    judge.save(&mut bytes).expect("memory takes all bytes");
    bytes
}

/// Feeds metrics and events until the input ends; returns the events made.
fn feed(judge: &mut FleetJudge, input: &mut Unstructured<'_>, most: usize) -> Vec<Event> {
    for _ in 0..most {
        let Ok((choice, received)) = input.arbitrary::<(u8, i64)>() else { break };
        let received = Timestamp::from_ns(received);
        match choice % 4 {
            0 => judge.advance(received),
            1 => {
                let Ok(event) = made::event(input) else { break };
                judge.event(&event, received);
            }
            _ => {
                let Ok(mut metric) = made::metric(input) else { break };
                if !(MIN..MAX).contains(&metric.value.abs()) {
                    metric.value = 0.0;
                }
                // A series of some rows, so that it has more than a first one.
                for row in 0..choice {
                    metric.timestamp =
                        Timestamp::from_ns(metric.timestamp.as_ns().saturating_add(i64::from(row) << 33));
                    judge.metric(&metric, received);
                }
            }
        }
    }
    let made = judge.take();
    for event in &made {
        let decoded = wire::decode_events(&wire::encode_event(event));
        assert_eq!(decoded.items, std::slice::from_ref(event), "the wire format accepts every event that is made");
    }
    made
}
