//! Order, backoff and exclusion of the work queue, under a paused clock.

use super::*;

fn queue(keys: &[&'static str]) -> WorkQueue<&'static str> {
    let queue = WorkQueue::new();
    for key in keys {
        queue.wake(*key);
    }
    queue
}

#[tokio::test(start_paused = true)]
async fn keys_come_in_the_order_they_were_woken_and_once() {
    let queue = queue(&["c", "a", "b", "a", "c"]);
    assert_eq!(
        [queue.next().await, queue.next().await, queue.next().await],
        ["c", "a", "b"]
    );
    assert!(
        tokio::time::timeout(Duration::from_secs(60), queue.next())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_woken_during_work_comes_again_only_after_it() {
    let queue = queue(&["a"]);
    assert_eq!(queue.next().await, "a");
    queue.wake("a");
    queue.wake("a");
    assert!(
        tokio::time::timeout(Duration::from_secs(1), queue.next())
            .await
            .is_err()
    );
    queue.done(&"a");
    assert_eq!(queue.next().await, "a");
    queue.done(&"a");
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_alarms_the_earlier_counts_and_work_clears_them() {
    let queue = WorkQueue::new();
    let start = Instant::now();
    queue.wake_after("a", Duration::from_secs(30));
    queue.wake_after("a", Duration::from_secs(5));
    queue.wake_after("a", Duration::from_secs(9));
    assert_eq!(queue.next().await, "a");
    assert_eq!(start.elapsed().as_secs(), 5);
    queue.done(&"a");
    assert!(
        tokio::time::timeout(Duration::from_secs(60), queue.next())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn an_alarm_set_while_waiting_is_heard() {
    let queue = WorkQueue::new();
    queue.wake_after("late", Duration::from_secs(100));
    let other = queue.clone();
    let waiter = crate::task::spawn(
        "waiter",
        async move { (other.next().await, other.next().await) },
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    queue.wake_after("soon", Duration::from_secs(1));
    assert_eq!(waiter.join().await.unwrap(), ("soon", "late"));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_key_does_not_come() {
    let queue = queue(&["a", "b"]);
    queue.wake_after("a", Duration::from_secs(1));
    queue.forget(&"a");
    assert_eq!(queue.next().await, "b");
    assert!(
        tokio::time::timeout(Duration::from_secs(60), queue.next())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_forgotten_by_its_own_work_comes_again_if_it_was_woken_meanwhile() {
    let queue = queue(&["a"]);
    let key = queue.next().await;
    // Another object of that name is made, right after the work found none.
    queue.wake("a");
    queue.forget(&key);
    queue.finish(&key, Next::Wait, 0);
    let soon = tokio::time::timeout(Duration::from_secs(1), queue.next());
    assert_eq!(soon.await, Ok("a"));
    queue.forget(&key);
    queue.finish(&key, Next::Wait, 0);
    assert!(queue.is_empty(), "one more look, and no more");
}

type Log = Arc<Mutex<Vec<(u128, &'static str)>>>;

async fn run_for(
    queue: WorkQueue<&'static str>,
    seconds: u64,
    log: Log,
    next: impl Fn(&str) -> Next,
) {
    let cancel = CancellationToken::new();
    let start = Instant::now();
    let stop = cancel.clone();
    let alarm = crate::task::spawn("alarm", async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.cancel();
    });
    run_queue(queue, 4, cancel, |key| {
        log.lock().push((start.elapsed().as_millis(), key));
        let next = next(key);
        async move { next }
    })
    .await;
    drop(alarm);
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_with_a_cap_and_a_wake_cuts_them_short() {
    let log = Log::default();
    run_for(queue(&["a"]), 300, log.clone(), |_| Next::Failed).await;
    let times: Vec<u128> = log.lock().iter().map(|(at, _)| *at).collect();
    let gaps: Vec<u128> = times.windows(2).map(|w| w[1] - w[0]).collect();
    assert!((160..=201).contains(&gaps[0]), "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= 30_001), "{gaps:?}");
    assert!(
        gaps.iter().rev().take(3).all(|gap| *gap >= 24_000),
        "{gaps:?}"
    );

    let again = Log::default();
    run_for(queue(&["a"]), 300, again.clone(), |_| Next::Failed).await;
    assert_eq!(
        *log.lock(),
        *again.lock(),
        "the same run twice gives the same times"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_harms_only_its_own_key() {
    let log = Log::default();
    let cancel = CancellationToken::new();
    let (queue, stop, seen) = (queue(&["bad", "good"]), cancel.clone(), log.clone());
    run_queue(queue.clone(), 1, cancel, move |key| {
        let (stop, seen) = (stop.clone(), seen.clone());
        async move {
            seen.lock().push((0, key));
            if seen.lock().len() == 4 {
                stop.cancel();
            }
            assert!(key != "bad", "seen in the test");
            Next::After(Duration::from_secs(1))
        }
    })
    .await;
    let keys: Vec<&str> = log.lock().iter().map(|(_, key)| *key).collect();
    assert_eq!(keys, ["bad", "good", "bad", "bad"]);
}

#[tokio::test(start_paused = true)]
async fn one_key_is_never_worked_on_twice_at_once() {
    let queue = queue(&["a"]);
    let cancel = CancellationToken::new();
    let running = Arc::new(Mutex::new((0_u32, 0_u32)));
    let (waker, stop, count) = (queue.clone(), cancel.clone(), running.clone());
    run_queue(queue, 8, cancel, move |key| {
        let (waker, stop, count) = (waker.clone(), stop.clone(), count.clone());
        async move {
            {
                let mut count = count.lock();
                count.0 += 1;
                count.1 += 1;
                assert_eq!(count.0, 1);
                if count.1 == 5 {
                    stop.cancel();
                }
            }
            waker.wake(key);
            tokio::time::sleep(Duration::from_secs(1)).await;
            count.lock().0 -= 1;
            Next::Wait
        }
    })
    .await;
    assert_eq!(*running.lock(), (0, 5));
}
