//! What people and tools read off a VolumeReplication: what it tells of its present spec, in one line.

use serde_json::Value;

/// It may be written here.
pub const PRIMARY: &str =
    "Primary, Completed True Promoted, Degraded False Healthy, Resyncing False NotResyncing";
/// Handed over: all that was written is on both sides, and nobody writes.
pub const DRAINED: &str =
    "Secondary, Completed True Demoted, Degraded False Healthy, Resyncing False NotResyncing";
/// A copy that is not drained: it follows a primary, or is still to be made anew.
pub const COPY: &str = "Secondary, Completed True Demoted, Degraded True VolumeDegraded, Resyncing True ResyncTriggered";

/// State, Completed, Degraded and Resyncing of a VolumeReplication, as far as they are of its present generation.
pub fn told(vr: &Value) -> String {
    let text = |v: &Value, at: &str| {
        let text = v.pointer(at).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let generation = vr.pointer("/metadata/generation");
    let current = |v: &Value, at: &str| generation.is_some() && v.pointer(at) == generation;
    if !current(vr, "/status/observedGeneration") {
        return "nothing of this spec".to_owned();
    }
    let conditions = vr.pointer("/status/conditions").and_then(Value::as_array);
    let condition = |kind: &str| {
        let mut all = conditions.into_iter().flatten();
        match all.find(|c| text(c, "/type") == kind) {
            Some(c) if current(c, "/observedGeneration") => {
                format!("{kind} {} {}", text(c, "/status"), text(c, "/reason"))
            }
            Some(_) | None => format!("{kind} not told"),
        }
    };
    let words = ["Completed", "Degraded", "Resyncing"].map(condition);
    format!("{}, {}", text(vr, "/status/state"), words.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_of_the_present_spec_is_told() {
        let condition = |kind: &str, status: &str, reason: &str, generation: i64| json!({"type": kind, "status": status, "reason": reason, "observedGeneration": generation});
        let mut vr = json!({"metadata": {"generation": 2}, "status": {"state": "Primary", "observedGeneration": 2,
            "conditions": [condition("Completed", "True", "Promoted", 2), condition("Degraded", "False", "Healthy", 2),
                condition("Resyncing", "False", "NotResyncing", 2)]}});
        assert_eq!(told(&vr), PRIMARY);
        vr["status"]["conditions"][1]["observedGeneration"] = json!(1);
        assert_eq!(
            told(&vr),
            "Primary, Completed True Promoted, Degraded not told, Resyncing False NotResyncing"
        );
        vr["status"]["observedGeneration"] = json!(1);
        assert_eq!(told(&vr), "nothing of this spec");
    }
}
