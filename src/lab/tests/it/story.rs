//! The demo's story, as `lifeboat demo --once` tells it.

use std::time::Duration;

use lifeboat_lab::story::{self, Answer, Options, Teller, Told};

#[derive(Default)]
struct Lines(Vec<Told>);

impl Teller for Lines {
    fn tell(&mut self, told: &Told) {
        println!(
            "{:>7.2} {:?} {}",
            told.at.as_secs_f64(),
            told.kind,
            told.text
        );
        self.0.push(told.clone());
    }
}

#[test]
fn the_story_of_the_demo_ends_well_within_a_minute() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut lines = Lines::default();
        let story = story::run(&Options::default(), &mut lines)
            .await
            .unwrap_or_else(|e| panic!("{}", e.full()));
        assert!(
            story.all_well(),
            "{:?}",
            story.failures().collect::<Vec<_>>()
        );
        let last = lines.0.last().map(|told| told.at).unwrap_or_default();
        assert!(last < Duration::from_secs(60), "it took {last:?}");
        let file = std::fs::read_to_string(story.demo.kubeconfig().unwrap()).unwrap();
        for context in ["hub", "east", "west", "north"] {
            assert!(
                file.contains(&format!("name: {context}")),
                "no context {context}"
            );
        }
        let Answer::Text(status) = story.demo.command("status").await else {
            panic!("status ended the demo")
        };
        assert!(
            status.iter().any(|l| l.contains("Steady on east")),
            "{status:?}"
        );
        assert_eq!(story.demo.command("quit").await, Answer::Quit);
    });
}
