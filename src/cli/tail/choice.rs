//! The newest lines, of which one can be chosen (pure).
//!
//! While somebody chooses, a block of lines stands at the end of what was printed, the chosen one marked. It
//! is removed before anything else is printed, so it never touches what was printed before.

use std::collections::VecDeque;

/// How many lines can be chosen from.
const LINES_MAX: usize = 500;
/// Most lines of the block.
const BLOCK_MAX: usize = 10;
/// Lines of a terminal besides those of the block: the hint, and the one with the cursor.
const OTHER_LINES: usize = 2;
/// What marks the chosen line, and the others.
const MARKS: [&str; 2] = ["> ", "  "];
/// What can be done now.
const HINT: &str = "-- paused: ↑↓ choose, enter explains, space goes on, q quits";

/// A line that was shown.
#[derive(Clone, Debug)]
pub(super) struct ChoiceLine {
    /// The line.
    pub(super) text: String,
    /// What `explain` is asked for: an id or a position; `None` if there is nothing to explain.
    pub(super) asked: Option<String>,
}

/// The newest lines, and the block.
#[derive(Debug, Default)]
pub(super) struct LineChoice {
    lines: VecDeque<ChoiceLine>,
    chosen: Option<usize>,
    /// How many lines the block has now.
    drawn: usize,
}

impl LineChoice {
    /// Notes a line that was shown.
    pub(super) fn note(&mut self, line: ChoiceLine) {
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Chooses the newest line, or the one before the chosen one.
    pub(super) fn up(&mut self) {
        self.chosen = match self.chosen {
            None => self.lines.len().checked_sub(1),
            Some(chosen) => Some(chosen.saturating_sub(1)),
        };
    }

    /// Chooses the line behind the chosen one, or the newest one.
    pub(super) fn down(&mut self) {
        let newest = self.lines.len().checked_sub(1);
        self.chosen = self.chosen.map(|chosen| chosen + 1).min(newest).or(newest);
    }

    /// The chosen line, or else the newest one.
    pub(super) fn chosen(&self) -> Option<&ChoiceLine> {
        self.chosen.map_or_else(|| self.lines.back(), |chosen| self.lines.get(chosen))
    }

    /// What removes the block, and draws it anew on a terminal of this size.
    pub(super) fn draw(&mut self, (columns, rows): (usize, usize)) -> String {
        let mut text = self.erase();
        if let Some(chosen) = self.chosen {
            let height = BLOCK_MAX.min(rows.saturating_sub(OTHER_LINES)).clamp(1, self.lines.len().max(1));
            let first = (chosen + 1).saturating_sub(height.div_ceil(2)).min(self.lines.len() - height);
            for (index, line) in self.lines.iter().enumerate().skip(first).take(height) {
                text.push_str(MARKS[usize::from(index != chosen)]);
                text.push_str(&cut(&line.text, columns.saturating_sub(MARKS[0].len())));
                text.push('\n');
                self.drawn += 1;
            }
        }
        text.push_str(&cut(HINT, columns));
        text.push('\n');
        self.drawn += 1;
        text
    }

    /// What removes the block.
    pub(super) fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            drawn => format!("\u{1b}[{drawn}A\r\u{1b}[J"),
        }
    }

    /// Chooses no line any more; what removes the block.
    pub(super) fn end(&mut self) -> String {
        self.chosen = None;
        self.erase()
    }
}

/// At most so many characters of a text.
fn cut(text: &str, columns: usize) -> String {
    match text.chars().count() > columns {
        true => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (80, 24);

    fn lines(count: usize) -> LineChoice {
        let mut choice = LineChoice::default();
        for number in 0..count {
            choice.note(ChoiceLine { text: format!("line {number}"), asked: Some(number.to_string()) });
        }
        choice
    }

    fn asked(choice: &LineChoice) -> Option<&str> {
        choice.chosen()?.asked.as_deref()
    }

    #[test]
    fn the_arrows_choose_among_the_newest_lines_and_stop_at_their_ends() {
        let mut choice = lines(3);
        assert_eq!(asked(&choice), Some("2"), "the newest one without a choice");
        choice.up();
        assert_eq!(asked(&choice), Some("2"));
        for _ in 0..5 {
            choice.up();
        }
        assert_eq!(asked(&choice), Some("0"));
        for _ in 0..5 {
            choice.down();
        }
        assert_eq!(asked(&choice), Some("2"));
        assert_eq!(asked(&lines(0)), None);
        assert_eq!(lines(LINES_MAX + 7).lines.len(), LINES_MAX);
    }

    #[test]
    fn the_block_has_the_chosen_line_in_it_and_is_removed_line_by_line() {
        let mut choice = lines(30);
        for _ in 0..20 {
            choice.up();
        }
        let block = choice.draw(SIZE);
        assert_eq!(block.lines().count(), BLOCK_MAX + 1);
        assert!(block.contains("> line 10\n") && block.ends_with("q quits\n"), "{block}");
        assert_eq!(choice.draw(SIZE), format!("\u{1b}[{}A\r\u{1b}[J{block}", BLOCK_MAX + 1));
        assert_eq!(choice.end(), format!("\u{1b}[{}A\r\u{1b}[J", BLOCK_MAX + 1));
        assert_eq!(choice.erase(), "", "there is no block any more");
        assert_eq!(choice.draw(SIZE).lines().count(), 1, "the hint alone");
    }

    #[test]
    fn the_block_fits_a_terminal_of_any_size() {
        for (columns, rows) in [(0, 0), (1, 1), (10, 3), (20, 5), (80, 24)] {
            for count in [0, 1, 2, 40] {
                let mut choice = lines(count);
                choice.note(ChoiceLine { text: "é".repeat(300), asked: None });
                choice.up();
                let block = choice.draw((columns, rows));
                assert!(block.lines().count() <= rows.max(3), "{columns}x{rows} of {count}: {block}");
                let widest = block.lines().map(|line| line.chars().count()).max();
                assert!(widest <= Some(columns.max(3)), "{columns}x{rows} of {count}: {block}");
            }
        }
    }
}
