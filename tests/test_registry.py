"""The registry: names to classes, and the words it has for typing errors."""

import importlib

import pytest

from roformer.attention import ATTENTION_BACKENDS
from roformer.errors import UserError
from roformer.position import POSITION_ENCODINGS
from roformer.registry import Registry, check_type, did_you_mean


class Animal:
    pass


@pytest.fixture
def animals():
    registry = Registry("animal")

    @registry.register("zebra")
    class Zebra(Animal):
        def __init__(self, herd, *, stripes, tail=1):
            self.herd, self.stripes, self.tail = herd, stripes, tail

    @registry.register("ant")
    class Ant(Animal):
        def __init__(self, herd):
            self.herd = herd

    return registry


def test_builds_with_settings_and_defaults(animals):
    """Catches a name that is passed on as a setting, and settings that overwrite a default nobody touched."""
    zebra = animals.build({"name": "zebra", "stripes": 7}, "savanna")
    assert (zebra.herd, zebra.stripes, zebra.tail) == ("savanna", 7, 1)
    assert type(zebra) is animals["zebra"]


def test_settings_are_left_alone(animals):
    """Catches a build that removes the name from the caller's dictionary."""
    settings = {"name": "zebra", "stripes": 7}
    animals.build(settings, "savanna")
    assert settings == {"name": "zebra", "stripes": 7}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "zerba"}, "unknown animal 'zerba'; did you mean 'zebra'? (available: ant, zebra)"),
        ({"name": "whale"}, "unknown animal 'whale' (available: ant, zebra)"),
        ({"stripes": 7}, "animal settings {'stripes': 7} have no 'name' (available: ant, zebra)"),
        (
            {"name": "zebra", "strips": 7},
            "animal 'zebra' has no setting 'strips'; did you mean 'stripes'? (it takes: stripes, tail)",
        ),
        ({"name": "zebra", "herd": "sea"}, "animal 'zebra' has no setting 'herd'"),
        ({"name": "ant", "stripes": 7}, "animal 'ant' has no setting 'stripes' (it takes: no settings)"),
        ({"name": "zebra"}, "animal 'zebra' needs a value for 'stripes'"),
    ],
    ids=str,
)
def test_mistakes_are_refused_in_one_line(animals, settings, message):
    """Catches a typing error that passes, and one whose message does not say what is allowed."""
    with pytest.raises(UserError) as error:
        animals.build(settings, "savanna")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_name_is_taken_once(animals):
    """Catches a second file that silently replaces the first."""
    with pytest.raises(KeyError, match="animal 'ant' is registered twice"):
        animals.register("ant")(Animal)
    assert animals["ant"] is not Animal


def test_registering_returns_the_class(animals):
    """Catches a decorator that leaves None in the module."""
    assert animals.register("bee")(Animal) is Animal


def test_names_are_sorted(animals):
    """Catches lists in the order of import, which differs between machines."""
    assert list(animals) == ["ant", "zebra"]


@pytest.mark.parametrize(
    ("word", "hint"), [("hiden_size", "; did you mean 'hidden_size'?"), ("xyz", ""), ("", "")], ids=str
)
def test_did_you_mean(word, hint):
    """Catches a far-fetched proposal, and none where one letter is missing."""
    assert did_you_mean(word, {"hidden_size", "layers"}) == hint


def test_value_of_another_type_is_refused() -> None:
    """Catches a word where a number belongs, which would end in a traceback somewhere inside."""
    with pytest.raises(UserError, match=r"rope_theta='abc' is not possible \(allowed: float\)"):
        POSITION_ENCODINGS.check({"name": "rope", "rope_theta": "abc"})
    with pytest.raises(UserError, match=r"allowed: str or list\[str\]; a text needs quotes within quotes: \"'1'\""):
        check_type("text_column", 1, str | list[str])
    with pytest.raises(UserError, match=r"\(allowed: int or null\)"):
        check_type("rows", ["1"], int | None)
    # a whole number is a float, too
    assert POSITION_ENCODINGS.check({"name": "rope", "rope_theta": 500}) == {"rope_theta": 500}


def test_old_names_are_refused_with_the_new_one():
    """Catches an old name that is taken in silence, and a hint that guesses by spelling: base is near to nothing."""
    with pytest.raises(UserError, match="has no setting 'base'; it is now called 'rope_theta'"):
        POSITION_ENCODINGS.check({"name": "rope", "base": 500.0})
    with pytest.raises(UserError, match="unknown attention backend 'performer'; it is now called 'favor_plus'"):
        ATTENTION_BACKENDS.check({"name": "performer"})
    assert POSITION_ENCODINGS.check({"name": "sandwich", "base": 500.0}) == {"base": 500.0}


def test_every_module_of_a_package_registers(tmp_path, monkeypatch):
    """Catches a list of modules: a class in a new file would not be found."""
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "__init__.py").write_text(
        "from roformer.registry import Registry\nZOO = Registry('animal')\nZOO.discover(__path__, __name__)\n"
    )
    for name in ("lion", "owl"):
        (tmp_path / "zoo" / f"{name}.py").write_text(
            f"from zoo import ZOO\n\n@ZOO.register('{name}')\nclass Animal:\n    pass\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    zoo = importlib.import_module("zoo")
    assert list(zoo.ZOO) == ["lion", "owl"]
