//! Tables of text.

/// Lines of aligned columns, two spaces apart. Columns of numbers are aligned at the right; `-` stands for no number.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let columns: Vec<Column> = (0..head.len())
        .map(|index| {
            let cells: Vec<&str> = rows
                .iter()
                .filter_map(|row| row.get(index))
                .map(String::as_str)
                .collect();
            Column::new(head[index], &cells)
        })
        .collect();
    let mut text = String::new();
    let titles = head.iter().map(|title| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(&rows) {
        let mut line = String::new();
        for (cell, column) in row.iter().zip(&columns) {
            column.write(cell, &mut line);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Text that stays on its line and gives the terminal no orders, whoever wrote it.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Text of at most `width` characters; the last one shows that there is more.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= width {
        return text;
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
}

struct Column {
    /// In characters.
    width: usize,
    right: bool,
}

impl Column {
    fn new(title: &str, cells: &[&str]) -> Self {
        let is_number =
            |cell: &&str| !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit());
        let widest = cells.iter().map(|cell| cell.chars().count()).max();
        Self {
            width: widest.unwrap_or(0).max(title.chars().count()),
            right: cells.iter().any(is_number)
                && cells.iter().all(|cell| *cell == "-" || is_number(cell)),
        }
    }

    fn write(&self, cell: &str, line: &mut String) {
        let padding = self.width.saturating_sub(cell.chars().count());
        let (before, after) = if self.right {
            (padding, 0)
        } else {
            (0, padding)
        };
        line.extend(std::iter::repeat_n(' ', before));
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', after + 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let rows = vec![
            vec!["push".to_owned(), "4".to_owned(), "x".to_owned()],
            vec!["é".to_owned(), "1024".to_owned(), String::new()],
        ];
        assert_eq!(
            render(&["group", "count", "note"], &rows),
            "group  count  note\npush       4  x\né       1024\n"
        );
    }

    #[test]
    fn no_cell_leaves_its_line() {
        let rows = vec![vec!["a\nb\u{1b}[2J".to_owned()]];
        assert_eq!(render(&["note"], &rows), "note\na\\nb\\u{1b}[2J\n");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("é is long", 5), "é is…");
    }

    #[test]
    fn a_table_may_be_empty() {
        assert_eq!(render(&["a", "b"], &[]), "a  b\n");
    }
}
