use crate::{
    Registry,
    store::{AUDIT_PAGE_LEN_MAX, StoreError},
};
use pairgate_api::{audit::Page, rest::AuditQuery};

/// Rows in an answer if nobody says how many.
const PAGE_LEN: u32 = 100;

impl Registry {
    pub async fn list_audit(&self, query: AuditQuery) -> Result<Page, StoreError> {
        let limit = query.limit.unwrap_or(PAGE_LEN).clamp(1, AUDIT_PAGE_LEN_MAX);
        let (after, since_unix_ms) = (query.after.unwrap_or(0), query.since_unix_ms.unwrap_or(0));
        self.store
            .read(move |view| view.audit(after, since_unix_ms, limit))
            .await
    }
}
