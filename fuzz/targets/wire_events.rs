//! Arbitrary bytes as the payload of an events message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spindle_core::wire::{self, Decoded};
use spindle_fuzz::is_accounted_for;

fuzz_target!(|payload: &[u8]| {
    let decoded = wire::decode_events(payload);
    is_accounted_for(payload, &decoded);
    let n_elements = decoded.items.len() + decoded.rejected.len();
    let (mut items, mut rejected) = (decoded.items.iter(), decoded.rejected.iter().peekable());
    let elements = wire::elements(payload);
    for index in 0..n_elements {
        let Some(element) = elements.get(index) else { return };
        match rejected.next_if(|rejected| rejected.index == index) {
            // An array on its own is a payload.
            Some(_) if element.trim_start().starts_with('[') => {}
            Some(rejected) => assert_eq!(wire::decode_events(element.as_bytes()).rejected[0].error, rejected.error),
            None => {
                let event = items.next().expect("one per element");
                let whole = Decoded { items: vec![event.clone()], rejected: vec![] };
                assert_eq!(wire::decode_events(element.as_bytes()), whole, "the same alone and in an array");
                assert_eq!(wire::decode_events(&wire::encode_event(event)), whole, "encoded events decode to the same");
            }
        }
    }
});
