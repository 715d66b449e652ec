//! Who may run beside whom. Most tests share the machine; one that measures wants it alone.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// Held by a test that other tests do not disturb.
pub fn in_company() -> RwLockReadGuard<'static, ()> {
    // A failed test leaves nothing behind that could spoil the next.
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a test that measures.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}
