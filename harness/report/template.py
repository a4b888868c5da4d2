"""HTML pages from templates; all data is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup


def rendered(template: Path, **data: Any) -> str:
    """Render a template with `data` and the common style sheet."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))
    text = template.read_text(encoding="utf-8")
    return environment.from_string(text).render(style=style, **data)
