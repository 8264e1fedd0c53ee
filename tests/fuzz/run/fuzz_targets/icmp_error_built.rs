#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pairgate_fuzz::icmp_error_built(data));
