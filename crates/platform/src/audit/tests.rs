//! What the chain proves: every hand that the key's owner did not lead is seen.

use super::*;
use crate::store;
use mlplatform_store::{Mode, Store, query};

use serde_json::json;
use tempfile::TempDir;

struct Chain {
    folder: TempDir,
    store: Store,
    audit: Audit,
}

fn open(folder: &TempDir, fresh: bool) -> Result<Audit, OpenError> {
    Audit::open(&folder.path().join("audit-key"), &folder.path().join("audit-head"), fresh)
}

impl Chain {
    async fn with(rows: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(&folder.path().join("platform.sqlite3")).await.unwrap();
        let audit = open(&folder, true).unwrap();
        let chain = Self { folder, store, audit };
        for _ in 0..rows {
            chain.add(&chain.audit, true).await;
        }
        chain
    }

    async fn add(&self, audit: &Audit, keep: bool) {
        let mut tx = self.store.begin(Mode::Exclusive).await.unwrap();
        let origin = AuditOrigin { address: "127.0.0.1", request_id: "req_1" };
        let event = Event {
            action: "delete_token",
            actor: Some("tok_a"),
            subject: None,
            outcome: Outcome::Done,
            detail: json!({"name": "anna"}),
        };
        let mark = audit.append(&mut tx, 7, origin, event).await.unwrap();
        tx.commit().await.unwrap();
        if keep {
            audit.keep(mark).unwrap();
        }
    }

    async fn verify(&self) -> Result<VerifiedChain, ChainError> {
        self.audit.verify(&mut self.store.read().await.unwrap()).await.unwrap()
    }

