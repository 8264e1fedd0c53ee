#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pairgate_fuzz::guest_question_built(data));
