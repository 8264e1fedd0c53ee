//! What the operator's command reads: files, its command line, and the answers of registry and agent.

use pairgate_api::{audit, local, rest};
use pairgate_cli::read;

pub(crate) fn desired_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(faults) = read::desired(text) {
        assert!(!faults.is_empty(), "refused without a word");
        let lines = text.lines().count().max(1);
        for fault in faults {
            let line = fault
                .strip_prefix("line ")
                .and_then(|rest| rest.split(':').next()?.parse().ok());
            // An error at the very end stands behind the last line.
            assert!(
                line.is_some_and(|line: usize| (1..=lines + 1).contains(&line)),
                "{fault}"
            );
        }
    }
}

pub(crate) fn command_and_answers(data: &[u8]) {
    let _ = serde_json::from_slice::<local::AgentStatus>(data);
    let _ = serde_json::from_slice::<local::Drops>(data);
    let _ = serde_json::from_slice::<rest::Status>(data);
    let _ = serde_json::from_slice::<rest::Denial>(data);
    let _ = serde_json::from_slice::<rest::Problem>(data);
    if let Ok(page) = serde_json::from_slice::<audit::Page>(data) {
        let mut chain = audit::Chain::default();
        let taken = page.rows.iter().take_while(|row| chain.take(row).is_ok()).count();
        assert_eq!(
            chain.number(),
            u64::try_from(taken).unwrap(),
            "a row was passed over"
        );
        let _ = chain.end(&page.head);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = read::noted(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    if let Err(code) = read::command_line(&words) {
        // 0 for help and version.
        assert!(code == 0 || code == 2, "{code}");
    }
}
