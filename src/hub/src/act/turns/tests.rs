//! Turns: so many at once, in the order of coming, and nobody is kept waiting by one who does not come.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

struct Told {
    turns: Turns,
    woken: Arc<Mutex<Vec<String>>>,
}

impl Told {
    fn new() -> Self {
        let woken: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = woken.clone();
        let wake: WakePlacement = Arc::new(move |key: PlacementKey| log.lock().push(key.name));
        let turns = Turns::new(wake);
        Self { turns, woken }
    }

    fn take(&self, cluster: &str, name: &str) -> Result<Turn, Crowded> {
        self.turns.take(&ClusterId::new(cluster), &key(name))
    }

    /// Everybody's turn on `east` is taken.
    fn crowd(&self) -> Vec<Turn> {
        let taken = (0..TURNS).map(|n| self.take("east", &format!("early-{n}")));
        taken.collect::<Result<_, _>>().unwrap()
    }

    fn woken(&self) -> Vec<String> {
        std::mem::take(&mut *self.woken.lock())
    }
}

fn key(name: &str) -> PlacementKey {
    PlacementKey {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_at_once_and_each_cluster_has_its_own() {
    let t = Told::new();
    let taken = t.crowd();
    let crowded = t.take("east", "late").err().unwrap();
    assert_eq!(
        crowded.why,
        "waits for its turn on east: 16 steps are under way there"
    );
    assert!(t.take("west", "late").is_ok());
    drop(taken);
    assert!(t.take("east", "late").is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_came_first_is_woken_first_and_only_as_many_as_there_are_turns() {
    let t = Told::new();
    let mut taken = t.crowd();
    for name in ["a", "b", "c", "a"] {
        assert!(t.take("east", name).is_err());
    }
    taken.pop();
    assert_eq!(t.woken(), ["a"]);
    let a = t.take("east", "a").unwrap();
    assert!(t.take("east", "c").is_err());
    drop(a);
    assert_eq!(t.woken(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn one_whose_turn_was_taken_by_another_keeps_its_place_and_its_time() {
    let t = Told::new();
    let mut taken = t.crowd();
    for name in ["a", "b"] {
        assert!(t.take("east", name).is_err());
    }
    tokio::time::advance(Duration::from_secs(3)).await;
    taken.pop();
    let quicker = t.take("east", "quicker").unwrap();
    let again = t.take("east", "a").err().unwrap();
    assert_eq!(again.waited, Duration::from_secs(3));
    t.woken();
    drop(quicker);
    assert_eq!(t.woken(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn one_who_does_not_come_keeps_nobody_waiting() {
    let t = Told::new();
    let mut taken = t.crowd();
    for name in ["gone", "b"] {
        assert!(t.take("east", name).is_err());
    }
    taken.pop();
    assert_eq!(t.woken(), ["gone"]);
    taken.pop();
    assert_eq!(t.woken(), ["b"]);
}
