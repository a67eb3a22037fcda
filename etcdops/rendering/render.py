"""templates/ -> text. A template prints nothing that did not go through a filter of `escaping`."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2

from etcdops.errors import EtcdopsError
from etcdops.rendering.escaping import FILTERS, Escaped

_INSTALLED = Path(__file__).parents[1] / "_templates"
_IN_CHECKOUT = Path(__file__).parents[2] / "templates"


def render(template: str, **values: object) -> str:
    """Fill in a template, named by its path below templates/.

    Raises: UsageError - a value that its place cannot hold. EtcdopsError - there is no such template, or it is wrong:
        a name that nobody gave it, a value printed without a filter.
    """
    try:
        return _environment().get_template(template).render(**values)
    except jinja2.TemplateNotFound as error:
        raise EtcdopsError(
            f"there is no template {error.name}", hint="the installation of etcdops is incomplete"
        ) from error
    except jinja2.TemplateError as error:
        line = f":{error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise EtcdopsError(f"the template {template}{line} is wrong: {error}") from error


def template_names() -> list[str]:
    """All templates that there are."""
    return [name for name in _environment().list_templates() if not Path(name).name.startswith("_")]


@functools.cache
def _environment() -> jinja2.Environment:
    folder = _INSTALLED if _INSTALLED.is_dir() else _IN_CHECKOUT
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        finalize=_escaped_only,
        autoescape=False,  # noqa: S701  # no HTML: `finalize` refuses what no filter has escaped
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment


def _escaped_only(value: object) -> object:
    # a name that nobody gave speaks for itself when it is printed
    if isinstance(value, Escaped | jinja2.Undefined):
        return value
    raise jinja2.TemplateRuntimeError(f"{value!r} is printed without a filter for its place")
