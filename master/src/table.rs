//! Tables of text.

/// Lines of aligned columns, two spaces apart. Columns of numbers are aligned at the right; `-` stands for no number.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
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
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for (cell, column) in row.iter().zip(&columns) {
            column.write(cell, &mut line);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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
    fn a_table_may_be_empty() {
        assert_eq!(render(&["a", "b"], &[]), "a  b\n");
    }
}
