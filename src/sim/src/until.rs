//! How tests wait for what nobody tells them of.

use std::time::Duration;

/// Looks every 50 ms until there is something; with a paused clock this takes no real time.
///
/// # Panics
/// After two minutes, with `what` it waited for.
#[expect(clippy::panic, reason = "what a test does when it has waited in vain")]
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(120), search).await;
    found.unwrap_or_else(|_| panic!("never: {what}"))
}
