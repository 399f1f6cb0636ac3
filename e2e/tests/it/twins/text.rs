//! What must differ between two servers in any text: identifiers, versions, times, addresses.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::{Captures, Regex};

/// Names for what one server made up, by the answer in which it first showed it: the same story gives the same names.
#[derive(Default)]
pub(crate) struct Names {
    known: BTreeMap<String, String>,
    answer: usize,
    counts: BTreeMap<&'static str, usize>,
}

impl Names {
    /// Says which answer the next texts are of.
    pub(crate) fn turn_to(&mut self, answer: usize) {
        self.answer = answer;
        self.counts.clear();
    }

    /// The name of an identifier or version.
    pub(crate) fn of(&mut self, kind: &'static str, made_up: &str) -> String {
        if let Some(name) = self.known.get(made_up) {
            return name.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("<{kind} {}.{count}>", self.answer);
        self.known.insert(made_up.to_owned(), name.clone());
        name
    }

    /// A text with everything made up in it named.
    pub(crate) fn within(&mut self, text: &str) -> String {
        let text = PATCHED.replace_all(text, "Invalid value: \"<object>\"");
        let text = STRUCT.replace_all(&text, "Invalid value: <struct>$1");
        let text = CHANGES.replace_all(&text, "");
        let text = UID.replace_all(&text, |c: &Captures<'_>| self.of("uid", &c[0]));
        let text = TIME.replace_all(&text, "<time>");
        let text = VERSION.replace_all(&text, "$1<version>");
        let text = EXPIRED.replace_all(&text, "too old resource version: <version>");
        let text = ADDRESS.replace_all(&text, "<address>");
        text.into_owned()
    }
}

/// A pattern of ours, which compiles.
#[expect(clippy::expect_used, reason = "a wrong pattern is a wrong test")]
pub(crate) fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of ours")
}

static UID: LazyLock<Regex> =
    LazyLock::new(|| regex("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));
static TIME: LazyLock<Regex> = LazyLock::new(|| regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"));
static VERSION: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(resource version: |current: |ResourceVersion in (?:the precondition|record) \()\d+")
});
static EXPIRED: LazyLock<Regex> =
    LazyLock::new(|| regex(r"too old resource version: <version> \(\d+\)"));
/// The whole object that a patch made, in whatever order.
static PATCHED: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"Invalid value: "(?:\{\\".*\}|map\[.*\])""#));
/// How long ago something was, as tables say it.
pub(crate) static AGE: LazyLock<Regex> = LazyLock::new(|| regex(r"^(\d+[smhdy]){1,2}$"));
/// A value as Go prints it, or as JSON.
static STRUCT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"Invalid value: (?:[a-z]+\.[A-Z]\w+)?\{.*\}(: [^}]*)"));
/// What a change that is refused would have changed, as the real server explains it.
static CHANGES: LazyLock<Regex> = LazyLock::new(|| regex(r"(?s)\n\s+core\.[A-Z]\w+\{.*"));
static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| regex(r"https://127\.0\.0\.1:\d+(/clusters/twin)?|\b10\.96\.\d+\.\d+\b"));
