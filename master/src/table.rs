//! Tables of text.

/// Lines of aligned columns, two spaces apart. Columns of numbers are aligned at the right.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let columns = head.len();
    let mut widths: Vec<usize> = head.iter().map(|title| title.chars().count()).collect();
    let mut numeric = vec![!rows.is_empty(); columns];
    for row in rows {
        for ((cell, width), numeric) in row.iter().zip(&mut widths).zip(&mut numeric) {
            *width = (*width).max(cell.chars().count());
            *numeric &= cell == "-" || cell.bytes().all(|byte| byte.is_ascii_digit());
        }
    }
    let mut text = String::new();
    let titles = head.iter().map(|title| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, width), numeric) in row.iter().zip(&widths).zip(&numeric) {
            let padding = width.saturating_sub(cell.chars().count());
            let (before, after) = if *numeric { (padding, 0) } else { (0, padding) };
            line.extend(std::iter::repeat_n(' ', before));
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', after + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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
