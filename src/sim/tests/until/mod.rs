//! How the tests of this crate wait for what nobody tells them of.

use std::time::Duration;

/// Looks again and again until there is something; panics after two minutes.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
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
