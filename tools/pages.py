"""Writes every generated page of the documentation, and the README's table.

python -m tools.pages        # or make docs, which then builds the site
"""

from collections.abc import Callable
from pathlib import Path

from tools import (
    configuration_page,
    copied_pages,
    encodings_page,
    headline,
    messages_page,
    recipes_page,
    reliability_page,
    reproduction_page,
)

ROOT = Path(__file__).parents[1]
PAGES: dict[Path, Callable[[], str]] = {  # in this order: the home page is a copy of the README
    headline.README: headline.readme,
    encodings_page.PAGE: encodings_page.page,
    recipes_page.PAGE: recipes_page.page,
    configuration_page.PAGE: configuration_page.page,
    messages_page.PAGE: messages_page.page,
    reliability_page.PAGE: reliability_page.page,
    reproduction_page.PAGE: reproduction_page.page,
    **copied_pages.PAGES,
}


def main() -> None:
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
