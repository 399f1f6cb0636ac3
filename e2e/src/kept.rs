//! What tests stand on and is expensive to make: made once, lent to one test after another, and made anew after one that failed.

use std::{
    pin::Pin,
    sync::{Mutex, OnceLock, PoisonError},
};

use anyhow::Result;

/// What a test is: it borrows the ground until it ends.
pub type Story<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// The ground of all tests of a program. One runtime serves them all: children, sockets and tasks live in it, and must outlive the
/// test that made them.
pub struct Kept<T> {
    runtime: OnceLock<tokio::runtime::Runtime>,
    ground: Mutex<Option<T>>,
}

impl<T> Kept<T> {
    /// Nothing yet.
    #[expect(clippy::new_without_default, reason = "const, for a static")]
    pub const fn new() -> Self {
        Self {
            runtime: OnceLock::new(),
            ground: Mutex::new(None),
        }
    }

    /// Runs a test on the ground, alone. The ground stays for the next one if the test ended well.
    ///
    /// # Errors
    /// Those of `make` and of the test.
    pub fn lend(
        &self,
        make: impl AsyncFnOnce() -> Result<T>,
        test: impl for<'a> FnOnce(&'a mut T) -> Story<'a>,
    ) -> Result<()> {
        let runtime = if let Some(runtime) = self.runtime.get() {
            runtime
        } else {
            let runtime = tokio::runtime::Runtime::new()?;
            self.runtime.get_or_init(|| runtime)
        };
        let mut kept = self.ground.lock().unwrap_or_else(PoisonError::into_inner);
        runtime.block_on(async {
            let mut ground = match kept.take() {
                Some(ground) => ground,
                None => make().await?,
            };
            test(&mut ground).await?;
            *kept = Some(ground);
            Ok(())
        })
    }
}
