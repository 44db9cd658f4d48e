"""``gateway metrics``: the numbers of the running gateway, as /metrics of the web page has them.

Who calls it: administrators, and scripts that collect metrics from files.
Must never: read the store itself.
Sources: docs/design.md section 10 ("Web"); Prometheus, "Text-based format 0.0.4".
"""

from __future__ import annotations

import typer

from gateway.cli import output
from gateway.cli.options import ConfigFile, Json, config_path, load_config


def _metrics(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """Print the metrics of the running gateway in the Prometheus text format; with --json one sample a line."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    text = "".join(str(row.get("text", "")) for row in rows(load_config(path), path, requests.GetMetrics()))
    if not json:
        output.write(text.rstrip("\n"))
        return
    from prometheus_client.parser import text_string_to_metric_families

    output.json_lines(
        {"name": sample.name, "labels": sample.labels, "value": sample.value}
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    )


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("metrics")(_metrics)
