//! Arbitrary bytes as the payload of a metrics message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spindle_core::DeviceMetric;
use spindle_core::wire::{self, Decoded};
use spindle_fuzz::is_accounted_for;

fuzz_target!(|payload: &[u8]| {
    let decoded = wire::decode_metrics(payload);
    is_accounted_for(payload, &decoded);
    survives_the_wire(&decoded.items);
    let n_elements = decoded.items.len() + decoded.rejected.len();
    let (mut items, mut rejected) = (decoded.items.iter(), decoded.rejected.iter().peekable());
    let elements = wire::elements(payload);
    for index in 0..n_elements {
        let Some(element) = elements.get(index) else { return };
        match rejected.next_if(|rejected| rejected.index == index) {
            // An array on its own is a payload.
            Some(_) if element.trim_start().starts_with('[') => {}
            Some(rejected) => assert_eq!(wire::decode_metrics(element.as_bytes()).rejected[0].error, rejected.error),
            None => is_the_same_either_way(element, items.next().expect("one per element")),
        }
    }
});

/// Decoded metrics survive encoding and decoding bit for bit.
fn survives_the_wire(metrics: &[DeviceMetric]) {
    let again = wire::decode_metrics(&wire::encode_metrics(metrics));
    assert_eq!(again, Decoded { items: metrics.to_vec(), rejected: vec![] });
    let bits = |metrics: &[DeviceMetric]| metrics.iter().map(|metric| metric.value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&again.items), bits(metrics));
}

/// An element decodes to the same alone and in an array, also with an unknown key, which takes the slow path.
fn is_the_same_either_way(element: &str, metric: &DeviceMetric) {
    let longer = element.replacen('{', "{\"unknown\":null,", 1);
    for text in [element, &longer] {
        assert_eq!(wire::decode_metrics(text.as_bytes()), Decoded { items: vec![metric.clone()], rejected: vec![] });
    }
}
