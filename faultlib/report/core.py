"""The formats of a campaign's report, each a function from a campaign to a text, imported when it is asked for.

A new format is one such module and one line in FORMATS.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import faultlib
from faultlib.errors import FaultlibError, UsageError
from faultlib.explore.finding import Campaign
from faultlib.report import words
from faultlib.report.streams import say


class Format(NamedTuple):
    """The function that makes it, and how its files are called; the first suffix is the usual one."""

    module: str
    function: str
    suffixes: tuple[str, ...]


FORMATS = {
    "text": Format("faultlib.report.text", "render", (".txt",)),
    "md": Format("faultlib.report.markdown", "render", (".md", ".markdown")),
    "html": Format("faultlib.report.html", "render", (".html", ".htm")),
    "sarif": Format("faultlib.report.sarif", "render", (".sarif", ".sarif.json")),
    "json": Format("faultlib.report.core", "json_report", (".json",)),
}
"""The first whose suffix fits is it."""


def json_report(campaign: Campaign) -> str:
    """Returns the campaign as JSON, findings in the order of all reports; `Finding.from_json` reads them back."""
    in_order = campaign._replace(findings=words.ordered(campaign.findings), accepted=words.ordered(campaign.accepted))
    head = {"faultlib": faultlib.__version__, "severities": words.severities(campaign)}
    return json.dumps(head | in_order.to_json(), indent=2) + "\n"


def render(campaign: Campaign, form: str) -> str:
    """Returns the report in a format. Raises UsageError for one that is not known."""
    if form not in FORMATS:
        raise UsageError(f"there is no report format {form!r}; there are {', '.join(FORMATS)}")
    made = FORMATS[form]
    text: str = getattr(importlib.import_module(made.module), made.function)(campaign)
    return text


def format_of(path: str) -> str:
    """Returns the format that a file's name asks for. Raises UsageError if it asks for none; best called before the work."""
    name = Path(path).name.lower()
    for form, made in FORMATS.items():
        if name.endswith(made.suffixes):
            return form
    valid = ", ".join(f"{' or '.join(made.suffixes)} for {form}" for form, made in FORMATS.items())
    raise UsageError(f"{path}: the name does not say which format is wanted; it can end in {valid}")


class Unwritten(FaultlibError):
    """A report could not be written."""

    slug = "unwritten"

    def __init__(self, path: str, error: OSError) -> None:
        where = "standard output" if path == "-" else path
        super().__init__(f"the report could not be written to {where}: {error.strerror}")
        self.is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)


def write(campaign: Campaign, path: str, form: str | None = None) -> None:
    """Writes the report in the format that the file's name asks for, or in this one; `-` is standard output.

    Whoever looks meanwhile sees the old file or the whole new one. Raises UsageError for a suffix that is not known,
    Unwritten if the file cannot be written.
    """
    text = render(campaign, form or ("text" if path == "-" else format_of(path)))
    try:
        if path == "-":
            failure = say(text, sys.stdout)
        else:
            failure = None
            _put(text.encode("utf-8"), Path(path))
    except OSError as error:
        failure = error
    if failure:
        raise Unwritten(path, failure)


def _put(data: bytes, path: Path) -> None:
    if path.exists() and not path.is_file():  # a pipe, a terminal: nothing that could be replaced
        path.write_bytes(data)
        return
    path = path.resolve()
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(fd, path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask())
            os.fsync(fd)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def _umask() -> int:
    """There is no way to read it but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
