//! The simulated API server answers as a real one does: one script of requests for both, and every answer compared.
//!
//! The script is in the YAML files of `differential/`; `CONTRIBUTING.md` says how to add a request. It may state that an
//! answer differs, and why; then it must.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::twins::{Side, Twins, lines, story, text::Names};

mod answer;
mod script;

use answer::Answer;
use script::{Step, Variables};

#[tokio::test]
async fn the_simulated_server_answers_every_request_as_a_real_one_does() -> Result<()> {
    let twins = Twins::start().await?;
    let stories = story::all::<Step>("differential")?;
    let told = stories
        .iter()
        .map(|(name, steps)| tell(&twins, name, steps));
    let mut wrong = Vec::new();
    for told in join_all(told).await {
        wrong.extend(told?);
    }
    let count: usize = stories.iter().map(|(_, steps)| steps.len()).sum();
    ensure!(
        wrong.is_empty(),
        "{} of {count} answers differ (- real, + simulated):\n\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// One of the two, with what it has said so far.
struct Teller<'a> {
    side: &'a Side,
    variables: Variables,
    names: Names,
}

impl<'a> Teller<'a> {
    async fn new(side: &'a Side, namespace: &str) -> Result<Self> {
        let teller = Self {
            side,
            variables: Variables::new(namespace),
            names: Names::default(),
        };
        // Pods are refused where there is no account for them. The real server's controller may be the first to make it.
        for (path, body) in [
            (
                "/api/v1/namespaces",
                json!({"metadata": {"name": namespace}}),
            ),
            (
                "$core/serviceaccounts",
                json!({"metadata": {"name": "default"}}),
            ),
        ] {
            let step = serde_json::from_value(
                json!({"ask": format!("POST {path}"), "code": 201, "body": body}),
            )?;
            let made = teller.once(&step).await?;
            ensure!(matches!(made.code, 201 | 409), "{path}: {}", made.body);
        }
        Ok(teller)
    }

    async fn once(&self, step: &Step) -> Result<Answer> {
        let request = step.request(&self.variables)?;
        let response = self.side.client.send(request).await?;
        Answer::read(response).await
    }

    async fn ask(&mut self, step: &Step) -> Result<(u16, Value)> {
        let mut answer = self.once(step).await?;
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        while step.until && answer.code != step.code && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = self.once(step).await?;
        }
        if answer.code == step.code {
            self.variables.save(step, &answer.body)?;
        }
        Ok((answer.code, answer.normal(step, &mut self.names)))
    }
}

/// Gives a story to both; what differs, one text for each answer.
async fn tell(twins: &Twins, name: &str, steps: &[Step]) -> Result<Vec<String>> {
    let namespace = format!("diff-{name}");
    let (real, simulated) = tokio::join!(
        Teller::new(&twins.real, &namespace),
        Teller::new(&twins.simulated, &namespace)
    );
    let (mut real, mut simulated) = (real?, simulated?);
    let mut wrong = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        for teller in [&mut real, &mut simulated] {
            teller.names.turn_to(i + 1);
        }
        let (a, b) = tokio::join!(real.ask(step), simulated.ask(step));
        let what = || format!("{name}.yaml, request {}: {}", i + 1, step.ask);
        let (a, b) = (
            a.with_context(|| format!("{}, real", what()))?,
            b.with_context(|| format!("{}, simulated", what()))?,
        );
        if let Some(difference) = judge(step, a, b) {
            let body = if step.body.is_null() {
                String::new()
            } else {
                format!("  {}\n", step.body)
            };
            let who = if step.user.is_empty() {
                String::new()
            } else {
                format!(" as {}", step.user.join(", "))
            };
            wrong.push(format!("{}{who}\n{body}{difference}", what()));
        }
    }
    Ok(wrong)
}

/// What is wrong with two answers to a request, if anything is.
fn judge(
    step: &Step,
    (code, mut real): (u16, Value),
    (_, mut simulated): (u16, Value),
) -> Option<String> {
    let mut wrong = String::new();
    if code != step.code {
        let _ = writeln!(
            wrong,
            "  the script says {}, the real server {code}",
            step.code
        );
    }
    for stated in &step.differs {
        if cut(&mut real, &stated.at) == cut(&mut simulated, &stated.at) {
            let _ = writeln!(
                wrong,
                "  no longer differs at {:?}: {}",
                stated.at, stated.why
            );
        }
    }
    wrong.push_str(&lines::difference(&shown(&real), &shown(&simulated)));
    (!wrong.is_empty()).then_some(wrong)
}

/// Takes a part out of an answer.
fn cut(v: &mut Value, at: &str) -> Option<Value> {
    let Some((holder, key)) = at.rsplit_once('/') else {
        return Some(v.take());
    };
    v.pointer_mut(holder)?.as_object_mut()?.shift_remove(key)
}

fn shown(v: &Value) -> String {
    serde_json::to_string_pretty(v).unwrap_or_default()
}
