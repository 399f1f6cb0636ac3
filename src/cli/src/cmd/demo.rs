//! `lifeboat demo`.

use std::io::IsTerminal;
use std::path::PathBuf;

use lifeboat_kit::shutdown;
use lifeboat_kit::telemetry::{self, LogFormat};
use lifeboat_lab::story::{self, Answer, Demo, Kind, Options, Story, Teller, Told};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::output::{print, say};

/// Flags of the demonstration.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DemoArgs {
    /// End after the story: with 0 if all went well, with 1 otherwise.
    #[arg(long)]
    once: bool,
    /// Plain lines, without colours, even on a terminal.
    #[arg(long)]
    plain: bool,
    /// Where to write the kubeconfig of the simulated clusters [default: somewhere temporary].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Show the log of hub and agents too, such as `info` or `lifeboat_hub=debug`.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// How the story looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Colour,
}

/// Tells the story, and then lets people play with what is left of the world.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let log = args
        .log
        .as_deref()
        .map(|filter| telemetry::init("lifeboat-demo", LogFormat::Text, filter));
    let _log = log
        .transpose()
        .map_err(|e| Failure::Usage(lifeboat_kit::error::full(&e)))?;
    let (cancel, _signals) = shutdown::on_signals().map_err(|source| Failure::Io {
        what: "listen for signals",
        source,
    })?;
    let look = if args.plain || !std::io::stdout().is_terminal() {
        Look::Plain
    } else {
        Look::Colour
    };
    let mut screen = Screen { look, broken: None };
    let options = Options {
        kubeconfig: args.kubeconfig,
    };
    let told = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(Failure::Refused("interrupted before the end of the story".to_owned())),
        told = story::run(&options, &mut screen) => told,
    };
    if let Some(failure) = screen.broken {
        return Err(failure);
    }
    let story = told.map_err(|e| Failure::program("demonstration", e))?;
    print(&ending(&story))?;
    if args.once {
        let failed = story.failures().count();
        return if story.all_well() {
            Ok(())
        } else {
            Err(Failure::Refused(format!(
                "{failed} of the story's claims did not hold"
            )))
        };
    }
    play(story.demo, &mut screen, &cancel).await
}

/// The last words of the story.
fn ending(story: &Story) -> String {
    if story.all_well() {
        return format!("\nAll {} claims of the story held.\n", story.checks.len());
    }
    let failures = story.failures().map(|c| {
        format!(
            "  {}: {}\n",
            c.what,
            c.failed.as_deref().unwrap_or("not shown")
        )
    });
    format!("\nNot all went well:\n{}", failures.collect::<String>())
}

/// Takes commands until told to stop. Without anybody who types, the world just lives on.
async fn play(
    mut demo: Demo,
    screen: &mut Screen,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    if let Some(path) = demo.kubeconfig() {
        print(&format!(
            "\nThe clusters are still up. In another terminal:\n\n  export KUBECONFIG={}\n  lifeboat status -A --context hub\n",
            path.display()
        ))?;
    }
    print(
        "\nType a command: kill west, revive west, relocate west, failover west, status, help, quit (or press Ctrl-C).\n",
    )?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut listening = true;
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            line = lines.next_line(), if listening => {
                let line = line.map_err(|source| Failure::Io { what: "read a command", source })?;
                let Some(line) = line else {
                    listening = false;
                    say("nobody types any more; the clusters stay up until this process is asked to stop");
                    continue;
                };
                match demo.command(&line).await {
                    Answer::Text(lines) => print(&format!("{}\n", lines.join("\n")))?,
                    Answer::Quit => return Ok(()),
                }
            }
            news = demo.next() => {
                for told in &news {
                    screen.tell(told);
                }
                if let Some(failure) = screen.broken.take() {
                    return Err(failure);
                }
            }
        }
    }
}

/// Tells to standard output.
struct Screen {
    look: Look,
    /// Why nothing can be told any more.
    broken: Option<Failure>,
}

impl Teller for Screen {
    fn tell(&mut self, told: &Told) {
        if self.broken.is_none() {
            self.broken = print(&line(told, self.look)).err();
        }
    }
}

/// One line of the story.
fn line(told: &Told, look: Look) -> String {
    let at = told.at.as_secs_f64();
    let (mark, colour) = match told.kind {
        Kind::Chapter => return chapter(&told.text, look),
        Kind::Deed => ("do  ", "35"),
        Kind::Hub => ("hub ", "36"),
        Kind::Storage => ("disk", "34"),
        Kind::Measure => ("=   ", "33"),
        Kind::Good => ("ok  ", "32"),
        Kind::Bad => ("BAD ", "31"),
        Kind::Note => ("    ", "2"),
    };
    match look {
        Look::Plain => format!("{at:>7.1}s  {mark}  {}\n", told.text),
        Look::Colour => format!(
            "\x1b[2m{at:>7.1}s\x1b[0m  \x1b[{colour}m{mark}  {}\x1b[0m\n",
            told.text
        ),
    }
}

fn chapter(text: &str, look: Look) -> String {
    match look {
        Look::Plain => format!("\n== {text}\n"),
        Look::Colour => format!("\n\x1b[1m== {text}\x1b[0m\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn plain_lines_have_a_time_a_mark_and_no_colours() {
        let told = |kind, text: &str| Told {
            at: Duration::from_millis(12_340),
            kind,
            text: text.to_owned(),
        };
        assert_eq!(
            line(&told(Kind::Good, "it holds"), Look::Plain),
            "   12.3s  ok    it holds\n"
        );
        assert_eq!(
            line(&told(Kind::Chapter, "A move"), Look::Plain),
            "\n== A move\n"
        );
        assert!(line(&told(Kind::Bad, "no"), Look::Colour).contains("\x1b[31m"));
    }
}
