//! The section `[[sink]]`. The settings of a sink and their checks are in `livetrail-sinks`.

use livetrail_settings::Bounds;

use super::{
    Sink,
    section::{Section, Wrong},
};

impl Section for Vec<Sink> {
    fn bounds(&self, list: &mut Bounds) {
        let cost = ": each has a thread, and two batches in memory";
        list.number("", self.len(), 0, 32, cost);
        for (i, sink) in self.iter().enumerate() {
            list.section(&format!("[{i}]"), |list| sink.bounds(list));
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        for (i, sink) in self.iter().enumerate() {
            if let Some((key, problem)) = sink.wrong() {
                return Err(Wrong::new(format!("[{i}].{key}"), problem));
            }
            let mut earlier = self.iter().take(i);
            if let Some((key, problem)) = earlier.find_map(|earlier| sink.collision(earlier)) {
                return Err(Wrong::new(format!("[{i}].{key}"), problem));
            }
        }
        Ok(())
    }
}
