"""The report as CSV: one line per row, exact numbers, and a last line `total` with the sum of each column."""

from __future__ import annotations

import csv
import io

from deepspeech2.report.cells import ALL_COLUMNS, row_cells, total_cells
from deepspeech2.report.document import Report


def render_csv(report: Report) -> str:
    """The report as CSV text; `operations` is in the report's convention, the kinds follow one by one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ALL_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in report.rows:
        writer.writerow(row_cells(report, row))
    writer.writerow(total_cells(report))
    return text.getvalue()
