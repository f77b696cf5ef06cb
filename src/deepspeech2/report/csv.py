"""The report as CSV: one line per row, exact numbers, and a last line `total` with the sum of each column."""

from __future__ import annotations

import csv
import io

from deepspeech2.report.cells import ALL_COLUMNS, TIME_COLUMNS, rows_of_cells
from deepspeech2.report.document import Report


def render_csv(report: Report) -> str:
    """The report as CSV text; `operations` is in the report's convention, the kinds follow one by one.

    Numbers of a row with `unknown_calls` are lower bounds, empty where nothing of it is known; so are the total's.
    """
    text = io.StringIO()
    columns = ALL_COLUMNS if report.hardware is None else (*ALL_COLUMNS, *TIME_COLUMNS)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows_of_cells(report))
    return text.getvalue()
