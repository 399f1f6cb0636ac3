//! Conditions on a watch, with a deadline. A test never sleeps: it says what it waits for, and is told what there was instead.

use std::{fmt::Debug, future::Future, time::Duration};

use anyhow::{Result, bail};
use futures::{Stream, StreamExt, TryStreamExt, pin_mut};
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt, reflector, watcher},
};
use serde::{Serialize, de::DeserializeOwned};

/// Enough for anything a control plane does on a busy two-core machine.
pub const LIMIT: Duration = Duration::from_secs(90);

/// Waits until the object of this name (`None`: there is none) is as `is` wants it, and returns it.
pub async fn until<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    mut is: impl FnMut(Option<&K>) -> bool,
) -> Result<Option<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let seen = watcher::watch_object(api.clone(), name)
        .default_backoff()
        .boxed();
    match first(seen, |k| is(k.as_ref())).await {
        Found::Yes(object) => Ok(object),
        Found::No(last) => bail!(
            "not in time: {what}; {name} is now: {}",
            shown(last.as_ref())
        ),
    }
}

/// Waits until an object of this name is there and as `is` wants it.
pub async fn until_some<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    mut is: impl FnMut(&K) -> bool,
) -> Result<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    match until(api, name, what, |k| k.is_some_and(&mut is)).await? {
        Some(object) => Ok(object),
        None => bail!("{what}: {name} is not there"),
    }
}

/// Waits until the object of this name is gone.
pub async fn until_gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    until(api, name, "it is gone", |k| k.is_none())
        .await
        .map(drop)
}

/// Waits until the objects of this kind, ordered by namespace and name, are as `is` wants them, and returns them.
pub async fn until_list<K>(
    api: &Api<K>,
    what: &str,
    mut is: impl FnMut(&[K]) -> bool,
) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static,
{
    let (reader, writer) = reflector::store::<K>();
    let now = move || {
        let mut all: Vec<K> = reader.state().iter().map(|k| K::clone(k)).collect();
        all.sort_by_key(|k| (k.meta().namespace.clone(), k.meta().name.clone()));
        all
    };
    let events = watcher(api.clone(), watcher::Config::default()).default_backoff();
    let mut complete = false;
    let lists = reflector(writer, events).try_filter_map(move |event| {
        // A list is complete only once the watch has said so; before that every count would be too low.
        complete |= matches!(event, watcher::Event::InitDone);
        std::future::ready(Ok(complete.then(&now)))
    });
    match first(lists.boxed(), |l| is(l)).await {
        Found::Yes(list) => Ok(list),
        Found::No(last) => bail!(
            "not in time: {what}; the list is now: {}",
            shown(last.as_ref())
        ),
    }
}

/// Asks again, ten times a second, until the answer is `Some`: for what cannot be watched.
pub async fn until_answer<T, F>(what: &str, ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    until_answer_every(Duration::from_millis(100), what, ask).await
}

/// The same with another time between two questions, where asking takes more than a moment.
pub async fn until_answer_every<T, F>(
    pause: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let end = tokio::time::Instant::now() + LIMIT;
    let mut last = String::from("no answer yet");
    while tokio::time::Instant::now() < end {
        match tokio::time::timeout_at(end, ask()).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => "not yet".clone_into(&mut last),
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => "the last try did not return".clone_into(&mut last),
        }
        tokio::time::sleep(pause).await;
    }
    bail!("not in time: {what}; {last}")
}

enum Found<T> {
    Yes(T),
    No(Option<T>),
}

/// The first state that fits, or the last one there was. Errors are passed over: the stream tries again by itself.
async fn first<T>(
    states: impl Stream<Item = Result<T, watcher::Error>>,
    mut is: impl FnMut(&T) -> bool,
) -> Found<T> {
    pin_mut!(states);
    let mut last = None;
    let search = async {
        while let Some(next) = states.next().await {
            let Ok(state) = next else { continue };
            if is(&state) {
                return Some(state);
            }
            last = Some(state);
        }
        None
    };
    match tokio::time::timeout(LIMIT, search).await {
        Ok(Some(state)) => Found::Yes(state),
        Ok(None) | Err(_) => Found::No(last),
    }
}

fn shown(what: Option<&impl Serialize>) -> String {
    match what.map(serde_json::to_string) {
        None => String::from("never seen"),
        Some(Ok(json)) => json,
        Some(Err(error)) => error.to_string(),
    }
}
