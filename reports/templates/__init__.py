"""Templates of the pages, and how one is filled."""

from hw.errors import need
from reports.words import number


def filled(template: str, **content: object) -> str:
    """A template of `reports/templates` with its content; what is not markup is escaped.

    Raises:
        MissingTool: jinja2 is not installed.
    """
    jinja2 = need("jinja2", "figures", "writing the report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return str(environment.get_template(template).render(**content)) + "\n"