    /// As somebody who can write the database, and takes the triggers away first.
    async fn tamper(&self, statement: &'static str) {
        let mut tx = self.store.begin(Mode::Exclusive).await.unwrap();
        for statement in ["DROP TRIGGER audit_is_not_changed", "DROP TRIGGER audit_is_not_removed", statement] {
            query(statement).execute(&mut tx).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn an_honest_chain_is_whole() {
    let chain = Chain::with(5).await;
    assert_eq!(chain.verify().await, Ok(VerifiedChain { rows: 5, gaps: 0 }));
    assert_eq!(Chain::with(0).await.verify().await, Ok(VerifiedChain { rows: 0, gaps: 0 }));
}

#[tokio::test]
async fn every_change_is_seen() {
    for statement in [
        "UPDATE audit SET at = 8 WHERE seq = 3",
        "UPDATE audit SET actor = NULL WHERE seq = 3",
        "UPDATE audit SET actor = 'tok_b' WHERE seq = 3",
        "UPDATE audit SET action = 'delete_tokens' WHERE seq = 3",
        "UPDATE audit SET subject = '' WHERE seq = 3",
        "UPDATE audit SET address = '127.0.0.2' WHERE seq = 3",
        "UPDATE audit SET request_id = 'req_2' WHERE seq = 3",
        "UPDATE audit SET outcome = 'refused' WHERE seq = 3",
        "UPDATE audit SET detail = '{}' WHERE seq = 3",
        "UPDATE audit SET mac = zeroblob(32) WHERE seq = 3",
        // Characters moved from one column into the next.
        "UPDATE audit SET address = address || 'r', request_id = substr(request_id, 2) WHERE seq = 3",
    ] {
        let chain = Chain::with(5).await;
        chain.tamper(statement).await;
        assert_eq!(chain.verify().await, Err(ChainError::Changed(3)), "{statement}");
    }
}

#[tokio::test]
async fn a_removed_row_is_seen() {
    let chain = Chain::with(5).await;
    chain.tamper("DELETE FROM audit WHERE seq = 3").await;
    assert_eq!(chain.verify().await, Err(ChainError::Missing(3)));
    let chain = Chain::with(5).await;
    chain.tamper("DELETE FROM audit WHERE seq = 1").await;
    assert_eq!(chain.verify().await, Err(ChainError::Missing(1)));
    let chain = Chain::with(5).await;
    // With the numbers closed up behind it.
    chain.tamper("DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = seq - 1 WHERE seq > 3").await;
    assert_eq!(chain.verify().await, Err(ChainError::Changed(3)));
}

#[tokio::test]
async fn a_row_before_the_first_is_seen() {
    for seq in ["0", "-7", "-9223372036854775808"] {
        let chain = Chain::with(3).await;
        chain
            .tamper(match seq {
                "0" => "UPDATE audit SET seq = 0 WHERE seq = 1",
                "-7" => {
                    "INSERT INTO audit SELECT -7, at, actor, action, subject, address, request_id, outcome, detail, mac \
                     FROM audit WHERE seq = 2"
                }
                _ => {
                    "INSERT INTO audit SELECT -9223372036854775808, at, actor, action, subject, address, request_id, \
                     outcome, detail, mac FROM audit WHERE seq = 2"
                }
            })
            .await;
        assert_eq!(chain.verify().await, Err(ChainError::Changed(seq.parse().unwrap())));
    }
}

#[tokio::test]
async fn a_store_that_was_emptied_has_a_past() {
    let chain = Chain::with(5).await;
    chain.tamper("DELETE FROM audit").await;
    // The next start finds nothing, and takes it for its first.
    let audit = open(&chain.folder, true).unwrap();
    assert_eq!(chain.verify().await, Err(ChainError::Cut(5)));
    chain.add(&audit, true).await;
    assert_eq!(chain.verify().await, Ok(VerifiedChain { rows: 2, gaps: 1 }));
}

#[tokio::test]
async fn a_cut_tail_is_seen_and_never_forgotten() {
    let chain = Chain::with(5).await;
    chain.tamper("DELETE FROM audit WHERE seq > 3").await;
    assert_eq!(chain.verify().await, Err(ChainError::Cut(5)));
    // The next row would one day hide the cut: so it is written down.
    chain.add(&chain.audit, true).await;
    chain.add(&chain.audit, true).await;
    assert_eq!(chain.verify().await, Ok(VerifiedChain { rows: 6, gaps: 1 }));
    let chain = Chain::with(5).await;
    chain.tamper("DELETE FROM audit").await;
    assert_eq!(chain.verify().await, Err(ChainError::Cut(5)));
}

#[tokio::test]
async fn a_mark_may_lag_but_not_go_missing() {
    let chain = Chain::with(3).await;
    // Killed between the commit and the mark.
    chain.add(&chain.audit, false).await;
    assert_eq!(chain.verify().await, Ok(VerifiedChain { rows: 4, gaps: 0 }));
    chain.add(&chain.audit, true).await;
    assert_eq!(chain.verify().await, Ok(VerifiedChain { rows: 5, gaps: 0 }));
    std::fs::write(chain.folder.path().join("audit-head"), "").unwrap();
    assert_eq!(chain.verify().await, Err(ChainError::NoMark));
    chain.add(&chain.audit, true).await;
    assert_eq!(chain.verify().await, Ok(VerifiedChain { rows: 7, gaps: 1 }));
}

#[tokio::test]
async fn two_writers_make_one_chain() {
    let chain = Chain::with(2).await;
    let other = open(&chain.folder, false).unwrap();
    for _ in 0..3 {
        chain.add(&other, true).await;
        chain.add(&chain.audit, true).await;
    }
    assert_eq!(chain.verify().await, Ok(VerifiedChain { rows: 8, gaps: 0 }));
}

#[tokio::test]
async fn another_key_proves_nothing_and_a_lost_one_is_not_replaced() {
    let chain = Chain::with(2).await;
    std::fs::write(chain.folder.path().join("audit-key"), [7; 32]).unwrap();
    let forged = open(&chain.folder, false).unwrap();
    let verified = forged.verify(&mut chain.store.read().await.unwrap()).await.unwrap();
    assert_eq!(verified, Err(ChainError::Changed(1)));
    std::fs::remove_file(chain.folder.path().join("audit-key")).unwrap();
    assert!(open(&chain.folder, false).err().unwrap().to_string().contains("restore the file"));
    std::fs::write(chain.folder.path().join("audit-key"), [7; 31]).unwrap();
    assert!(open(&chain.folder, true).is_err());
}

#[tokio::test]
async fn rows_cannot_be_changed_by_mistake() {
    let chain = Chain::with(1).await;
    let mut tx = chain.store.begin(Mode::Exclusive).await.unwrap();
    for statement in ["UPDATE audit SET at = 8", "DELETE FROM audit"] {
        let error = query(statement).execute(&mut tx).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}
