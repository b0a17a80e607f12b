//! An unfinished Lifeboat operation: it may hold fences, and no other can start.

use crate::finding::{Evidence, FindingId};

use super::facts_view::FactsView;
use super::symptom::Symptom;

pub(super) fn evaluate(view: &FactsView<'_>) -> Option<Symptom> {
    let pending = view.facts.pending_operation.as_ref()?;
    let id = &pending.id;
    Some(
        Symptom::new(FindingId::OperationPending)
            .about([id])
            .summary(format!("Operation {id}, started {:.0}, is unfinished", pending.started))
            .shown_by([Evidence {
                seen: format!("its last journal entry, {:.0}: {}", pending.last_entry, pending.last),
                source: format!("{}", pending.journal.display()),
            }])
            .manual(
                "continue it with `lifeboat recover resume`, or abandon it as it is with `lifeboat recover abandon`: until \
                 then `lifeboat recover` does not start",
            ),
    )
}
