//! Settings that follow their transaction: SET is undone by ROLLBACK, SET LOCAL by any end, both by ROLLBACK TO.
//!
//! What the settings were at the begin of the block and at each savepoint is kept from the first SET behind it on; a block without SET costs nothing.

use crate::settings::Settings;

/// The settings at one moment, and what they would be after COMMIT when SET LOCAL makes that another thing.
#[derive(Clone, Debug)]
struct Saved {
    settings: Settings,
    lasting: Option<Settings>,
}

/// The settings' history within a block.
#[derive(Debug, Default)]
pub struct SettingsScope {
    /// The block, then its savepoints; with what was there when the level began, once something was set in it.
    levels: Vec<Option<Saved>>,
    lasting: Option<Settings>,
}

impl SettingsScope {
    /// A block or a savepoint begins.
    pub fn begin(&mut self) {
        self.levels.push(None);
    }

    /// Changes settings: those that last, or only what is left of the block.
    pub fn change<E>(&mut self, settings: &mut Settings, local: bool, change: impl Fn(&mut Settings) -> Result<(), E>) -> Result<(), E> {
        if self.levels.is_empty() {
            return change(settings);
        }
        let before = Saved { settings: settings.clone(), lasting: self.lasting.clone() };
        change(settings)?;
        if local {
            self.lasting.get_or_insert_with(|| before.settings.clone());
        } else if let Some(lasting) = &mut self.lasting {
            change(lasting)?;
        }
        for level in self.levels.iter_mut().filter(|level| level.is_none()) {
            *level = Some(before.clone());
        }
        Ok(())
    }

    /// Goes back to what was there when the savepoint of that place (from 0) began.
    pub fn roll_back_to(&mut self, savepoint: usize, settings: &mut Settings) {
        let level = savepoint + 1;
        self.levels.truncate(level + 1);
        if let Some(saved) = self.levels.get_mut(level).and_then(Option::take) {
            *settings = saved.settings;
            self.lasting = saved.lasting;
        }
    }

    /// Forgets the savepoints from that place on.
    pub fn release(&mut self, savepoint: usize) {
        self.levels.truncate(savepoint + 1);
    }

    /// The block ends.
    pub fn end(&mut self, committed: bool, settings: &mut Settings) {
        let first = self.levels.drain(..).next().flatten();
        match (committed, first) {
            (true, _) => {
                if let Some(lasting) = self.lasting.take() {
                    *settings = lasting;
                }
            }
            (false, Some(before)) => *settings = before.settings,
            (false, None) => {}
        }
        self.lasting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(scope: &mut SettingsScope, settings: &mut Settings, local: bool, value: &str) {
        scope.change(settings, local, |settings| settings.set("application_name", value)).unwrap();
    }

    fn shown(settings: &Settings) -> String {
        settings.show("application_name").unwrap()
    }

    #[test]
    fn a_rollback_goes_back_and_a_commit_drops_what_was_local() {
        for (committed, expected) in [(true, "set"), (false, "before")] {
            let (mut scope, mut settings) = (SettingsScope::default(), Settings::new("u", "d"));
            set(&mut scope, &mut settings, false, "before");
            scope.begin();
            set(&mut scope, &mut settings, false, "set");
            set(&mut scope, &mut settings, true, "local");
            assert_eq!(shown(&settings), "local");
            scope.end(committed, &mut settings);
            assert_eq!(shown(&settings), expected);
        }
    }

    #[test]
    fn savepoints_nest() {
        let (mut scope, mut settings) = (SettingsScope::default(), Settings::new("u", "d"));
        scope.begin();
        set(&mut scope, &mut settings, true, "a");
        scope.begin();
        scope.begin();
        set(&mut scope, &mut settings, false, "b");
        scope.roll_back_to(1, &mut settings);
        assert_eq!(shown(&settings), "a");
        set(&mut scope, &mut settings, false, "c");
        scope.release(0);
        assert_eq!(shown(&settings), "c");
        scope.end(true, &mut settings);
        assert_eq!(shown(&settings), "c");
    }
}
