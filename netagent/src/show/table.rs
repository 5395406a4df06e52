//! Plain tables for `awk` and `grep`: columns two spaces apart, no lines, no colours, no
//! truncation.

use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};

/// A column: its header and the alignment of its cells.
pub enum Column {
    /// Left-aligned.
    Text(&'static str),
    /// Right-aligned.
    Number(&'static str),
}

/// A table.
pub struct Table(comfy_table::Table);

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[Column]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(columns.iter().map(|column| match column {
                Column::Text(header) | Column::Number(header) => Cell::new(header),
            }));
        for (column, settings) in columns.iter().zip(table.column_iter_mut()) {
            settings.set_padding((0, 2));
            if let Column::Number(_) = column {
                settings.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(table)
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells);
    }

    /// The table as text, with a final newline.
    pub fn finish(self) -> String {
        self.0.trim_fmt() + "\n"
    }
}

/// The text of a cell; `-` for a missing value.
pub fn or_dash(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}
